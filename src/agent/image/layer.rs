//! Unpacking into a folder from which nothing escapes. Every path is resolved by the kernel with that folder as its root,
//! so that links inside an image lead where they would inside a container, and `..` and absolute paths lead nowhere else.
//!
//! What a layer takes away from those below it becomes what overlayfs understands: a character device 0:0 for a name, an
//! attribute for a folder's whole contents. No other device is ever made.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chownat,
    fchmod, fchown, fsetxattr, futimens, linkat, makedev, mkdirat, mknodat, openat, openat2, statat,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::agent::error::AgentError;

/// How overlayfs marks a folder that hides what is below it.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Most bytes of one layer: an archive that unpacks to more was made to fill a disk.
const MOST_BYTES: u64 = 256 << 30;

/// Most entries of one layer.
const MOST_ENTRIES: u64 = 4_000_000;

/// What an entry is.
pub(super) enum What<'a> {
    Folder,
    File(&'a mut dyn Read),
    Symlink(&'a OsStr),
    /// To an entry that came before.
    Hardlink(&'a Path),
    /// A character device 0:0.
    Whiteout,
    /// Any other device, a socket.
    Device,
    Fifo,
}

/// What else is known of an entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified_s: i64,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
}

/// See the module.
pub(super) struct Unpacker {
    root: OwnedFd,
    /// Names `.wh.` take away.
    layered: bool,
    owns: bool,
    entries: u64,
    bytes: u64,
    left_out: u64,
    folders: BTreeMap<PathBuf, i64>,
}

impl Unpacker {
    /// Into a folder that is there and empty. `layered`: names that begin with `.wh.` take away what is below.
    pub(super) fn into(folder: &Path, layered: bool) -> Result<Self, AgentError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, folder, flags, Mode::empty())
            .map_err(|error| AgentError::internal(format!("opening {}", folder.display()), error))?;
        let owns = rustix::process::geteuid().is_root();
        Ok(Self { root, layered, owns, entries: 0, bytes: 0, left_out: 0, folders: BTreeMap::new() })
    }

    /// Makes one entry.
    pub(super) fn put(&mut self, path: &Path, what: What<'_>, with: &Attributes) -> Result<(), AgentError> {
        let inside = inside(path)?;
        self.entries = self.entries.saturating_add(1);
        if self.entries > MOST_ENTRIES {
            return Err(wrong(path, format!("is one too many: at most {MOST_ENTRIES} entries are taken")));
        }
        let said = |error: PutError| match error {
            PutError::Refused(problem) => wrong(path, problem),
            PutError::System(errno) => AgentError::internal(format!("unpacking {}", path.display()), errno),
            PutError::Read(error) => AgentError::internal(format!("unpacking {}", path.display()), error),
        };
        self.make(&inside, what, with).map_err(said)
    }

    /// Sets what the making of entries changed, and says how many devices and sockets were left out.
    pub(super) fn finish(self) -> Result<Unpacked, AgentError> {
        for (path, modified_s) in self.folders.iter().rev() {
            let done = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY);
            let done = done.and_then(|folder| futimens(folder, &times(*modified_s)));
            done.map_err(|error| AgentError::internal(format!("unpacking {}", path.display()), error))?;
        }
        rustix::fs::syncfs(&self.root).map_err(|error| AgentError::internal("syncing a layer", error))?;
        Ok(Unpacked { bytes: self.bytes, left_out: self.left_out })
    }

    fn make(&mut self, path: &Path, what: What<'_>, with: &Attributes) -> Result<(), PutError> {
        let Some(name) = path.file_name() else {
            return match what {
                What::Folder => {
                    self.folders.insert(PathBuf::new(), with.modified_s);
                    let root = self.open(Path::new(""), OFlags::RDONLY | OFlags::DIRECTORY)?;
                    self.dress(root.as_fd(), with)
                }
                _ => Err(PutError::Refused("is the root itself and no folder".to_owned())),
            };
        };
        let parent_path = path.parent().unwrap_or(Path::new(""));
        let parent = self.parent(parent_path)?;
        if self.layered
            && let Some(hidden) = name.as_bytes().strip_prefix(b".wh.")
        {
            return self.hide(&parent, OsStr::from_bytes(hidden));
        }
        match what {
            What::Folder => {
                let folder = self.folder(&parent, name)?;
                self.dress(folder.as_fd(), with)?;
                self.folders.insert(path.to_owned(), with.modified_s);
            }
            What::File(contents) => {
                clear(&parent, name)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(openat(&parent, name, flags, Mode::RUSR | Mode::WUSR)?);
                let room = MOST_BYTES.saturating_sub(self.bytes);
                let copied = io::copy(&mut contents.take(room.saturating_add(1)), &mut file)?;
                if copied > room {
                    return Err(PutError::Refused(format!(
                        "is too long: a layer has at most {MOST_BYTES} bytes"
                    )));
                }
                self.bytes = self.bytes.saturating_add(copied);
                self.dress(file.as_fd(), with)?;
                futimens(&file, &times(with.modified_s))?;
            }
            What::Symlink(target) => {
                clear(&parent, name)?;
                symlinkat(target, &parent, name)?;
                self.own_link(&parent, name, with)?;
            }
            What::Hardlink(target) => {
                let target = inside(target).map_err(|error| PutError::Refused(error.to_string()))?;
                let Some(target_name) = target.file_name() else {
                    return Err(PutError::Refused("is a link to the root".to_owned()));
                };
                let target_parent = target.parent().unwrap_or(Path::new(""));
                let found = self.open(target_parent, OFlags::PATH | OFlags::DIRECTORY);
                let missing =
                    |_| PutError::Refused(format!("is a link to {}, which is not there", target.display()));
                let target_parent = found.map_err(missing)?;
                let file = statat(&target_parent, target_name, AtFlags::SYMLINK_NOFOLLOW).map_err(missing)?;
                if FileType::from_raw_mode(file.st_mode) == FileType::Directory {
                    return Err(PutError::Refused(format!("is a link to the folder {}", target.display())));
                }
                clear(&parent, name)?;
                linkat(&target_parent, target_name, &parent, name, AtFlags::empty())?;
            }
            What::Whiteout if self.layered => self.hide(&parent, name)?,
            What::Fifo => {
                clear(&parent, name)?;
                mknodat(&parent, name, FileType::Fifo, mode(with.mode), 0)?;
                self.own_link(&parent, name, with)?;
            }
            What::Whiteout | What::Device => self.left_out = self.left_out.saturating_add(1),
        }
        Ok(())
    }

    /// Opens what is inside, with the folder as the root of every path and link.
    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), within)
    }

    /// The folder that an entry is in; made where it is missing.
    fn parent(&self, path: &Path) -> Result<OwnedFd, PutError> {
        match self.open(path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(folder) => Ok(folder),
            Err(Errno::NOENT) => {
                let Some(name) = path.file_name() else { return Err(Errno::NOENT.into()) };
                let above = self.parent(path.parent().unwrap_or(Path::new("")))?;
                mkdirat(&above, name, mode(0o755))?;
                Ok(self.open(path, OFlags::PATH | OFlags::DIRECTORY)?)
            }
            Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
                Err(PutError::Refused(format!("lies in {}, which is no folder", path.display())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A folder by this name, new or as it was. In the place of something hidden it is opaque.
    fn folder(&self, parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, PutError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (mut make, mut opaque) = (true, false);
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => match FileType::from_raw_mode(there.st_mode) {
                FileType::Directory => make = false,
                kind => {
                    opaque = kind == FileType::CharacterDevice;
                    unlinkat(parent, name, AtFlags::empty())?;
                }
            },
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        if make {
            mkdirat(parent, name, mode(0o755))?;
        }
        let folder = openat(parent, name, flags, Mode::empty())?;
        if opaque {
            fsetxattr(&folder, OPAQUE, b"y", XattrFlags::empty())?;
        }
        Ok(folder)
    }

    /// Takes away what the layers below have by this name; `.wh..opq` stands for all they have in the folder.
    fn hide(&self, parent: &OwnedFd, name: &OsStr) -> Result<(), PutError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match name.as_bytes() {
            b".wh..opq" => {
                let folder = openat(parent, ".", flags, Mode::empty())?;
                fsetxattr(&folder, OPAQUE, b"y", XattrFlags::empty())?;
            }
            b"" | b"." | b".." => {
                return Err(PutError::Refused("takes away nothing that can be named".to_owned()));
            }
            // Notes that other programs keep for themselves.
            other if other.starts_with(b".wh.") => {}
            _ => match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {
                    mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?;
                }
                Ok(there) if FileType::from_raw_mode(there.st_mode) == FileType::Directory => {
                    let folder = openat(parent, name, flags, Mode::empty())?;
                    fsetxattr(&folder, OPAQUE, b"y", XattrFlags::empty())?;
                }
                // This layer has its own by that name already.
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            },
        }
        Ok(())
    }

    fn dress(&self, file: impl AsFd, with: &Attributes) -> Result<(), PutError> {
        if self.owns {
            fchown(&file, Some(Uid::from_raw(with.uid)), Some(Gid::from_raw(with.gid)))?;
        }
        fchmod(&file, mode(with.mode))?;
        for (name, value) in &with.xattrs {
            // Attributes of overlayfs itself would redirect what is looked up in it.
            if name.starts_with("user.") || (self.owns && name == "security.capability") {
                fsetxattr(&file, name.as_str(), value, XattrFlags::empty())?;
            }
        }
        Ok(())
    }

    fn own_link(&self, parent: &OwnedFd, name: &OsStr, with: &Attributes) -> Result<(), Errno> {
        if self.owns {
            let (uid, gid) = (Uid::from_raw(with.uid), Gid::from_raw(with.gid));
            chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        utimensat(parent, name, &times(with.modified_s), AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// What came of unpacking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// Of all files together.
    pub(super) bytes: u64,
    /// Devices and sockets: a container gets its own.
    pub(super) left_out: u64,
}

enum PutError {
    Refused(String),
    System(Errno),
    Read(io::Error),
}

impl From<Errno> for PutError {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

impl From<io::Error> for PutError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// The path without what leads to a root; refused when it leads upwards.
fn inside(path: &Path) -> Result<PathBuf, AgentError> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(wrong(path, "leads out of the image".to_owned()));
            }
        }
    }
    Ok(inside)
}

/// Makes room for an entry that replaces one of its own layer.
fn clear(parent: &OwnedFd, name: &OsStr) -> Result<(), PutError> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {
            Err(PutError::Refused("is a folder too, in the same layer".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

fn wrong(path: &Path, problem: String) -> AgentError {
    let shown: OsString = path.as_os_str().into();
    AgentError::invalid(format!("image: {}", shown.to_string_lossy()), problem)
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits & 0o7777)
}

fn times(modified_s: i64) -> Timestamps {
    let time = Timespec { tv_sec: modified_s, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
