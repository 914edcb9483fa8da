//! Where readers of a console meet its one source. A reader has a place in the ring and no queue of its own: who is slow
//! finds bytes gone, and nobody waits for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::log::Log;
use super::pump::{Pump, Source};
use super::ready::ReadyLine;
use super::words::last_line;
use crate::agent::driver::ConsoleInput;
use crate::agent::error::AgentError;
use crate::agent::ring::Ring;
use crate::agent::settings::LimitSettings;

/// Most bytes of one [`Output::Data`].
const LONGEST_PIECE: usize = 64 << 10;
/// Where the last line is looked for.
const LAST_BYTES: u64 = 4 << 10;
/// Keys and resizes that wait for the console.
const INPUTS: usize = 64;

/// How far a console is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// Number of the byte that comes next.
    pub end: u64,
    /// The run that speaks; 0 for none.
    pub run: i64,
    /// The last run that said its ready line; 0 for none.
    pub ready: i64,
    /// The run has ended: what is left is read, and nothing is tried again.
    pub finishing: bool,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    /// Number of the run's first byte.
    began: u64,
    input: Option<mpsc::Sender<ConsoleInput>>,
    pump: Option<JoinHandle<()>>,
    /// Number of the byte after the run's last one, once that was said.
    over: Arc<OnceLock<u64>>,
}

/// The console of one instance, over all its runs.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    folder: PathBuf,
    log_bytes: u64,
}

/// A reader and writer of a console.
#[derive(Debug)]
pub struct Attached {
    /// What was said before.
    pub scrollback: Bytes,
    /// What is said from there on.
    pub output: Reader,
    /// What is typed. Full while the console does not take it.
    pub input: mpsc::Sender<ConsoleInput>,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The next bytes.
    Data(Bytes),
    /// The reader was too slow, and so many bytes are gone.
    Skipped {
        /// Bytes.
        bytes: u64,
    },
}

/// A place in a console's output.
#[derive(Debug)]
pub struct Reader {
    hub: Arc<Hub>,
    progress: watch::Receiver<Progress>,
    at: u64,
    run: i64,
    over: Arc<OnceLock<u64>>,
}

