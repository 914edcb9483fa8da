//! The secret that control tokens are signed with: configured, or made once and kept.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::fleet::error::FleetError;

/// Shorter secrets can be guessed from one token; they are used, with a warning.
const SHORTEST_SECRET: usize = 32;

/// The configured secret, or the one kept in `data/control.secret`, which the first call makes (mode 0600).
///
/// # Errors
/// When the file cannot be made or read, or is empty.
pub fn secret(configured: &str, data: &Path) -> Result<Vec<u8>, FleetError> {
    if !configured.is_empty() {
        if configured.len() < SHORTEST_SECRET {
            tracing::warn!("control.secret has {} bytes, fewer than {SHORTEST_SECRET}", configured.len());
        }
        return Ok(configured.as_bytes().to_vec());
    }
    let path = data.join("control.secret");
    let trouble = |error: std::io::Error| FleetError::Internal(format!("{}: {error}", path.display()));
    fs::create_dir_all(data).map_err(trouble)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let text = made();
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(trouble)?;
            Ok(text.into_bytes())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mode = fs::metadata(&path).map_err(trouble)?.permissions().mode();
            if mode & 0o077 != 0 {
                tracing::warn!(
                    "{} can be read by others: mode {:o}, expected 600",
                    path.display(),
                    mode & 0o777
                );
            }
            let kept = fs::read_to_string(&path).map_err(trouble)?;
            let kept = kept.trim();
            if kept.len() < SHORTEST_SECRET {
                let path = path.display();
                let message =
                    format!("{path} holds {} bytes, expected {SHORTEST_SECRET} or more", kept.len());
                return Err(FleetError::Internal(message));
            }
            Ok(kept.as_bytes().to_vec())
        }
        Err(error) => Err(trouble(error)),
    }
}

/// 64 hexadecimal digits from the generator that UUIDs come from.
fn made() -> String {
    let mut hash = Sha256::new();
    for _ in 0..4 {
        hash.update(uuid::Uuid::new_v4().as_bytes());
    }
    format!("{:x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = secret("", folder.path()).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(secret("", folder.path()).unwrap(), first);
        let mode = fs::metadata(folder.path().join("control.secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(secret("", tempfile::tempdir().unwrap().path()).unwrap(), first);
    }

    #[test]
    fn a_configured_secret_wins_and_a_spoiled_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(secret("s3cret", folder.path()).unwrap(), b"s3cret");
        assert!(!folder.path().join("control.secret").exists());
        fs::write(folder.path().join("control.secret"), "short\n").unwrap();
        assert!(secret("", folder.path()).unwrap_err().to_string().contains("holds 5 bytes"));
    }
}
