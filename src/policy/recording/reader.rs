//! Reading a recording back.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Component, Path, PathBuf};

use super::entry::{Entry, Header, PictureRef};
use super::{LINES, VERSION};
use crate::policy::request::Picture;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// There is none.
    #[error("{}: no recording here (no {LINES} in it or in its folders)", .0.display())]
    None(PathBuf),
    /// A file cannot be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: {reason}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// One recording, read.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Its folder.
    pub path: PathBuf,
    /// Its first line.
    pub header: Header,
    /// The requests, in the order they were answered.
    pub entries: Vec<Entry>,
    /// Whether the last line is cut off, as a crash leaves it; it is not among the entries.
    pub torn: bool,
}

/// The recordings at `path`: itself, or those in it by name, which is by time.
///
/// # Errors
/// When there is none.
pub fn find(path: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    if path.join(LINES).is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let io = |source| RecordingError::Io { path: path.to_owned(), source };
    let entries = std::fs::read_dir(path).map_err(io)?;
    let mut found: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join(LINES).is_file()).collect();
    found.sort();
    if found.is_empty() { Err(RecordingError::None(path.to_owned())) } else { Ok(found) }
}

impl Recording {
    /// Reads header and requests; pictures stay on the disk.
    ///
    /// # Errors
    /// When a file cannot be read, the format is a later one, or a line other than a torn last one is broken.
    pub fn read(path: &Path) -> Result<Self, RecordingError> {
        let file = path.join(LINES);
        let io = |source| RecordingError::Io { path: file.clone(), source };
        let broken = |line: usize, reason: String| RecordingError::Line { path: file.clone(), line, reason };
        let mut reader = BufReader::new(File::open(&file).map_err(io)?);

        let mut text = String::new();
        reader.read_line(&mut text).map_err(io)?;
        let header: Header = serde_json::from_str(&text)
            .map_err(|error| broken(1, format!("not a recording's header: {error}")))?;
        if header.neuro_recording != VERSION {
            let reason = format!("version {} of the format, expected {VERSION}", header.neuro_recording);
            return Err(broken(1, reason));
        }
        let (mut entries, mut torn, mut line) = (Vec::new(), false, 1);
        loop {
            text.clear();
            line += 1;
            if reader.read_line(&mut text).map_err(io)? == 0 {
                break;
            }
            match serde_json::from_str(&text) {
                Ok(entry) => entries.push(entry),
                Err(_) if !text.ends_with('\n') => torn = true,
                Err(error) => return Err(broken(line, error.to_string())),
            }
        }
        Ok(Self { path: path.to_owned(), header, entries, torn })
    }
}

/// The bytes of a recorded picture; `None` when only its hash, or nothing, was kept.
///
/// # Errors
/// When its file is gone, or its name leads out of the recording.
pub fn picture(recording: &Path, picture: &PictureRef) -> Result<Option<Picture>, RecordingError> {
    let Some(file) = &picture.file else {
        return Ok(None);
    };
    let path = recording.join(file);
    let inside = Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        let source = std::io::Error::other("leads out of the recording");
        return Err(RecordingError::Io { path, source });
    }
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(Picture::Encoded(bytes.into()))),
        Err(source) => Err(RecordingError::Io { path, source }),
    }
}