impl Hub {
    /// Of an instance whose log files lie in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf, limits: &LimitSettings) -> Self {
        let most = usize::try_from(limits.scrollback_bytes).unwrap_or(1 << 20).clamp(4 << 10, 64 << 20);
        Self {
            state: Mutex::new(State {
                ring: Ring::new(most),
                began: 0,
                input: None,
                pump: None,
                over: Arc::default(),
            }),
            progress: watch::Sender::new(Progress { end: 0, run: 0, ready: 0, finishing: false }),
            folder,
            log_bytes: limits.console_log_bytes,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to a run from where an earlier life of the agent stopped, until [`Hub::finish`].
    pub async fn open(self: &Arc<Self>, source: Source, ready_line: Option<&str>) {
        self.finish(Duration::ZERO).await;
        let (folder, run, log_bytes) = (self.folder.clone(), source.run, self.log_bytes);
        let most = self.state().ring.most();
        let opened = tokio::task::spawn_blocking(move || {
            let log = Log::open(&folder, run, log_bytes)?;
            let tail = log.tail(most)?;
            Ok::<_, std::io::Error>((log, tail))
        });
        let mut ready = ready_line.map(ReadyLine::new);
        let mut said_ready = false;
        let log = match opened.await.map_err(std::io::Error::other).and_then(|opened| opened) {
            Ok((log, (tail, own))) => {
                let of_run = tail.get(tail.len() - own..).unwrap_or_default();
                said_ready = ready.as_mut().is_some_and(|ready| ready.feed(of_run));
                let mut state = self.state();
                if state.ring.end() == 0 {
                    state.ring.push(&tail);
                }
                state.began = state.ring.end().saturating_sub(own as u64);
                Some(log)
            }
            Err(error) => {
                tracing::warn!(folder = %self.folder.display(), %error, "console goes without its log");
                let mut state = self.state();
                state.began = state.ring.end();
                None
            }
        };
        let (input, inputs) = mpsc::channel(INPUTS);
        let end = self.state().ring.end();
        self.progress.send_modify(|progress| {
            (progress.end, progress.run, progress.finishing) = (end, run, false);
            if said_ready {
                progress.ready = run;
            }
        });
        let pump = Pump::new(self.clone(), source, log, ready.filter(|_| !said_ready), inputs);
        let mut state = self.state();
        state.over = Arc::default();
        state.input = Some(input);
        state.pump = Some(tokio::spawn(pump.run()));
    }

    /// The run has ended: what it still had to say is waited for until `patience` is over, then readers reach their end.
    pub async fn finish(&self, patience: Duration) {
        let pump = {
            let mut state = self.state();
            state.input = None;
            state.pump.take()
        };
        if let Some(mut pump) = pump {
            self.progress.send_modify(|progress| progress.finishing = true);
            if tokio::time::timeout(patience, &mut pump).await.is_err() {
                pump.abort();
                pump.await.ok();
            }
        }
        {
            let state = self.state();
            state.over.get_or_init(|| state.ring.end());
        }
        self.progress.send_modify(|progress| progress.run = 0);
    }

    /// The last line that the run showed.
    #[must_use]
    pub fn last_line(&self) -> Option<String> {
        let state = self.state();
        let from = state.began.max(state.ring.end().saturating_sub(LAST_BYTES)).max(state.ring.first());
        last_line(&state.ring.copy(from, usize::MAX))
    }

    /// A new reader; `None` when nothing runs.
    #[must_use]
    pub fn attach(self: &Arc<Self>) -> Option<Attached> {
        let state = self.state();
        let progress = self.progress.subscribe();
        let run = progress.borrow().run;
        let input = state.input.clone().filter(|_| run != 0)?;
        let scrollback = state.ring.copy(state.ring.first(), usize::MAX);
        let output =
            Reader { hub: self.clone(), progress, at: state.ring.end(), run, over: state.over.clone() };
        Some(Attached { scrollback, output, input })
    }

    /// Waits until a run has said its ready line.
    pub async fn until_ready(&self, run: i64) {
        let mut progress = self.progress.subscribe();
        if progress.wait_for(|progress| progress.ready == run).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// More was said.
    pub(super) fn said(&self, data: &[u8]) {
        let end = {
            let mut state = self.state();
            state.ring.push(data);
            state.ring.end()
        };
        self.progress.send_modify(|progress| progress.end = end);
    }

    pub(super) fn is_ready(&self, run: i64) {
        self.progress.send_modify(|progress| progress.ready = run);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(pump) = self.state().pump.take() {
            pump.abort();
        }
    }
}

impl Reader {
    /// The next of the output; `None` when the run is over and everything was read. Can be dropped and called again.
    pub async fn recv(&mut self) -> Option<Output> {
        loop {
            let now = *self.progress.borrow_and_update();
            if let Some(output) = self.next() {
                return Some(output);
            }
            if now.run != self.run || self.progress.changed().await.is_err() {
                return None;
            }
        }
    }

    fn next(&mut self) -> Option<Output> {
        let state = self.hub.state();
        // What a later run says is not for this reader.
        let end = self.over.get().copied().unwrap_or_else(|| state.ring.end());
        let first = state.ring.first().min(end);
        if self.at < first {
            // Half a ring ahead of the oldest byte, so that the reader is not too late again at once.
            let to = first.max(end.saturating_sub(state.ring.most() as u64 / 2));
            let bytes = to - self.at;
            self.at = to;
            return Some(Output::Skipped { bytes });
        }
        if self.at == end {
            return None;
        }
        let left = usize::try_from(end - self.at).unwrap_or(LONGEST_PIECE);
        let data = state.ring.copy(self.at, left.min(LONGEST_PIECE));
        self.at += data.len() as u64;
        Some(Output::Data(data))
    }
}

/// What a caller hears who wants the console of something that does not run.
#[must_use]
pub fn not_running(id: impl std::fmt::Display) -> AgentError {
    AgentError::Precondition(format!("instance {id} does not run: it has no console now"))
}
