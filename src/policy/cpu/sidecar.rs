//! Packed weights kept beside the model: written once, mapped in place at the next start.
//!
//! The file is a header page, the packed weights on page boundaries, and an index. Its name carries what it
//! was made from; header and index are checked against a digest, and anything that does not fit is ignored
//! and made anew. The weights themselves are not read to check them: that would cost what the file saves.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::mapping::{map_file, populate};
use crate::policy::kernels::Isa;
use crate::policy::kernels::pack::{Packed, Precision};

/// Changes whenever the layout of the panels or of this file does.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"NEUROPCK";
const PAGE: u64 = 4096;
/// Magic, version, index offset, index length, digest.
const HEADER: usize = 8 + 4 + 8 + 8 + 32;

/// What the packed weights were made from and for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SidecarKey {
    /// Fingerprint of the weight files.
    pub fingerprint: String,
    /// Instruction set.
    pub isa: String,
    /// Number format of the large products.
    pub dtype: String,
}

impl SidecarKey {
    pub(super) fn new(fingerprint: String, isa: Isa, precision: Precision) -> Self {
        Self { fingerprint, isa: isa.name().to_owned(), dtype: precision_name(precision).to_owned() }
    }

    fn suffix(&self) -> String {
        format!("-{}-{}.bin", self.isa, self.dtype)
    }

    /// Where in `dir` it lies.
    #[must_use]
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("packed-{}{}", self.fingerprint, self.suffix()))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Index {
    key: SidecarKey,
    file_len: u64,
    weights: BTreeMap<String, Entry>,
}

/// Where one weight lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    bits: usize,
    n: usize,
    k: usize,
    offset: u64,
}

impl Entry {
    fn fits(&self, precision: Precision, (n, k): (usize, usize)) -> bool {
        (self.bits, self.n, self.k) == (precision.size() * 8, n, k)
    }
}

/// The file of packed weights of one load: being read, being written, or neither.
pub(super) enum Sidecar {
    /// A valid one was there.
    Mapped(Arc<Mmap>, BTreeMap<String, Entry>),
    /// There was none; this becomes one.
    Writing(Box<Writer>),
    /// The folder cannot be written, or nobody asked for a file.
    Off,
}

/// A sidecar in the making, under a temporary name.
pub(super) struct Writer {
    file: File,
    key: SidecarKey,
    path: PathBuf,
    temporary: PathBuf,
    offset: u64,
    weights: BTreeMap<String, Entry>,
}

impl Sidecar {
    /// Opens the sidecar of `key` in `dir`, or starts one.
    pub(super) fn open(dir: Option<&Path>, key: &SidecarKey) -> Self {
        let Some(dir) = dir else { return Self::Off };
        let path = key.path(dir);
        match read(&path, key) {
            Ok((map, weights)) => return Self::Mapped(Arc::new(map), weights),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "packed weights are made anew"),
        }
        match Writer::start(dir, key) {
            Ok(writer) => Self::Writing(Box::new(writer)),
            Err(error) => {
                tracing::info!(dir = %dir.display(), %error, "packed weights are not kept");
                Self::Off
            }
        }
    }

    /// Whether weights come from a file.
    pub(super) fn is_mapped(&self) -> bool {
        matches!(self, Self::Mapped(..))
    }

    /// A weight in place.
    pub(super) fn find(&self, name: &str, precision: Precision, shape: (usize, usize)) -> Option<Packed> {
        let Self::Mapped(map, weights) = self else { return None };
        let entry = weights.get(name)?;
        let offset = usize::try_from(entry.offset).ok()?;
        if entry.fits(precision, shape) { Packed::mapped(precision, shape, map, offset) } else { None }
    }

    /// Adds a freshly packed weight.
    pub(super) fn keep(&mut self, name: &str, packed: &Packed) {
        if let Self::Writing(writer) = self
            && let Err(error) = writer.add(name, packed)
        {
            tracing::info!(%error, "packed weights are not kept");
            *self = Self::Off;
        }
    }

    /// Puts a written sidecar in its place, if it is worth `min_bytes`, and removes those of other weights.
    pub(super) fn finish(self, min_bytes: u64) {
        let Self::Writing(writer) = self else { return };
        if writer.offset >= min_bytes
            && let Err(error) = writer.finish()
        {
            tracing::info!(%error, "packed weights are not kept");
        }
    }
}

