//! A model folder that appears whole or not at all.

use std::io;
use std::path::{Path, PathBuf};

/// A folder being filled beside its final place. Dropped before [`Staging::publish`], it is removed.
#[derive(Debug)]
pub struct Staging {
    out: PathBuf,
    work: PathBuf,
    overwrite: bool,
    published: bool,
}

impl Staging {
    /// Starts a folder that will become `out`.
    ///
    /// # Errors
    /// When `out` exists and may not be overwritten, or what the file system reported.
    pub fn start(out: &Path, overwrite: bool) -> io::Result<Self> {
        if out.symlink_metadata().is_ok() && !overwrite {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "exists already; ask to overwrite it"));
        }
        let work = sibling(out, "partial")?;
        if let Some(parent) = work.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent)?;
        }
        // The name carries our own process id, so what stands there was left by a process that was killed.
        if work.is_dir() {
            std::fs::remove_dir_all(&work)?;
        }
        std::fs::create_dir(&work)?;
        Ok(Self { out: out.to_owned(), work, overwrite, published: false })
    }

    /// Where to write.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.work
    }

    /// Moves the folder to its final place; what stood there is replaced in two renames and then removed.
    ///
    /// # Errors
    /// What the file system reported; the old folder is then back in its place.
    pub fn publish(mut self) -> io::Result<()> {
        let replaced = if self.overwrite && self.out.symlink_metadata().is_ok() {
            let old = sibling(&self.out, "replaced")?;
            std::fs::rename(&self.out, &old)?;
            Some(old)
        } else {
            None
        };
        if let Err(error) = std::fs::rename(&self.work, &self.out) {
            if let Some(old) = replaced {
                std::fs::rename(old, &self.out)?;
            }
            return Err(error);
        }
        self.published = true;
        match replaced {
            Some(old) if old.is_dir() && !old.is_symlink() => std::fs::remove_dir_all(old),
            Some(old) => std::fs::remove_file(old),
            None => Ok(()),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = std::fs::remove_dir_all(&self.work)
        {
            tracing::warn!(path = %self.work.display(), %error, "an unfinished model folder stays behind");
        }
    }
}

/// `.NAME.KIND-PID` beside `out`.
fn sibling(out: &Path, kind: &str) -> io::Result<PathBuf> {
    let name = out.file_name().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "has no last part that could name a folder")
    })?;
    Ok(out.with_file_name(format!(".{}.{kind}-{}", name.to_string_lossy(), std::process::id())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_folder_that_is_not_published_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::start(&dir.path().join("m"), false).unwrap();
        std::fs::write(staging.path().join("x"), "1").unwrap();
        drop(staging);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn an_existing_folder_is_replaced_only_when_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("m");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(out.join("old"), "1").unwrap();
        assert!(Staging::start(&out, false).unwrap_err().to_string().contains("overwrite"));
        let staging = Staging::start(&out, true).unwrap();
        std::fs::write(staging.path().join("new"), "1").unwrap();
        staging.publish().unwrap();
        assert_eq!(names(&out), ["new"]);
        assert_eq!(names(dir.path()), ["m"]);
    }
}
