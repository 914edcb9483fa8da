//! Recording without ever holding a request up: what was asked and answered goes into a bounded channel, a named
//! thread writes it. When the thread cannot keep up, or the disk is full, requests are left out and counted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use super::entry::Redaction;
use super::writer::{Observed, Writer, Written};
use crate::policy::description::ModelDescription;
use crate::policy::request::{Picture, PredictError, PredictRequest, Prediction};
use crate::telemetry::metrics;

/// Requests waiting to be written at most.
const WAITING: usize = 256;
/// Bytes of pictures waiting to be written at most.
const WAITING_BYTES: usize = 64 << 20;
/// How often lines reach the disk for good.
const SYNC: Duration = Duration::from_secs(5);
/// Complaints of one kind are logged this often at most.
const COMPLAIN: Duration = Duration::from_secs(10);

/// What to record, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordOptions {
    /// Recordings are folders in here.
    pub dir: PathBuf,
    /// What is kept of pictures.
    pub images: Redaction,
    /// What is kept of instructions and robot ids.
    pub text: Redaction,
    /// A new recording begins at this size, in bytes.
    pub rotate_bytes: u64,
    /// All recordings of this run together, in bytes.
    pub limit_bytes: u64,
}

enum Message {
    Observed(Box<Observed>, usize),
    Finish(SyncSender<()>),
}

/// The way into the recording; cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    sender: SyncSender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Recorder {
    /// Starts the thread. Nothing is written before the first request.
    ///
    /// # Errors
    /// When the folder cannot be made or written to, or the thread cannot start.
    pub fn start(options: RecordOptions) -> std::io::Result<Self> {
        std::fs::create_dir_all(&options.dir)?;
        let (sender, receiver) = sync_channel(WAITING);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let thread = Thread {
            writer: Writer::new(options),
            waiting_bytes: Arc::clone(&waiting_bytes),
            synced: Instant::now(),
            complained: None,
        };
        std::thread::Builder::new().name("neuro-recorder".to_owned()).spawn(move || thread.run(&receiver))?;
        Ok(Self { sender, waiting_bytes })
    }

    /// Records one request. Returns at once; a request that does not fit is counted and left out.
    pub fn record(
        &self,
        request: PredictRequest,
        answer: Result<Prediction, PredictError>,
        model: Option<Arc<ModelDescription>>,
    ) {
        let bytes = picture_bytes(&request.image) + request.tactile.as_ref().map_or(0, picture_bytes);
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let observed = Box::new(Observed { request, answer, model, time: SystemTime::now() });
        let fits = before == 0 || before.saturating_add(bytes) <= WAITING_BYTES;
        if !fits || self.sender.try_send(Message::Observed(observed, bytes)).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            metrics::record_dropped("queue_full");
        }
    }

    /// Writes what is waiting and puts it on the disk for good; gives up after `grace`.
    /// Blocks: not for the async threads.
    pub fn finish(&self, grace: Duration) -> bool {
        let (done, finished) = sync_channel(1);
        let deadline = Instant::now() + grace;
        let mut message = Message::Finish(done);
        loop {
            match self.sender.try_send(message) {
                Ok(()) => break,
                Err(std::sync::mpsc::TrySendError::Full(back)) if Instant::now() < deadline => {
                    message = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(_) => return false,
            }
        }
        finished.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

fn picture_bytes(picture: &Picture) -> usize {
    match picture {
        Picture::Encoded(bytes) => bytes.len(),
        Picture::Pixels(pixels) => pixels.data().len(),
    }
}

struct Thread {
    writer: Writer,
    waiting_bytes: Arc<AtomicUsize>,
    synced: Instant,
    complained: Option<Instant>,
}

impl Thread {
    fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            match receiver.recv_timeout(SYNC) {
                Ok(Message::Observed(observed, bytes)) => {
                    self.write(&observed);
                    drop(observed);
                    self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    if self.waiting_bytes.load(Ordering::Relaxed) == 0 {
                        let flushed = self.writer.flush();
                        self.check(flushed);
                    }
                    if self.synced.elapsed() >= SYNC {
                        self.sync();
                    }
                }
                Ok(Message::Finish(done)) => {
                    self.sync();
                    done.try_send(()).ok();
                }
                Err(RecvTimeoutError::Timeout) => self.sync(),
                Err(RecvTimeoutError::Disconnected) => break self.sync(),
            }
        }
    }

    fn write(&mut self, observed: &Observed) {
        match self.writer.write(observed) {
            Ok(Written::Line) => metrics::recorded(),
            Ok(Written::OverLimit) => {
                metrics::record_dropped("limit");
                self.complain(
                    "the recordings have reached their size limit: requests are no longer recorded",
                );
            }
            Err(error) => {
                metrics::record_dropped("write_failed");
                self.complain(&format!("a request could not be recorded: {error}"));
            }
        }
    }

    fn sync(&mut self) {
        let synced = self.writer.sync();
        self.check(synced);
        self.synced = Instant::now();
    }

    fn check(&mut self, result: std::io::Result<()>) {
        if let Err(error) = result {
            self.complain(&format!("the recording could not be written: {error}"));
        }
    }

    fn complain(&mut self, message: &str) {
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAIN) {
            tracing::error!("{message}");
            self.complained = Some(Instant::now());
        }
    }
}
