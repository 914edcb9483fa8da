//! What a shim writes down: who runs, and how it ended. A file is replaced whole. How it ended is synced, folder and all; who
//! runs need not outlive the machine.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::agent::process::Process;
use crate::agent::record::Exit;

/// Who runs: `run.json` in the instance's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// The shim itself.
    pub shim: Process,
    /// The container's first process.
    pub init: Process,
    /// Unix ms.
    pub started_ms: i64,
}

/// How it ended: `exit.json` in the instance's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitFile {
    /// Of which run.
    pub init: Process,
    /// How.
    pub exit: Exit,
}

impl RunFile {
    /// Its name.
    pub const NAME: &'static str = "run.json";
}

impl ExitFile {
    /// Its name.
    pub const NAME: &'static str = "exit.json";
}

/// Writes a file so that it is there whole or not at all, whatever happens.
///
/// # Errors
/// The file system's.
pub fn write(folder: &Path, name: &str, content: &impl Serialize) -> io::Result<()> {
    place(folder, name, content, true)?;
    File::open(folder)?.sync_all()
}

/// Writes a file about what lives as long as the machine runs: nobody finds half of it, and a power cut may take it.
///
/// # Errors
/// The file system's.
pub fn note(folder: &Path, name: &str, content: &impl Serialize) -> io::Result<()> {
    place(folder, name, content, false)
}

fn place(folder: &Path, name: &str, content: &impl Serialize, synced: bool) -> io::Result<()> {
    let draft = folder.join(format!("{name}.draft"));
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec(content)?)?;
    if synced {
        file.sync_all()?;
    }
    fs::rename(&draft, folder.join(name))
}

/// Reads one; nothing when it is not there or not of this program.
pub fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Option<T> {
    serde_json::from_slice(&fs::read(folder.join(name)).ok()?).ok()
}
