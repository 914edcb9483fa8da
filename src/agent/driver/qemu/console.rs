//! The console of a machine whose serial line is written to a file and to a socket (or, with Firecracker, to a file alone).
//!
//! The file is the truth: it has every byte since the run's start, also those that were written while no agent was there,
//! so a byte's place in it is its number. The socket only tells that there is something to read, and takes what is typed.
//! What was read and is older than the log's size is cut out of the file as a hole: numbers stay, blocks go.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::{FallocateFlags, fallocate};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::agent::driver::{Console, ConsoleInput};
use crate::agent::process::Process;

/// How often the file is looked at when nothing told to.
const LOOK: Duration = Duration::from_millis(100);
/// QEMU writes to the socket first and to the file then: so long it is looked for again.
const BEHIND: [Duration; 4] = [
    Duration::from_micros(200),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
];
const PIECE: usize = 32 << 10;

/// What is kept and what is handed out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of the file that stay.
    pub log_bytes: u64,
    /// Bytes that are handed out of what was written before.
    pub scrollback_bytes: u64,
}

/// The other end of a serial line: what wakes, what is typed into.
#[derive(Debug)]
pub struct Line<R, W> {
    /// Its bytes are dropped: they are in the file.
    pub wakes: R,
    /// Takes keys.
    pub keys: W,
}

/// Opens a console.
///
/// # Errors
/// There is no log.
pub async fn open<R, W>(
    log: &Path,
    line: Option<Line<R, W>>,
    process: Process,
    keep: Keep,
) -> std::io::Result<Console>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let mut file = File::open(log).await?;
    let length = file.metadata().await?.len();
    let first = length.saturating_sub(keep.scrollback_bytes.min(keep.log_bytes));
    file.seek(SeekFrom::Start(first)).await?;
    let (sender, output) = mpsc::channel(32);
    let (input, keys) = mpsc::channel(64);
    let follower = Follower {
        file,
        path: log.to_owned(),
        at: first,
        cut: 0,
        keep,
        process,
        output: sender,
        wake: Arc::new(Notify::new()),
    };
    tokio::spawn(follower.run(line, keys));
    Ok(Console { first, output, input })
}

struct Follower {
    file: File,
    path: PathBuf,
    at: u64,
    cut: u64,
    keep: Keep,
    process: Process,
    output: mpsc::Sender<Bytes>,
    wake: Arc<Notify>,
}

impl Follower {
    async fn run<R, W>(mut self, line: Option<Line<R, W>>, keys: mpsc::Receiver<ConsoleInput>)
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        // They end with this one, and the socket is free for the next.
        let mut helpers = JoinSet::new();
        match line {
            Some(Line { wakes, keys: sink }) => {
                helpers.spawn(drain(wakes, Arc::clone(&self.wake)));
                helpers.spawn(type_into(keys, sink));
            }
            None => drop(keys),
        }
        loop {
            // Looked at before the file is: what it wrote before its end is read after it.
            let ended = !self.process.runs();
            if !self.pass_on().await || ended {
                return;
            }
            self.cut_out();
            let woken = tokio::select! {
                woken = timeout(LOOK, self.wake.notified()) => woken.is_ok(),
                () = self.output.closed() => return,
            };
            if woken {
                for pause in BEHIND {
                    if self.has_more().await {
                        break;
                    }
                    sleep(pause).await;
                }
            }
        }
    }

    async fn has_more(&self) -> bool {
        self.file.metadata().await.is_ok_and(|data| data.len() > self.at)
    }

    /// Hands out what there is; `false` when nobody takes it.
    async fn pass_on(&mut self) -> bool {
        loop {
            let mut piece = vec![0; PIECE];
            match self.file.read(&mut piece).await {
                Ok(count) if count > 0 => {
                    piece.truncate(count);
                    self.at = self.at.saturating_add(count as u64);
                    if self.output.send(piece.into()).await.is_err() {
                        return false;
                    }
                }
                _ => return true,
            }
        }
    }

    /// Frees what is older than the log's size. A file system that cannot make holes keeps it.
    fn cut_out(&mut self) {
        let end = self.at.saturating_sub(self.keep.log_bytes);
        if end.saturating_sub(self.cut) < self.keep.log_bytes / 8 + 1 {
            return;
        }
        if let Ok(file) = std::fs::OpenOptions::new().write(true).open(&self.path) {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if let Err(error) = fallocate(&file, hole, 0, end) {
                tracing::debug!(log = %self.path.display(), %error, "old console output stays on the disk");
            }
        }
        self.cut = end;
    }
}

/// Reads and drops, so that the guest never waits for the agent.
async fn drain<R: AsyncRead + Unpin>(mut wakes: R, wake: Arc<Notify>) {
    let mut bytes = vec![0; PIECE];
    while let Ok(count) = wakes.read(&mut bytes).await {
        wake.notify_one();
        if count == 0 {
            return;
        }
    }
}

/// A serial line has no size: that of a terminal goes nowhere.
async fn type_into<W: AsyncWrite + Unpin>(mut keys: mpsc::Receiver<ConsoleInput>, mut sink: W) {
    while let Some(input) = keys.recv().await {
        if let ConsoleInput::Data(bytes) = input
            && (sink.write_all(&bytes).await.is_err() || sink.flush().await.is_err())
        {
            return;
        }
    }
}