impl Writer {
    fn start(dir: &Path, key: &SidecarKey) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = key.path(dir);
        let temporary = dir.join(format!(".packing-{}{}", std::process::id(), key.suffix()));
        let mut file = File::create(&temporary)?;
        file.seek(SeekFrom::Start(PAGE))?;
        Ok(Self { file, key: key.clone(), path, temporary, offset: PAGE, weights: BTreeMap::new() })
    }

    fn add(&mut self, name: &str, packed: &Packed) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.offset))?;
        self.file.write_all(packed.bytes())?;
        let entry =
            Entry { bits: packed.precision().size() * 8, n: packed.n(), k: packed.k(), offset: self.offset };
        self.weights.insert(name.to_owned(), entry);
        self.offset = (self.offset + packed.bytes().len() as u64).next_multiple_of(PAGE);
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        // The index says how long the whole file is, itself included: its own length is padded to a page.
        let mut index =
            Index { key: self.key.clone(), file_len: 0, weights: std::mem::take(&mut self.weights) };
        let room = (serde_json::to_vec(&index)?.len() as u64 + 32).next_multiple_of(PAGE);
        index.file_len = self.offset + room;
        let mut text = serde_json::to_vec(&index)?;
        text.resize(usize::try_from(room).unwrap_or(text.len()), b' ');
        self.file.seek(SeekFrom::Start(self.offset))?;
        self.file.write_all(&text)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(self.offset, &text))?;
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.remove_others();
        Ok(())
    }

    /// Sidecars of other weights for the same processor and number format.
    fn remove_others(&self) {
        let Some(entries) = self.path.parent().and_then(|dir| fs::read_dir(dir).ok()) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let same_kind = name.starts_with("packed-") && name.ends_with(&self.key.suffix());
            if same_kind
                && entry.path() != self.path
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::info!(path = %entry.path().display(), %error, "an old sidecar stays");
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Gone already when it was renamed into place.
        if fs::remove_file(&self.temporary).is_ok() {
            // The folder goes too when nothing else is in it: `remove_dir` refuses otherwise.
            let folder = self.temporary.parent().is_some_and(|dir| fs::remove_dir(dir).is_ok());
            tracing::debug!(path = %self.temporary.display(), folder, "an unfinished sidecar was removed");
        }
    }
}

fn header(index_offset: u64, index: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&index_offset.to_le_bytes());
    header.extend_from_slice(&(index.len() as u64).to_le_bytes());
    let digest = Sha256::new().chain_update(&header).chain_update(index).finalize();
    header.extend_from_slice(&digest);
    header
}

fn read(path: &Path, key: &SidecarKey) -> io::Result<(Mmap, BTreeMap<String, Entry>)> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let map = map_file(path)?;
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        Some(u64::from_le_bytes(map.get(range)?.try_into().ok()?))
    };
    let (offset, len) = number(12..20).zip(number(20..28)).ok_or_else(|| invalid("no header"))?;
    let range = usize::try_from(offset).ok().zip(usize::try_from(offset.saturating_add(len)).ok());
    let text = range.and_then(|(start, end)| map.get(start..end)).ok_or_else(|| invalid("truncated"))?;
    if map.get(..HEADER) != Some(&header(offset, text)[..]) {
        return Err(invalid("header and index do not fit each other, or another version"));
    }
    let index: Index = serde_json::from_slice(text)?;
    if index.file_len != map.len() as u64 {
        return Err(invalid("the file has another length than its index says"));
    }
    if index.key != *key {
        return Err(invalid("made for another model or processor"));
    }
    populate(&map);
    Ok((map, index.weights))
}

fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
        Precision::Int8 => "int8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fingerprint: &str) -> SidecarKey {
        SidecarKey::new(fingerprint.to_owned(), Isa::portable(), Precision::F32)
    }

    fn packed() -> Packed {
        let source = |column: usize, start: usize, out: &mut [f32]| out.fill((column * 10 + start) as f32);
        Packed::pack(Isa::portable(), Precision::F32, (40, 3), &source).unwrap()
    }

    fn written(dir: &Path, key: &SidecarKey) -> PathBuf {
        let mut sidecar = Sidecar::open(Some(dir), key);
        assert!(!sidecar.is_mapped());
        sidecar.keep("a", &packed());
        sidecar.keep("b", &packed());
        sidecar.finish(0);
        key.path(dir)
    }

    #[test]
    fn what_was_kept_is_found_again_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), &key("one"));
        let sidecar = Sidecar::open(Some(dir.path()), &key("one"));
        let found = sidecar.find("b", Precision::F32, (40, 3)).unwrap();
        assert_eq!(found.bytes(), packed().bytes());
        assert!(sidecar.find("b", Precision::F32, (41, 3)).is_none());
        assert!(sidecar.find("c", Precision::F32, (40, 3)).is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_truncated_or_foreign_file_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path(), &key("one"));
        let whole = fs::read(&path).unwrap();
        let damage = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            Sidecar::open(Some(dir.path()), &key("one")).is_mapped()
        };
        assert!(damage(&whole));
        assert!(!damage(&whole[..whole.len() - 1]));
        assert!(!damage(&whole[..30]));
        assert!(!damage(b""));
        for at in [0, 9, 13, 21, 40, whole.len() - 4000] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(!damage(&bytes), "byte {at}");
        }
        assert!(damage(&whole));
        fs::copy(&path, key("two").path(dir.path())).unwrap();
        assert!(!Sidecar::open(Some(dir.path()), &key("two")).is_mapped());
    }

    #[test]
    fn new_weights_replace_the_old_sidecar_and_small_ones_are_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let old = written(dir.path(), &key("one"));
        let new = written(dir.path(), &key("two"));
        assert!(!old.exists() && new.exists());
        let mut small = Sidecar::open(Some(dir.path()), &key("three"));
        small.keep("a", &packed());
        small.finish(1 << 20);
        assert!(!key("three").path(dir.path()).exists() && new.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let fresh = dir.path().join(".neuro");
        Sidecar::open(Some(&fresh), &key("one")).finish(1 << 20);
        assert!(!fresh.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        let mut sidecar = Sidecar::open(Some(&file.join("below")), &key("one"));
        sidecar.keep("a", &packed());
        sidecar.finish(0);
        assert!(Sidecar::open(None, &key("one")).find("a", Precision::F32, (40, 3)).is_none());
    }
}
