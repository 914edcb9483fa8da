//! Tar archives and folders, entry by entry, into an unpacker.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

use super::digest::{Digest, Hashed};
use super::layer::{Attributes, Unpacker, What};
use crate::agent::error::AgentError;

/// What PAX calls an extended attribute.
const XATTR: &str = "SCHILY.xattr.";

/// How a layer was packed, by its first bytes.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// The archive itself, whether it came packed or not.
pub(super) fn plain<'a>(
    reader: impl Read + Send + 'a,
    what: &str,
) -> Result<Box<dyn Read + Send + 'a>, AgentError> {
    let mut start = [0_u8; 6];
    let mut reader = BufReader::with_capacity(1 << 17, reader);
    let mut filled = 0;
    while let Some(rest) = start.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest).map_err(|error| AgentError::internal(format!("reading {what}"), error))? {
            0 => break,
            count => filled = filled.saturating_add(count),
        }
    }
    let packed = |by: &str| {
        AgentError::invalid(
            what,
            format!("is packed by {by}; expected a plain tar archive or one packed by gzip"),
        )
    };
    if start.starts_with(&ZSTD) {
        return Err(packed("zstd"));
    }
    if start == XZ {
        return Err(packed("xz"));
    }
    let gzip = start.starts_with(&GZIP);
    let whole = std::io::Cursor::new(start.get(..filled).unwrap_or_default().to_vec()).chain(reader);
    Ok(if gzip { Box::new(BufReader::new(MultiGzDecoder::new(whole))) } else { Box::new(whole) })
}

/// Unpacks an archive, and says what its digest is.
pub(super) fn unpack(reader: impl Read, what: &str, into: &mut Unpacker) -> Result<Digest, AgentError> {
    let failed = |error: std::io::Error| AgentError::invalid(what, format!("is no tar archive: {error}"));
    let mut hashed = Hashed::new(reader);
    let mut archive = Archive::new(&mut hashed);
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let xattrs = xattrs(&mut entry).map_err(failed)?;
        let header = entry.header();
        let with = Attributes {
            mode: header.mode().map_err(failed)?,
            uid: small(header.uid().map_err(failed)?),
            gid: small(header.gid().map_err(failed)?),
            modified_s: i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0),
            xattrs,
        };
        let kind = header.entry_type();
        let numbers = (header.device_major().ok().flatten(), header.device_minor().ok().flatten());
        let path = entry.path().map_err(failed)?.into_owned();
        let link = entry.link_name().map_err(failed)?.map(std::borrow::Cow::into_owned);
        let link = || {
            let missing = || AgentError::invalid(what, format!("has a link {} to nothing", path.display()));
            link.as_deref().ok_or_else(missing)
        };
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                into.put(&path, What::File(&mut entry), &with)?;
            }
            EntryType::Directory => into.put(&path, What::Folder, &with)?,
            EntryType::Symlink => into.put(&path, What::Symlink(link()?.as_os_str()), &with)?,
            EntryType::Link => into.put(&path, What::Hardlink(link()?), &with)?,
            EntryType::Char if numbers == (Some(0), Some(0)) => into.put(&path, What::Whiteout, &with)?,
            EntryType::Char | EntryType::Block => into.put(&path, What::Device, &with)?,
            EntryType::Fifo => into.put(&path, What::Fifo, &with)?,
            // Comments of the archive as a whole.
            EntryType::XGlobalHeader => {}
            other => {
                let problem = format!("has {} of the unknown kind {other:?}", path.display());
                return Err(AgentError::invalid(what, problem));
            }
        }
    }
    let (digest, _) = hashed.finish().map_err(failed)?;
    Ok(digest)
}

/// Takes a folder as the only layer of an image. Its digest is that of every entry's name, attributes and contents.
pub(super) fn copy(folder: &Path, into: &mut Unpacker) -> Result<Digest, AgentError> {
    let mut hasher = Sha256::new();
    walk(folder, Path::new(""), into, &mut hasher)?;
    Ok(Digest::of(hasher))
}

fn walk(root: &Path, inside: &Path, into: &mut Unpacker, hasher: &mut Sha256) -> Result<(), AgentError> {
    let at = root.join(inside);
    let failed = |error: std::io::Error| AgentError::internal(format!("reading {}", at.display()), error);
    let about = at.symlink_metadata().map_err(failed)?;
    let with = Attributes {
        mode: about.mode(),
        uid: about.uid(),
        gid: about.gid(),
        modified_s: about.mtime(),
        xattrs: capability(&at),
    };
    let mut note = |kind: &str, contents: &[u8]| {
        for part in [kind.as_bytes(), inside.as_os_str().as_bytes(), contents] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        for number in [with.mode & 0o7777, with.uid, with.gid] {
            hasher.update(number.to_be_bytes());
        }
        for (name, value) in &with.xattrs {
            hasher.update(name.as_bytes());
            hasher.update(value);
        }
    };
    let kind = about.file_type();
    if kind.is_dir() {
        note("folder", b"");
        into.put(inside, What::Folder, &with)?;
        let mut names = Vec::new();
        for entry in at.read_dir().map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort();
        for name in names {
            walk(root, &inside.join(name), into, hasher)?;
        }
    } else if kind.is_symlink() {
        let target = at.read_link().map_err(failed)?;
        note("link", target.as_os_str().as_bytes());
        into.put(inside, What::Symlink(target.as_os_str()), &with)?;
    } else if kind.is_file() {
        let mut contents = Hashed::new(File::open(&at).map_err(failed)?);
        into.put(inside, What::File(&mut contents), &with)?;
        let (digest, _) = contents.finish().map_err(failed)?;
        note("file", digest.hex().as_bytes());
    } else if kind.is_fifo() {
        note("fifo", b"");
        into.put(inside, What::Fifo, &with)?;
    } else {
        into.put(inside, What::Device, &with)?;
    }
    Ok(())
}

/// What lets a program of the folder do more than its caller may.
fn capability(at: &Path) -> Vec<(String, Vec<u8>)> {
    let name = "security.capability";
    let mut value = [0_u8; 64];
    match rustix::fs::lgetxattr(at, name, &mut value[..]) {
        Ok(count) => vec![(name.to_owned(), value.get(..count).unwrap_or_default().to_vec())],
        Err(_) => Vec::new(),
    }
}

fn xattrs<R: Read>(entry: &mut tar::Entry<'_, R>) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            let key = OsStr::from_bytes(extension.key_bytes()).to_string_lossy();
            if let Some(name) = key.strip_prefix(XATTR) {
                found.push((name.to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    Ok(found)
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
