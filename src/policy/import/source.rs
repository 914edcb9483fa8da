//! The files a model was made of, with their hashes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::hub::Hub;
use super::{ImportArgs, ImportError};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name and the folder it was in, nothing above.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// Hashes what an import reads.
pub(super) fn of(args: &ImportArgs, hub: &Hub, hub_weights: bool) -> Result<Vec<Source>, ImportError> {
    let mut paths: Vec<PathBuf> = vec![args.checkpoint.clone(), args.stats.clone()];
    let in_hub = ["config.json", "tokenizer.json", "tokenizer_config.json"].map(|name| args.hub.join(name));
    let tower = hub
        .vision_dir
        .iter()
        .flat_map(|dir| ["config.json", "preprocessor_config.json"].map(|name| dir.join(name)));
    paths.extend(in_hub.into_iter().chain(tower).filter(|path| path.exists()));
    if hub_weights {
        paths.extend(hub.weight_paths().map(Path::to_owned));
    }
    paths.iter().map(|path| hash(path).map_err(ImportError::io(path))).collect()
}

fn hash(path: &Path) -> std::io::Result<Source> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 20];
    let mut bytes = 0_u64;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        digest.update(buffer.get(..count).unwrap_or_default());
        bytes += count as u64;
    }
    let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Source { name: short_name(path), bytes, sha256 })
}

/// `folder/file`: enough to recognise it by, without telling how somebody's disk is laid out.
fn short_name(path: &Path) -> String {
    let parts: Vec<String> = path
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    parts.get(parts.len().saturating_sub(2)..).unwrap_or_default().join("/")
}
