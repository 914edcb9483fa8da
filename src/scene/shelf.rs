//! Which scenario files may be opened: those under the configured folders, symbolic links resolved. One rule for
//! listing, loading and restarting a renderer.

use std::io;
use std::path::{Path, PathBuf};

/// How deep folders are searched.
const MAX_DEPTH: usize = 12;
/// Files listed at most.
const MAX_FILES: usize = 10_000;

/// The configured folders.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shelf {
    roots: Vec<PathBuf>,
}

/// There is no such file on the shelf. A file elsewhere reads the same: nothing is told of what lies outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("USDZ file not found: {0}")]
pub struct NotOnShelf(pub String);

impl Shelf {
    /// A shelf of these folders. They need not exist yet.
    #[must_use]
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots }
    }

    /// The folders.
    #[must_use]
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// The file that `name` means: a path, absolute or from the working directory, or a path within a folder of the
    /// shelf; `~` is the home directory. Directories are found too, so that opening one can say what it is.
    ///
    /// # Errors
    /// [`NotOnShelf`] with the name.
    pub fn find(&self, name: &str) -> Result<PathBuf, NotOnShelf> {
        let not_found = || NotOnShelf(name.to_owned());
        if name.is_empty() || name.contains('\0') {
            return Err(not_found());
        }
        let path = expanded(name);
        let within = self.roots.iter().map(|root| root.join(&path));
        let candidates = std::iter::once(path.clone()).chain(within);
        let found =
            candidates.filter_map(|candidate| candidate.canonicalize().ok()).find(|real| self.holds(real));
        found.ok_or_else(not_found)
    }

    /// Whether a resolved path lies under one of the folders.
    fn holds(&self, real: &Path) -> bool {
        let roots = self.roots.iter().filter_map(|root| root.canonicalize().ok());
        roots.into_iter().any(|root| real.starts_with(&root) && real != root)
    }

    /// All scenario files, resolved, sorted, each once.
    #[must_use]
    pub fn list(&self) -> Vec<PathBuf> {
        let below = self.roots.iter().filter_map(|root| files_below(root).ok()).flatten();
        let real = below.filter_map(|path| path.canonicalize().ok());
        let mut found: Vec<PathBuf> = real.filter(|real| self.holds(real)).collect();
        found.sort();
        found.dedup();
        found
    }
}

/// The scenario files in and below a folder, by their extension. Links to folders are not followed: they may lead in a
/// circle. Folders within that cannot be read are left out, with a line in the log.
///
/// # Errors
/// When the folder itself cannot be read.
pub fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    search(folder, 0, &mut found)?;
    Ok(found)
}

fn search(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for path in std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())) {
        if found.len() >= MAX_FILES {
            return Ok(());
        }
        if path.symlink_metadata().is_ok_and(|about| about.is_dir()) {
            if depth < MAX_DEPTH
                && let Err(error) = search(&path, depth + 1, found)
            {
                tracing::warn!(folder = %path.display(), %error, "a folder is left out");
            }
        } else if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("usdz")) && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

fn expanded(name: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    match name.strip_prefix('~') {
        Some("") => home().unwrap_or_else(|| PathBuf::from(name)),
        Some(rest) if rest.starts_with('/') => {
            home().map_or_else(|| PathBuf::from(name), |home| home.join(rest.trim_start_matches('/')))
        }
        _ => PathBuf::from(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("scenes");
        std::fs::create_dir_all(inside.join("deep")).unwrap();
        for name in ["scenes/b.usdz", "scenes/deep/a.USDZ", "scenes/notes.txt", "secret.usdz"] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        let shelf = Shelf::new(vec![inside, dir.path().join("absent")]);
        (dir, shelf)
    }

    #[test]
    fn files_are_listed_resolved_and_sorted() {
        let (dir, shelf) = shelf();
        let real = dir.path().canonicalize().unwrap();
        assert_eq!(shelf.list(), [real.join("scenes/b.usdz"), real.join("scenes/deep/a.USDZ")]);
    }

    #[test]
    fn a_name_is_found_by_path_and_within_the_folders() {
        let (dir, shelf) = shelf();
        let real = dir.path().canonicalize().unwrap().join("scenes/b.usdz");
        assert_eq!(shelf.find("b.usdz").unwrap(), real);
        assert_eq!(shelf.find(&real.display().to_string()).unwrap(), real);
        assert_eq!(shelf.find("deep/../b.usdz").unwrap(), real);
    }

    #[test]
    fn nothing_outside_the_folders_is_found_not_even_through_a_link() {
        let (dir, shelf) = shelf();
        let secret = dir.path().join("secret.usdz");
        let link = dir.path().join("scenes/link.usdz");
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        for name in [secret.display().to_string(), link.display().to_string(), "../secret.usdz".into()] {
            assert_eq!(shelf.find(&name), Err(NotOnShelf(name)));
        }
        assert!(!shelf.list().contains(&secret.canonicalize().unwrap()));
        for name in ["", "a\0b", "scenes", "nowhere.usdz"] {
            assert!(shelf.find(name).is_err(), "{name:?}");
        }
    }
}
