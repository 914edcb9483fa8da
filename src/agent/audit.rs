//! Who changed what, when, and with what outcome: a line of JSON each, on the disk before the caller hears of it. Lines that
//! come together are synced together.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::error::AgentError;

/// Bytes after which the file is put aside as `audit.jsonl.1`, and that one forgotten.
const LONGEST_BYTES: u64 = 16 << 20;
/// Lines that wait.
const WAITING: usize = 256;

/// A change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Unix ms at which it was over.
    pub at_ms: i64,
    /// Who asked, as the edge knows it.
    pub who: String,
    /// `create`, `start`, `stop`, `restart`, `delete`, `drain`, ...
    pub what: String,
    /// Whom it was done to; empty for the node.
    pub instance: String,
    /// How it was asked for: `force`, `timeout 5 s`; empty when there is nothing to say.
    pub detail: String,
    /// `ok`, or why not.
    pub outcome: String,
    /// From the request to the outcome.
    pub took_ms: u64,
}

impl Entry {
    /// A change that is over now.
    #[must_use]
    pub fn new<T>(who: &str, what: &str, instance: &str, outcome: &Result<T, AgentError>) -> Self {
        Self {
            at_ms: now_ms(),
            who: who.to_owned(),
            what: what.to_owned(),
            instance: instance.chars().take(80).collect(),
            detail: String::new(),
            outcome: outcome.as_ref().map_or_else(ToString::to_string, |_| "ok".to_owned()),
            took_ms: 0,
        }
    }
}

/// Unix ms.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The file, and the thread that has it.
#[derive(Debug, Clone)]
pub struct Audit {
    lines: mpsc::Sender<(String, oneshot::Sender<()>)>,
}

impl Audit {
    /// Appends to `path`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: PathBuf) -> Result<Self, AgentError> {
        Self::with_limit(path, LONGEST_BYTES)
    }

    fn with_limit(path: PathBuf, longest_bytes: u64) -> Result<Self, AgentError> {
        let fault = |error: io::Error| AgentError::internal(path.display(), error);
        let mut book = Book::open(&path, longest_bytes).map_err(fault)?;
        let (lines, mut waiting) = mpsc::channel::<(String, oneshot::Sender<()>)>(WAITING);
        let work = move || {
            while let Some(first) = waiting.blocking_recv() {
                let mut batch = vec![first];
                while batch.len() < WAITING
                    && let Ok(next) = waiting.try_recv()
                {
                    batch.push(next);
                }
                if let Err(error) = book.append(batch.iter().map(|(line, _)| line.as_str())) {
                    error!(path = %book.path.display(), %error, "audit lines were lost");
                }
                for (_, written) in batch {
                    written.send(()).ok();
                }
            }
        };
        let thread = std::thread::Builder::new().name("agent-audit".to_owned()).spawn(work);
        thread.map_err(|error| AgentError::internal("audit thread", error))?;
        Ok(Self { lines })
    }

    /// Writes a line, and is done when it is on the disk.
    pub async fn write(&self, entry: &Entry) {
        let Ok(mut line) = serde_json::to_string(entry) else { return };
        line.push('\n');
        let (written, done) = oneshot::channel();
        if self.lines.send((line, written)).await.is_ok() {
            done.await.ok();
        }
    }
}

struct Book {
    path: PathBuf,
    file: File,
    bytes: u64,
    longest_bytes: u64,
    /// The file may end within a line.
    torn: bool,
}

impl Book {
    fn open(path: &Path, longest_bytes: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        // A power cut may have left half a line.
        let mut last = [b'\n'];
        if bytes > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok(Self { path: path.to_owned(), file, bytes, longest_bytes, torn: last != [b'\n'] })
    }

    fn append<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> io::Result<()> {
        if self.bytes >= self.longest_bytes {
            fs::rename(&self.path, self.path.with_extension("jsonl.1"))?;
            *self = Self::open(&self.path, self.longest_bytes)?;
        }
        let mut text: String = lines.collect();
        if self.torn {
            text.insert(0, '\n');
        }
        self.torn = true;
        self.file.write_all(text.as_bytes())?;
        self.torn = false;
        self.bytes += text.len() as u64;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_line_is_whole_and_an_old_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::with_limit(path.clone(), 600).unwrap();
        for (number, outcome) in
            [Ok(()), Err(AgentError::not_found("instance", "i"))].iter().cycle().take(8).enumerate()
        {
            audit.write(&Entry::new("me", "start", &format!("i-{number}"), outcome)).await;
        }
        let read = |path: &Path| -> Vec<Entry> {
            let text = fs::read_to_string(path).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let mut entries = read(&folder.path().join("audit.jsonl.1"));
        entries.extend(read(&path));
        let names: Vec<&str> = entries.iter().map(|entry| entry.instance.as_str()).collect();
        assert_eq!(names, ["i-0", "i-1", "i-2", "i-3", "i-4", "i-5", "i-6", "i-7"]);
        assert_eq!(entries[0].outcome, "ok");
        assert_eq!(entries[1].outcome, "no instance \"i\"");
    }

    #[tokio::test]
    async fn half_a_line_of_an_earlier_life_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(&path, "{\"at_ms\":1,\"who").unwrap();
        for number in 0..2 {
            let audit = Audit::open(path.clone()).unwrap();
            audit.write(&Entry::new("me", "start", &format!("i-{number}"), &Ok(()))).await;
        }
        let text = fs::read_to_string(&path).unwrap();
        let sound: Vec<Entry> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!((text.lines().count(), sound.len(), sound[1].instance.as_str()), (3, 2, "i-1"), "{text}");
    }
}
