//! How a job in a cluster is known as one of ours: by its name, which says whose fleet, which instance, which pool. So a
//! restarted server finds its jobs by asking the cluster, and two fleets on one cluster keep apart.

use std::fs;
use std::path::Path;

use uuid::Uuid;

use super::Birth;
use crate::fleet::error::FleetError;
use crate::fleet::ids::InstanceId;

/// The file in the data folder with the fleet's own id.
const FILE: &str = "fleet_id";

/// Names a pool's jobs, and knows them again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobNames {
    prefix: String,
    pool: String,
}

impl JobNames {
    /// Those of the fleet that keeps its data there.
    ///
    /// # Errors
    /// `Internal`, naming the file, when it can not be read or made.
    pub fn of(data: &Path, pool: &str) -> Result<Self, FleetError> {
        let path = data.join(FILE);
        let trouble = |error: std::io::Error| FleetError::Internal(format!("{}: {error}", path.display()));
        let id = match fs::read_to_string(&path) {
            Ok(id) => id.trim().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let id = Uuid::new_v4().simple().to_string();
                fs::create_dir_all(data).and_then(|()| fs::write(&path, &id)).map_err(trouble)?;
                id
            }
            Err(error) => return Err(trouble(error)),
        };
        let short: String = id.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        if short.len() < 8 {
            return Err(FleetError::Internal(format!("{}: {id:?} is no id", path.display())));
        }
        Ok(Self { prefix: format!("neuro-{short}-"), pool: pool.to_owned() })
    }

    /// `neuro-FLEET-UUID-POOL-NUMBER`.
    #[must_use]
    pub fn name(&self, birth: &Birth) -> String {
        format!("{}{}-{}", self.prefix, birth.instance, birth.name)
    }

    /// The instance behind a job's name; `None` when it is not of this fleet and pool.
    #[must_use]
    pub fn read(&self, job: &str) -> Option<Birth> {
        let rest = job.strip_prefix(&self.prefix)?;
        let (id, name) = (rest.get(..36)?, rest.get(36..)?.strip_prefix('-')?);
        let instance: InstanceId = id.parse().ok()?;
        let (pool, _number) = name.rsplit_once('-')?;
        (pool == self.pool).then(|| Birth { instance, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_known_again_by_its_fleet_and_its_pool_only() {
        let (mine, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let names = JobNames::of(mine.path(), "rtx-1").unwrap();
        let birth = Birth { instance: InstanceId::new(), name: "rtx-1-12".to_owned() };
        let job = names.name(&birth);
        assert_eq!(JobNames::of(mine.path(), "rtx-1").unwrap().read(&job), Some(birth));
        assert_eq!(JobNames::of(mine.path(), "rtx").unwrap().read(&job), None);
        assert_eq!(JobNames::of(theirs.path(), "rtx-1").unwrap().read(&job), None);
        assert_eq!(names.read("neuro-"), None);
    }
}
