//! The store's list: one JSON file, replaced whole and synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::agent::error::AgentError;

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// The root of containers.
    Root,
    /// A disk of VMs.
    Disk,
    /// What a VM without firmware starts.
    Kernel,
    /// What that kernel finds first.
    Initrd,
}

impl ImageKind {
    /// As it stands in the list and in sentences.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Disk => "disk",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
        }
    }
}

/// What a container runs unless it is told otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Program {
    /// The program with its fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments.
    pub cmd: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Where it starts.
    pub working_dir: String,
    /// Whom it runs as.
    pub user: String,
    /// What asks it to end.
    pub stop_signal: String,
}

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What requests call it.
    pub name: String,
    /// What it is for.
    pub kind: ImageKind,
    /// `oci`, `rootfs`, `qcow2`, `raw`, `kernel`, `initrd`.
    pub format: String,
    /// Of its manifest, its file, or its folder.
    pub digest: Digest,
    /// Of its files, or of the disk as a guest sees it.
    pub size_bytes: u64,
    /// The lowest first; a container's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Digest>,
    /// A container's.
    #[serde(default)]
    pub program: Program,
    /// Unix ms.
    pub imported_ms: i64,
}

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Index {
    /// Of this layout: 1.
    version: u32,
    /// By name.
    pub(super) images: Vec<Image>,
}

impl Index {
    const VERSION: u32 = 1;

    /// Reads the list of a store; one without a list is empty.
    pub(super) fn read(folder: &Path) -> Result<Self, AgentError> {
        let path = file(folder);
        let doing = || format!("reading {}", path.display());
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { version: Self::VERSION, images: Vec::new() });
            }
            Err(error) => return Err(AgentError::internal(doing(), error)),
        };
        let index: Self =
            serde_json::from_slice(&text).map_err(|error| AgentError::internal(doing(), error))?;
        if index.version != Self::VERSION {
            let problem = format!("its version is {}, expected {}", index.version, Self::VERSION);
            return Err(AgentError::internal(doing(), problem));
        }
        Ok(index)
    }

    /// Replaces the list.
    pub(super) fn write(&mut self, folder: &Path) -> Result<(), AgentError> {
        self.images.sort_by(|one, other| one.name.cmp(&other.name));
        let (path, new) = (file(folder), folder.join("index.json.new"));
        let failed =
            |error: std::io::Error| AgentError::internal(format!("writing {}", path.display()), error);
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        let mut written = File::create(&new).map_err(failed)?;
        written.write_all(&text).map_err(failed)?;
        written.sync_all().map_err(failed)?;
        std::fs::rename(&new, &path).map_err(failed)?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.name == name)
    }

    /// Every digest that an image of the list is kept under.
    pub(super) fn kept(&self) -> BTreeSet<&str> {
        self.images
            .iter()
            .flat_map(|image| image.layers.iter().chain([&image.digest]))
            .map(Digest::hex)
            .collect()
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("index.json")
}

/// Names of images: they never become paths, but people read them.
pub(super) fn check_name(name: &str) -> Result<(), AgentError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let sound = name.len() <= 255
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(allowed)
        && !name.contains("..")
        && !name.contains("//");
    if sound {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    let expected = "expected a letter or digit and then up to 254 of A-Za-z0-9._-/:@, without `..` and `//`";
    Err(AgentError::invalid("image", format!("is named {shown:?}; {expected}")))
}
