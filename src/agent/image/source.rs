//! Where an image's blobs are read from: a folder, or an archive that is read at any place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType};

use super::archive::plain;
use super::digest::{Digest, Hashed};
use crate::agent::error::AgentError;

/// Longest document.
const LONGEST_DOCUMENT: u64 = 4 << 20;

/// Most members of an archive of blobs.
const MOST_MEMBERS: usize = 65_536;

/// See the module.
pub(super) enum Source {
    Folder(PathBuf),
    Archive { file: File, members: BTreeMap<PathBuf, Member> },
}

/// Where a member lies.
pub(super) enum Member {
    File { at: u64, bytes: u64 },
    Link(PathBuf),
}

impl Source {
    /// Opens a folder, or an archive; one that is packed is unpacked to `scratch` first.
    pub(super) fn open(path: &Path, scratch: &Path) -> Result<Self, AgentError> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let shown = path.display().to_string();
        let failed = |error: std::io::Error| AgentError::internal(format!("reading {shown}"), error);
        let mut file = File::open(path).map_err(failed)?;
        let mut start = [0_u8; 2];
        let packed = file.read_exact(&mut start).is_ok() && start == [0x1f, 0x8b];
        file.rewind().map_err(failed)?;
        if packed {
            let mut whole =
                File::options().read(true).write(true).create_new(true).open(scratch).map_err(failed)?;
            std::io::copy(&mut plain(file, &shown)?, &mut whole).map_err(failed)?;
            whole.rewind().map_err(failed)?;
            file = whole;
        }
        let members = members(&file, &shown)?;
        Ok(Self::Archive { file, members })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(name).is_file(),
            Self::Archive { members, .. } => members.contains_key(Path::new(name)),
        }
    }

    /// A member to be read from its beginning.
    pub(super) fn reader(&self, name: &str) -> Result<Take<File>, AgentError> {
        let missing = || AgentError::invalid("image", format!("lacks {name}"));
        let failed = |error: std::io::Error| AgentError::internal(format!("reading {name}"), error);
        if Path::new(name).components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(AgentError::invalid("image", format!("refers to {name:?}, which leads out of it")));
        }
        match self {
            Self::Folder(folder) => {
                let file = File::open(folder.join(name)).map_err(|_| missing())?;
                let bytes = file.metadata().map_err(failed)?.len();
                Ok(file.take(bytes))
            }
            Self::Archive { file, members } => {
                let mut member = members.get(Path::new(name));
                if let Some(Member::Link(target)) = member {
                    member = members.get(target);
                }
                let Some(Member::File { at, bytes }) = member else { return Err(missing()) };
                let mut file = file.try_clone().map_err(failed)?;
                file.seek(SeekFrom::Start(*at)).map_err(failed)?;
                Ok(file.take(*bytes))
            }
        }
    }

    /// A document, whole.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>, AgentError> {
        let mut reader = self.reader(name)?;
        if reader.limit() > LONGEST_DOCUMENT {
            let problem = format!(
                "has a document {name} of {} bytes; expected at most {LONGEST_DOCUMENT}",
                reader.limit()
            );
            return Err(AgentError::invalid("image", problem));
        }
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| AgentError::internal(format!("reading {name}"), error))?;
        Ok(bytes)
    }

    /// A blob of an OCI layout that is a document, checked.
    pub(super) fn blob(&self, digest: &Digest) -> Result<Vec<u8>, AgentError> {
        let name = blob_name(digest);
        let bytes = self.document(&name)?;
        let (found, _) = Hashed::new(bytes.as_slice())
            .finish()
            .map_err(|error| AgentError::internal(format!("reading {name}"), error))?;
        digest.expect(&found, &name)?;
        Ok(bytes)
    }
}

/// Where an OCI layout has a blob.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn members(file: &File, shown: &str) -> Result<BTreeMap<PathBuf, Member>, AgentError> {
    let failed = |error: std::io::Error| AgentError::invalid(shown, format!("is no tar archive: {error}"));
    let mut members = BTreeMap::new();
    let mut archive = Archive::new(file.try_clone().map_err(failed)?);
    for entry in archive.entries_with_seek().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path: PathBuf =
            entry.path().map_err(failed)?.components().filter(|part| *part != Component::CurDir).collect();
        if path.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(AgentError::invalid(
                shown,
                format!("has a member {}, which leads out of it", path.display()),
            ));
        }
        let member = match entry.header().entry_type() {
            EntryType::Regular => Member::File { at: entry.raw_file_position(), bytes: entry.size() },
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name().map_err(failed)?.unwrap_or_default();
                let base = if entry.header().entry_type() == EntryType::Link { None } else { path.parent() };
                Member::Link(beside(base.unwrap_or(Path::new("")), &target))
            }
            _ => continue,
        };
        members.insert(path, member);
        if members.len() > MOST_MEMBERS {
            return Err(AgentError::invalid(shown, format!("has more than {MOST_MEMBERS} members")));
        }
    }
    Ok(members)
}

/// Where a link in an archive leads, by names alone.
fn beside(folder: &Path, target: &Path) -> PathBuf {
    let mut path = folder.to_owned();
    for part in target.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            _ => {}
        }
    }
    path
}
