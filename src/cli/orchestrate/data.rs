//! The data folder: one orchestrator at a time, and what belongs to nobody else.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use uuid::Uuid;

/// The folder, held: another orchestrator is refused while this exists, and not after this process has ended, however.
#[derive(Debug)]
pub(super) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder where it is not there, and holds it.
    pub(super) fn hold(path: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path).with_context(|| format!("--data {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("--data {}", path.display()))?;
        let file = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .with_context(|| format!("cannot open {}", file.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder)?;
                anyhow::bail!(
                    "--data {}: another orchestrator (process {}) works in this folder",
                    path.display(),
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", file.display()));
            }
        }
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file with the key of the instances that the orchestrator starts itself, and the key. Made at the first start;
    /// kept, because instances outlive an orchestrator.
    pub(super) fn instance_key(&self) -> anyhow::Result<(PathBuf, String)> {
        let path = self.path.join("instance.key");
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        if kept.trim().len() >= 32 {
            return Ok((path, kept.trim().to_owned()));
        }
        let key = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(file, "{key}")?;
        Ok((path, key))
    }

    /// A loopback port for instances of this machine: the one of the last start where it is free, because instances
    /// come back to it.
    pub(super) fn local_listener(&self) -> anyhow::Result<std::net::TcpListener> {
        let file = self.path.join("instances.port");
        let last: u16 =
            std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let bind = |port: u16| std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let listener =
            bind(last).or_else(|_| bind(0)).context("cannot listen for instances of this machine")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        std::fs::write(&file, format!("{port}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(listener)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn two_orchestrators_never_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolder::hold(folder.path()).unwrap();
        let refused = DataFolder::hold(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("another orchestrator") && refused.contains("--data"), "{refused}");
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        DataFolder::hold(folder.path()).unwrap();
    }

    #[test]
    fn the_key_of_instances_is_kept_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolder::hold(folder.path()).unwrap();
        let (path, key) = held.instance_key().unwrap();
        assert_eq!(key.len(), 64);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(held.instance_key().unwrap(), (path, key));
    }

    #[test]
    fn instances_find_the_port_of_the_last_start_again() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolder::hold(folder.path()).unwrap();
        let first = held.local_listener().unwrap().local_addr().unwrap();
        assert_eq!(held.local_listener().unwrap().local_addr().unwrap(), first);
    }
}
