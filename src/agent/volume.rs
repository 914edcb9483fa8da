//! Volumes: folders of the host that instances know by name. A name leads to a folder that the settings name, or to one of
//! its own in the data folder; nothing in a request is ever a path.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::AgentError;
use super::id::InstanceId;

/// See the module.
#[derive(Debug, Clone)]
pub struct Volumes {
    folder: PathBuf,
    elsewhere: BTreeMap<String, PathBuf>,
}

impl Volumes {
    /// Those in `data`, and those that lie elsewhere.
    #[must_use]
    pub fn new(data: &Path, elsewhere: BTreeMap<String, PathBuf>) -> Self {
        Self { folder: data.join("volumes"), elsewhere }
    }

    /// Refuses a name that can be no volume's: it has the syntax of an instance's id.
    ///
    /// # Errors
    /// `Invalid` with `field`.
    pub fn check(field: &str, name: &str) -> Result<(), AgentError> {
        name.parse::<InstanceId>().map(drop).map_err(|_| {
            let shown: String = name.chars().take(80).collect();
            AgentError::invalid(
                field,
                format!(
                    "is {shown:?}; a volume's name is a letter or digit and then up to 62 of A-Za-z0-9_.-"
                ),
            )
        })
    }

    /// The folder of a volume. One in the data folder is made when it is not there; one of the settings must be.
    ///
    /// # Errors
    /// `Invalid` for a name that is none, `Precondition` for a folder that is none, `Internal` when it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf, AgentError> {
        Self::check("volume_mounts.name", name)?;
        if let Some(folder) = self.elsewhere.get(name) {
            return if folder.is_absolute() && folder.is_dir() {
                Ok(folder.clone())
            } else {
                Err(AgentError::Precondition(format!(
                    "volume {name:?}: the settings name {}, which is no folder of this machine",
                    folder.display()
                )))
            };
        }
        let folder = self.folder.join(name);
        let failed = |error: io::Error| AgentError::internal(format!("volume {name:?}"), error);
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => Ok(folder),
            Ok(_) => {
                Err(AgentError::Precondition(format!("volume {name:?} is no folder in the data folder")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&folder).map_err(failed)?;
                Ok(folder)
            }
            Err(error) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_a_folder_of_its_own_or_of_the_settings_and_never_out_of_them() {
        let data = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let elsewhere = BTreeMap::from([
            ("cache".to_owned(), other.path().to_owned()),
            ("gone".to_owned(), "/no/such".into()),
        ]);
        let volumes = Volumes::new(data.path(), elsewhere);
        assert_eq!(volumes.folder("logs").unwrap(), data.path().join("volumes/logs"));
        assert!(volumes.folder("logs").unwrap().is_dir());
        assert_eq!(volumes.folder("cache").unwrap(), other.path());
        assert!(
            matches!(volumes.folder("gone"), Err(AgentError::Precondition(text)) if text.contains("/no/such"))
        );
        std::os::unix::fs::symlink("/etc", data.path().join("volumes/link")).unwrap();
        assert!(matches!(volumes.folder("link"), Err(AgentError::Precondition(_))));
        for bad in ["", "..", ".", "../../etc", "a/b", "/etc", "a\0b", &"x".repeat(64)] {
            assert!(matches!(volumes.folder(bad), Err(AgentError::Invalid { .. })), "{bad:?}");
        }
    }
}
