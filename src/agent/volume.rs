//! Volumes: folders of the host that instances know by name. A name leads to a folder that the settings name, or to one of
//! its own in the data folder; nothing in a request is ever a path.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::AgentError;
use super::id::InstanceId;

/// See the module.
#[derive(Debug, Clone)]
pub struct Volumes {
    folder: PathBuf,
    elsewhere: BTreeMap<String, PathBuf>,
    /// Held by who makes one.
    making: Arc<Mutex<()>>,
}

impl Volumes {
    /// Those in `data`, and those that lie elsewhere.
    #[must_use]
    pub fn new(data: &Path, elsewhere: BTreeMap<String, PathBuf>) -> Self {
        Self { folder: data.join("volumes"), elsewhere, making: Arc::default() }
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

    /// Where a volume is, or `None` for one that is still to be made. One of the settings must be there.
    ///
    /// # Errors
    /// `Invalid` for a name that is none, `Precondition` for a folder that is none, `Internal` when nobody can tell.
    pub fn find(&self, name: &str) -> Result<Option<PathBuf>, AgentError> {
        Self::check("volume_mounts.name", name)?;
        if let Some(folder) = self.elsewhere.get(name) {
            return if folder.is_absolute() && folder.is_dir() {
                Ok(Some(folder.clone()))
            } else {
                Err(AgentError::Precondition(format!(
                    "volume {name:?}: the settings name {}, which is no folder of this machine",
                    folder.display()
                )))
            };
        }
        let folder = self.folder.join(name);
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => Ok(Some(folder)),
            Ok(_) => {
                Err(AgentError::Precondition(format!("volume {name:?} is no folder in the data folder")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(AgentError::internal(format!("volume {name:?}"), error)),
        }
    }

    /// The folder of a volume. One that is not there is made in the data folder and belongs to who asks first, a user and a
    /// group: a program that is not root can write to its own volume. One that is there stays whose it is.
    ///
    /// # Errors
    /// As [`Volumes::find`], and `Internal` when it cannot be made.
    pub fn folder(&self, name: &str, owner: (u32, u32)) -> Result<PathBuf, AgentError> {
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = self.find(name)? {
            return Ok(folder);
        }
        self.make(name, owner).map_err(|error| AgentError::internal(format!("volume {name:?}"), error))
    }

    /// It comes into being with its owner: no volume has a name that begins with a dot.
    fn make(&self, name: &str, (user, group): (u32, u32)) -> io::Result<PathBuf> {
        let draft = self.folder.join(format!(".{name}"));
        let folder = self.folder.join(name);
        fs::create_dir_all(&draft)?;
        std::os::unix::fs::chown(&draft, Some(user), Some(group))?;
        fs::rename(draft, &folder)?;
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn owner(folder: &Path) -> (u32, u32) {
        let found = fs::metadata(folder).unwrap();
        (found.uid(), found.gid())
    }

    #[test]
    fn a_new_volume_belongs_to_who_asks_first_and_stays_whose_it_is() {
        let data = tempfile::tempdir().unwrap();
        let me = owner(data.path());
        let other = if me.0 == 0 { (1000, 44) } else { me };
        let volumes = Volumes::new(data.path(), BTreeMap::new());
        assert_eq!(volumes.find("maps").unwrap(), None);
        let folders = std::thread::scope(|scope| {
            let asking: Vec<_> =
                (0..8).map(|_| scope.spawn(|| volumes.folder("maps", other).unwrap())).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(folders.iter().all(|folder| *folder == data.path().join("volumes/maps")));
        assert_eq!(owner(&folders[0]), other);
        assert_eq!(volumes.find("maps").unwrap(), Some(volumes.folder("maps", me).unwrap()));
        assert_eq!(owner(&folders[0]), other);
        assert_eq!(fs::read_dir(data.path().join("volumes")).unwrap().count(), 1, "no draft stays");
    }

    #[test]
    fn a_name_leads_to_a_folder_of_its_own_or_of_the_settings_and_never_out_of_them() {
        let data = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let elsewhere = BTreeMap::from([
            ("cache".to_owned(), other.path().to_owned()),
            ("gone".to_owned(), "/no/such".into()),
        ]);
        let volumes = Volumes::new(data.path(), elsewhere);
        let me = owner(data.path());
        assert_eq!(volumes.folder("logs", me).unwrap(), data.path().join("volumes/logs"));
        assert!(volumes.folder("logs", me).unwrap().is_dir());
        assert_eq!(volumes.folder("cache", me).unwrap(), other.path());
        assert!(
            matches!(volumes.folder("gone", me), Err(AgentError::Precondition(text)) if text.contains("/no/such"))
        );
        std::os::unix::fs::symlink("/etc", data.path().join("volumes/link")).unwrap();
        assert!(matches!(volumes.folder("link", me), Err(AgentError::Precondition(_))));
        for bad in ["", "..", ".", "../../etc", "a/b", "/etc", "a\0b", &"x".repeat(64)] {
            assert!(matches!(volumes.folder(bad, me), Err(AgentError::Invalid { .. })), "{bad:?}");
        }
    }
}
