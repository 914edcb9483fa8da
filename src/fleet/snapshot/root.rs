//! Where snapshots lie. Paths of requests never lead out of the configured root.

use std::path::{Component, Path, PathBuf};

use crate::fleet::error::FleetError;
use crate::fleet::ids::SessionId;

/// Longest path of a request.
const LONGEST_PATH: usize = 1024;

/// The configured root, and the scene store's name for it.
#[derive(Debug, Clone)]
pub struct SnapshotRoot {
    root: PathBuf,
    nucleus_url: String,
}

impl SnapshotRoot {
    /// `nucleus_url` is `omniverse://host`, or empty where none is configured.
    #[must_use]
    pub fn new(root: PathBuf, nucleus_url: &str) -> Self {
        Self { root, nucleus_url: nucleus_url.trim_end_matches('/').to_owned() }
    }

    /// The root itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The folder of a new snapshot: `BASE/SESSION/ID` under the root.
    ///
    /// # Errors
    /// `Invalid` when `base` leads out of the root or names a scene store that is not the configured one.
    pub fn folder(&self, base: &str, session: &SessionId, id: &str) -> Result<PathBuf, FleetError> {
        let base = self.place("nucleus_base_path", base)?;
        Ok(base.join(session.as_str()).join(id))
    }

    /// The folder that a request names, or whose `manifest.json` it names.
    ///
    /// # Errors
    /// As [`folder`](Self::folder), and `NotFound` when there is no manifest.
    pub fn find(&self, path: &str) -> Result<PathBuf, FleetError> {
        let mut folder = self.place("nucleus_snapshot_path", path)?;
        if folder.file_name().is_some_and(|name| name == super::manifest::FILE_NAME) {
            folder.pop();
        }
        let missing = || FleetError::not_found("snapshot", path);
        let real = folder.canonicalize().map_err(|_| missing())?;
        let root = self.root.canonicalize().map_err(|_| missing())?;
        if !real.starts_with(&root) {
            return Err(FleetError::invalid(
                "nucleus_snapshot_path",
                "leads out of the snapshot root by a link",
            ));
        }
        if real.join(super::manifest::FILE_NAME).is_file() { Ok(real) } else { Err(missing()) }
    }

    fn place(&self, field: &str, path: &str) -> Result<PathBuf, FleetError> {
        if path.len() > LONGEST_PATH {
            let problem = format!("is {} bytes long; expected at most {LONGEST_PATH}", path.len());
            return Err(FleetError::invalid(field, problem));
        }
        let shown: String = path.chars().take(120).collect();
        let relative = if path.contains("://") {
            self.strip_scheme(field, path, &shown)?
        } else {
            self.strip_root(path)
        };
        let mut placed = self.root.clone();
        for part in Path::new(&relative).components() {
            match part {
                Component::Normal(name) if !relative.chars().any(char::is_control) => placed.push(name),
                Component::CurDir => {}
                _ => {
                    let problem = format!("{shown:?} leads out of the snapshot root {}", self.root.display());
                    return Err(FleetError::invalid(field, problem));
                }
            }
        }
        Ok(placed)
    }

    fn strip_scheme(&self, field: &str, path: &str, shown: &str) -> Result<String, FleetError> {
        if let Some(file) = path.strip_prefix("file://") {
            return Ok(self.strip_root(file));
        }
        let ours = (!self.nucleus_url.is_empty()).then(|| path.strip_prefix(&self.nucleus_url)).flatten();
        match ours {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                Ok(rest.trim_start_matches('/').to_owned())
            }
            _ => {
                let known =
                    if self.nucleus_url.is_empty() { "none is configured" } else { &self.nucleus_url };
                let problem = format!("{shown:?} is on no scene store of this orchestrator ({known})");
                Err(FleetError::invalid(field, problem))
            }
        }
    }

    /// An absolute path under the root becomes relative to it; another one stays absolute, and is refused.
    fn strip_root(&self, path: &str) -> String {
        Path::new(path)
            .strip_prefix(&self.root)
            .ok()
            .and_then(Path::to_str)
            .map_or_else(|| path.to_owned(), str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots() -> (tempfile::TempDir, SnapshotRoot) {
        let folder = tempfile::tempdir().unwrap();
        let root = SnapshotRoot::new(folder.path().to_owned(), "omniverse://nucleus.example/");
        (folder, root)
    }

    fn at(root: &SnapshotRoot, base: &str) -> Result<PathBuf, FleetError> {
        root.folder(base, &"s-1".parse().unwrap(), "id")
    }

    #[test]
    fn folders_lie_under_the_root_however_they_are_written() {
        let (folder, root) = roots();
        let inside = folder.path().join("a/b/s-1/id");
        assert_eq!(at(&root, "a/b").unwrap(), inside);
        assert_eq!(at(&root, "./a/./b/").unwrap(), inside);
        assert_eq!(at(&root, "omniverse://nucleus.example/a/b").unwrap(), inside);
        assert_eq!(at(&root, &format!("{}/a/b", folder.path().display())).unwrap(), inside);
        assert_eq!(at(&root, &format!("file://{}/a/b", folder.path().display())).unwrap(), inside);
        assert_eq!(at(&root, "").unwrap(), folder.path().join("s-1/id"));
    }

    #[test]
    fn no_path_leads_out_of_the_root() {
        let (_folder, root) = roots();
        for wrong in [
            "../x",
            "a/../../x",
            "/etc",
            "file:///etc",
            "omniverse://nucleus.example/../x",
            "omniverse://nucleus.example.evil/x",
            "omniverse://other/x",
            "s3://bucket",
            "a\u{0}b",
        ] {
            assert!(matches!(at(&root, wrong), Err(FleetError::Invalid { .. })), "{wrong:?}");
        }
        assert!(at(&root, &"x".repeat(2000)).is_err());
    }

    #[test]
    fn a_link_that_leads_out_of_the_root_is_not_followed() {
        let (folder, root) = roots();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("manifest.json"), "{}").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("out")).unwrap();
        assert!(matches!(root.find("out"), Err(FleetError::Invalid { .. })));
        assert!(matches!(root.find("nothing"), Err(FleetError::NotFound { .. })));
    }

    #[test]
    fn a_snapshot_is_found_by_its_folder_and_by_its_manifest() {
        let (folder, root) = roots();
        std::fs::create_dir(folder.path().join("one")).unwrap();
        std::fs::write(folder.path().join("one/manifest.json"), "{}").unwrap();
        let found = root.find("one").unwrap();
        assert_eq!(root.find("omniverse://nucleus.example/one/manifest.json").unwrap(), found);
    }
}
