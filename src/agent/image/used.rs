//! Which images instances were made of, read from what is kept of them: also when no agent runs.

use std::collections::BTreeSet;
use std::path::Path;

use crate::agent::error::AgentError;
use crate::agent::record::Record;

/// Names of images that must stay.
///
/// # Errors
/// `Precondition` when a record cannot be read: what it needs is not known then.
pub fn used(data: &Path) -> Result<BTreeSet<String>, AgentError> {
    let mut used = BTreeSet::new();
    let Ok(entries) = data.join("instances").read_dir() else { return Ok(used) };
    for entry in entries.flatten() {
        let path = entry.path().join("record.json");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error)
                if [std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory]
                    .contains(&error.kind()) =>
            {
                continue;
            }
            Err(error) => return Err(unknown(&path, error)),
        };
        let record: Record = serde_json::from_slice(&text).map_err(|error| unknown(&path, error))?;
        let spec = record.spec;
        used.extend(
            [Some(spec.image), spec.kernel, spec.initrd]
                .into_iter()
                .flatten()
                .filter(|name| !name.is_empty()),
        );
    }
    Ok(used)
}

fn unknown(path: &Path, error: impl std::fmt::Display) -> AgentError {
    AgentError::Precondition(format!(
        "{}: what this instance was made of cannot be read: {error}",
        path.display()
    ))
}
