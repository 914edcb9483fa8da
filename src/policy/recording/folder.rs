//! One recording on disk while it is being written.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{IMAGES, LINES};

/// An open recording.
pub(super) struct Folder {
    path: PathBuf,
    lines: BufWriter<File>,
    pictures: HashSet<String>,
    /// Bytes written, lines and pictures.
    pub bytes: u64,
    dirty: bool,
}

impl Folder {
    /// Makes `root/name`, or `root/name-2` and so on when it is taken.
    pub fn create(root: &Path, name: &str) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let mut number = 1_u32;
        let path = loop {
            let path = if number == 1 { root.join(name) } else { root.join(format!("{name}-{number}")) };
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 10_000 => number += 1,
                Err(error) => return Err(error),
            }
        };
        fs::create_dir(path.join(IMAGES))?;
        let lines = BufWriter::new(File::create_new(path.join(LINES))?);
        Ok(Self { path, lines, pictures: HashSet::new(), bytes: 0, dirty: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one line.
    pub fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        self.lines.write_all(&text)?;
        self.bytes += text.len() as u64;
        self.dirty = true;
        Ok(())
    }

    /// Keeps a picture under its hash unless it is there already; answers with its path in the recording.
    pub fn picture(&mut self, sha256: &str, extension: &str, bytes: &[u8]) -> io::Result<String> {
        let name = format!("{IMAGES}/{sha256}.{extension}");
        if !self.pictures.contains(&name) {
            // A half-written picture must not pass for a whole one after a crash.
            let partial = self.path.join(format!("{name}.part"));
            fs::write(&partial, bytes)?;
            fs::rename(&partial, self.path.join(&name))?;
            self.bytes += bytes.len() as u64;
            self.pictures.insert(name.clone());
        }
        Ok(name)
    }

    /// Hands lines to the system, so that a reader sees them.
    pub fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }

    /// Hands lines to the disk, so that a power cut keeps them.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.lines.flush()?;
            self.lines.get_ref().sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }
}
