//! Who this node is, for as long as its data folder lives, and the folder itself: one agent at a time has it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::AgentError;
use super::store::write_synced;

/// Longest data folder: `run/`, sixteen digits and a socket's name of twenty bytes must fit into a socket address.
const LONGEST_PATH: usize = 64;

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// A UUID.
    pub node_id: String,
    /// Eight hexadecimal digits that stand in the name of everything that outlives the agent.
    pub mark: String,
}

/// The data folder, and that no other agent has it.
#[derive(Debug)]
pub struct House {
    /// Absolute.
    pub data: PathBuf,
    /// Who lives there.
    pub node: Node,
    /// Held until this is dropped.
    _lock: File,
}

impl House {
    /// Takes the folder, and makes it when it is not there. Blocks.
    ///
    /// # Errors
    /// Another agent has it, its path is too long for sockets, or it cannot be written.
    pub fn open(data: &Path) -> Result<Self, AgentError> {
        let fault = |error| AgentError::internal(format!("data folder {}", data.display()), error);
        for part in ["instances", "run"] {
            fs::create_dir_all(data.join(part)).map_err(fault)?;
        }
        // Secrets of environments lie there, and programs that run as somebody else: nobody but the owner comes near them.
        fs::set_permissions(data, Permissions::from_mode(0o700)).map_err(fault)?;
        let data = data.canonicalize().map_err(fault)?;
        let length = data.as_os_str().len();
        if length > LONGEST_PATH {
            let text = format!(
                "data folder {} has a path of {length} bytes; sockets in it allow at most {LONGEST_PATH}",
                data.display()
            );
            return Err(AgentError::Precondition(text));
        }
        let lock = File::create(data.join("lock")).map_err(fault)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let text = format!("data folder {} belongs to an agent that runs", data.display());
                return Err(AgentError::Unavailable(text));
            }
            Err(error) => return Err(fault(error.into())),
        }
        let node = Node::of(&data.join("node.json"))?;
        Ok(Self { data, node, _lock: lock })
    }
}

impl Node {
    fn of(path: &Path) -> Result<Self, AgentError> {
        let fault = |error: &dyn std::fmt::Display| AgentError::internal(path.display(), error);
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| fault(&error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let id = uuid::Uuid::new_v4();
                let mark = id.simple().to_string().chars().take(8).collect();
                let node = Self { node_id: id.to_string(), mark };
                let bytes = serde_json::to_vec_pretty(&node).map_err(|error| fault(&error))?;
                write_synced(path, &bytes).map_err(|error| fault(&error))?;
                Ok(node)
            }
            Err(error) => Err(fault(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name_and_one_agent_has_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let house = House::open(folder.path()).unwrap();
        let node = house.node.clone();
        assert_eq!(node.mark.len(), 8);
        assert!(matches!(House::open(folder.path()), Err(AgentError::Unavailable(_))));
        drop(house);
        assert_eq!(House::open(folder.path()).unwrap().node, node);
    }

    #[test]
    fn a_folder_whose_sockets_would_have_no_address_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(70));
        let error = House::open(&deep).unwrap_err();
        assert!(error.to_string().contains("at most 64"), "{error}");
    }
}
