//! The archive a scenario comes in: a zip whose central directory is read, and of whose members only a few kilobytes of
//! JSON are wanted among gigabytes of renderer payload. Nothing is ever extracted.

mod member;
mod view;

use std::ops::Range;

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

pub use member::Member;
pub use view::View;

use super::error::SceneError;
use super::load::LoadLimits;

const LOCATOR_SIGNATURE: &[u8; 4] = b"PK\x06\x07";
const LOCATOR_BYTES: usize = 20;
const END_SIGNATURE: &[u8; 4] = b"PK\x05\x06";
const END_RECORD_BYTES: usize = 22;
/// The end record and the longest comment behind it.
const END_BYTES: usize = END_RECORD_BYTES + 65_535;

/// An archive whose directory was read. Clones share it and read on their own.
#[derive(Clone)]
pub struct Archive<'a> {
    zip: ZipArchive<View<'a>>,
    limits: LoadLimits,
}

impl<'a> Archive<'a> {
    /// Reads the central directory.
    ///
    /// # Errors
    /// When there is none, or one that contradicts itself.
    pub fn open(view: View<'a>, limits: &LoadLimits) -> Result<Self, SceneError> {
        let refused = |reason: String| SceneError::Archive { reason };
        let bytes = view.bytes();
        let tail = bytes.get(bytes.len().saturating_sub(END_BYTES)..).unwrap_or_default();
        if !tail.windows(END_RECORD_BYTES).any(|window| window.starts_with(END_SIGNATURE)) {
            return Err(refused(format!(
                "its {} bytes have no end of a zip directory; it is cut off, or something else",
                bytes.len()
            )));
        }
        if let Some(entries) = entries_of_zip64(bytes, tail)
            && entries > limits.members
        {
            return Err(refused(format!("it lists {entries} members, the limit is {}", limits.members)));
        }
        let zip = ZipArchive::new(view).map_err(|error| refused(plain(&error)))?;
        Ok(Self { zip, limits: limits.clone() })
    }

    /// Whether there is a member of this name at the root.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.zip.index_for_name_raw(name.as_bytes()).is_some()
    }

    /// Where below a folder a member of this name is.
    #[must_use]
    pub fn elsewhere(&self, name: &str) -> Option<String> {
        let suffix = format!("/{name}");
        let names = self.zip.file_names_raw();
        names
            .filter(|raw| raw.ends_with(suffix.as_bytes()))
            .map(|raw| String::from_utf8_lossy(raw).into_owned())
            .next()
    }

    /// A member at the root, ready to be read; `None` when there is none.
    ///
    /// # Errors
    /// When it is encrypted, compressed in a way that is not built in, larger than the limits, or shares its bytes with
    /// another member.
    pub fn member(&mut self, name: &'static str) -> Result<Option<Member<'_, 'a>>, SceneError> {
        let refused = |reason: String| SceneError::Member { member: name, reason };
        let Some(index) = self.zip.index_for_name_raw(name.as_bytes()) else {
            return Ok(None);
        };
        self.check(index).map_err(refused)?;
        let limits = self.limits.clone();
        let file = self.zip.by_index(index).map_err(|error| refused(plain(&error)))?;
        Ok(Some(Member::new(file, &limits)))
    }

    fn check(&self, index: usize) -> Result<(), String> {
        let entry = self.zip.by_index_data(index).map_err(|error| plain(&error))?;
        if entry.encrypted() {
            return Err("is encrypted, expected a plain member".to_owned());
        }
        match entry.compression() {
            CompressionMethod::Stored
            | CompressionMethod::Deflated
            | CompressionMethod::Bzip2
            | CompressionMethod::Lzma => {}
            other => {
                return Err(format!(
                    "is compressed with {}, expected stored, deflate, bzip2 or lzma",
                    method(other)
                ));
            }
        }
        let (size, compressed) = (entry.size(), entry.compressed_size());
        if size > self.limits.member_bytes {
            return Err(format!("has {size} bytes, the limit is {}", self.limits.member_bytes));
        }
        let range = |start: u64, bytes: u64| start..start.saturating_add(bytes.max(1));
        let own: Range<u64> = range(entry.header_start(), compressed);
        if own.end > self.zip.central_directory_start() {
            return Err("reaches into the archive's directory; the archive is damaged".to_owned());
        }
        for other in (0..self.zip.len()).filter(|other| *other != index) {
            let other = self.zip.by_index_data(other).map_err(|error| plain(&error))?;
            let theirs = range(other.header_start(), other.compressed_size());
            if own.start < theirs.end && theirs.start < own.end {
                return Err(format!(
                    "shares its bytes with {}; the archive is damaged",
                    other.name().unwrap_or_default()
                ));
            }
        }
        Ok(())
    }
}

/// How many members a zip64 directory lists: more than the 65,535 of a plain one, and memory for each is taken before
/// any is read.
fn entries_of_zip64(bytes: &[u8], tail: &[u8]) -> Option<u64> {
    let number = |from: &[u8], at: usize| -> Option<u64> {
        Some(u64::from_le_bytes(from.get(at..at + 8)?.try_into().ok()?))
    };
    let locators = tail.windows(LOCATOR_BYTES).filter(|window| window.starts_with(LOCATOR_SIGNATURE));
    let records = locators.filter_map(|locator| usize::try_from(number(locator, 8)?).ok());
    records.filter_map(|record| number(bytes.get(record..)?, 32)).max()
}

/// What a method that is not built in is called (APPNOTE 4.4.5).
#[allow(deprecated)]
fn method(method: CompressionMethod) -> String {
    let CompressionMethod::Unsupported(number) = method else {
        return method.to_string();
    };
    let name = match number {
        1 => "shrink",
        2..=5 => "reduce",
        6 => "implode",
        9 => "deflate64",
        93 => "zstd",
        95 => "xz",
        98 => "ppmd",
        99 => "aes",
        _ => "method",
    };
    format!("{name} ({number})")
}

/// A zip error without the words that every zip error starts with.
fn plain(error: &ZipError) -> String {
    match error {
        ZipError::InvalidArchive(reason) => reason.to_string(),
        ZipError::UnsupportedArchive(reason) => (*reason).to_owned(),
        other => other.to_string(),
    }
}
