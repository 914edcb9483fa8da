//! A container's root: the image's layers below, what it writes above. With a size, what it writes lies in a file system of
//! its own in a file of that size, and the kernel says "no space" when it is full; without one, in a folder.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, mount};

use super::mounts;
use crate::agent::cgroup::DeviceNumber;
use crate::agent::error::AgentError;

/// What the kernel takes as options of one mount, without its last byte.
const LONGEST_OPTIONS: usize = 4095;

/// Where the parts of a root lie.
#[derive(Debug, Clone)]
pub(super) struct Rootfs {
    folder: PathBuf,
    size_bytes: u64,
}

impl Rootfs {
    /// In an instance's folder; `size_bytes` 0 is without a quota.
    pub(super) fn new(folder: &Path, size_bytes: u64) -> Self {
        Self { folder: folder.to_owned(), size_bytes }
    }

    /// Where the container finds it.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    /// Where the file of its own file system is mounted.
    pub(super) fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    fn file(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    /// Makes folders and file system. What is there stays.
    pub(super) fn make(&self) -> Result<(), AgentError> {
        let failed = |error: io::Error| AgentError::internal(self.folder.display(), error);
        fs::create_dir_all(self.root()).map_err(failed)?;
        if self.size_bytes == 0 {
            for name in ["upper", "work"] {
                fs::create_dir_all(self.folder.join(name)).map_err(failed)?;
            }
            return Ok(());
        }
        fs::create_dir_all(self.disk()).map_err(failed)?;
        if self.file().exists() {
            return Ok(());
        }
        let draft = self.folder.join("disk.draft");
        File::create(&draft).and_then(|file| file.set_len(self.size_bytes)).map_err(failed)?;
        let options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard";
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-E", options]).arg(&draft))?;
        fs::rename(&draft, self.file()).map_err(failed)
    }

    /// Mounts it. What is mounted stays.
    pub(super) fn mount(&self, layers: &[PathBuf], name: &str) -> Result<(), AgentError> {
        self.make()?;
        let mut above = self.folder.clone();
        if self.size_bytes > 0 {
            above = self.disk();
            if !mounts::is_mounted(&above) {
                run(Command::new("mount")
                    .args(["-t", "ext4", "-o", "loop,nodev"])
                    .arg(self.file())
                    .arg(&above))?;
            }
            for name in ["upper", "work"] {
                fs::create_dir_all(above.join(name))
                    .map_err(|error| AgentError::internal(above.display(), error))?;
            }
        }
        if mounts::is_mounted(&self.root()) {
            return Ok(());
        }
        let options = options(layers, &above)?;
        mount(name, self.root().as_path(), "overlay", MountFlags::empty(), options.as_c_str())
            .map_err(|error| AgentError::internal(format!("overlay at {}", self.root().display()), error))
    }

    /// Takes the mounts away; the loop device goes with its mount.
    pub(super) fn unmount(&self) -> Result<(), AgentError> {
        for folder in [self.root(), self.disk()] {
            mounts::clear(&folder).map_err(|error| AgentError::Internal(error.to_string()))?;
        }
        Ok(())
    }

    /// The loop device, while it is mounted.
    pub(super) fn device(&self) -> Option<DeviceNumber> {
        if self.size_bytes == 0 || !mounts::is_mounted(&self.disk()) {
            return None;
        }
        let device = fs::metadata(self.disk()).ok()?.dev();
        Some((rustix::fs::major(device), rustix::fs::minor(device)))
    }

    /// Bytes that the container wrote and that still are there, where a file system counts them.
    pub(super) fn used_bytes(&self) -> Option<u64> {
        self.device()?;
        let found = rustix::fs::statvfs(self.disk()).ok()?;
        Some(found.f_blocks.saturating_sub(found.f_bfree).saturating_mul(found.f_frsize))
    }

    /// Takes everything away.
    pub(super) fn destroy(&self) -> Result<(), AgentError> {
        self.unmount()?;
        let failed = |error: io::Error| AgentError::internal(self.folder.display(), error);
        for name in ["disk.img", "disk.draft"] {
            gone(fs::remove_file(self.folder.join(name))).map_err(failed)?;
        }
        for name in ["upper", "work"] {
            gone(fs::remove_dir_all(self.folder.join(name))).map_err(failed)?;
        }
        // Never with what is in them: if something is still mounted there, it is not ours to delete.
        for folder in [self.root(), self.disk()] {
            gone(fs::remove_dir(folder)).map_err(failed)?;
        }
        Ok(())
    }
}

/// What is gone already is no error.
pub(super) fn gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The block device that holds a folder; a partition's whole disk, as limits want it. Nothing for file systems without one.
pub(super) fn device_of(folder: &Path) -> Option<DeviceNumber> {
    let device = fs::metadata(folder).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let entry = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    if !entry.join("partition").exists() {
        return Some((major, minor));
    }
    let text = fs::read_to_string(entry.parent()?.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn options(layers: &[PathBuf], above: &Path) -> Result<CString, AgentError> {
    let upper = above.join("upper");
    let work = above.join("work");
    let texts: Vec<&str> = layers.iter().chain([&upper, &work]).filter_map(|path| path.to_str()).collect();
    if layers.is_empty()
        || texts.len() != layers.len() + 2
        || texts.iter().any(|text| text.contains([',', ':', '\\']))
    {
        return Err(AgentError::Precondition(format!(
            "overlay of {} layers at {}: at least one is needed, and no path may hold a comma, colon or backslash",
            layers.len(),
            above.display()
        )));
    }
    let lower = texts.get(..layers.len()).unwrap_or_default().join(":");
    let options = format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display());
    if options.len() > LONGEST_OPTIONS {
        return Err(AgentError::Precondition(format!(
            "overlay of {} layers: their paths make {} bytes of mount options, the kernel takes {LONGEST_OPTIONS}; \
             a data folder with a shorter path helps",
            layers.len(),
            options.len()
        )));
    }
    CString::new(options).map_err(|error| AgentError::internal("overlay", error))
}

/// Runs a tool; what it says on failure is the error.
fn run(command: &mut Command) -> Result<(), AgentError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| AgentError::internal(&name, error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(AgentError::internal(name, format!("{} ({})", said.trim(), output.status)))
}
