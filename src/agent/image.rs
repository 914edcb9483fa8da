//! What instances are made of, by name: the store's face towards drivers.

mod archive;
mod detect;
mod digest;
mod file;
mod index;
mod layer;
mod oci;
mod source;
pub mod store;
#[cfg(test)]
mod store_tests;
mod used;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

use futures_util::future::BoxFuture;

use super::error::AgentError;
pub use detect::detect;
pub use digest::Digest;
pub use index::{Image, ImageKind, Program};
pub use used::used;

/// A container's image, unpacked and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootImage {
    /// Its name in the store.
    pub name: String,
    /// `sha256:...` of its manifest, or of the folder it was made from.
    pub digest: String,
    /// Folders of its layers, the uppermost first, as overlayfs wants them.
    pub layers: Vec<PathBuf>,
    /// What it runs unless the spec says otherwise.
    pub entrypoint: Vec<String>,
    /// Arguments unless the spec says otherwise.
    pub cmd: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Where it starts; empty is `/`.
    pub working_dir: String,
    /// `UID[:GID]` or names of its own /etc/passwd; empty is root.
    pub user: String,
    /// The signal that asks it to end; empty is SIGTERM.
    pub stop_signal: String,
}

/// A disk, kernel or initrd: one file, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileImage {
    /// Its name in the store.
    pub name: String,
    /// `sha256:...` of the file.
    pub digest: String,
    /// Read-only, in the store.
    pub path: PathBuf,
    /// `qcow2`, `raw`, `kernel`, `initrd`.
    pub format: String,
    /// As a guest sees it; bytes.
    pub size_bytes: u64,
}

/// Where instances get their parts from.
pub trait Images: Send + Sync + Debug {
    /// A container's image.
    ///
    /// # Errors
    /// `NotFound` for an unknown name, `Precondition` for an image of another sort.
    fn root<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RootImage, AgentError>>;

    /// A file for a `role`: `disk`, `kernel` or `initrd`.
    ///
    /// # Errors
    /// As [`Images::root`].
    fn file<'a>(&'a self, name: &'a str, role: &'a str) -> BoxFuture<'a, Result<FileImage, AgentError>>;
}
