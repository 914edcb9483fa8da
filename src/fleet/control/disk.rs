//! Writes a demonstration: into a folder `ID.partial`, which gets its name when it is complete. One thread a recording.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::instance::demonstration::{Line, Meta};
use crate::telemetry::fleet::demonstrated;

/// Most steps of one demonstration.
const MOST_STEPS: u32 = 100_000;
/// Most bytes of one demonstration.
const MOST_BYTES: u64 = 1 << 30;

/// One step, and a picture where a new one was there.
#[derive(Debug)]
pub(super) struct Entry {
    pub line: Line,
    pub picture: Option<Bytes>,
}

/// A demonstration on disk.
#[derive(Debug)]
pub(super) struct Finished {
    pub folder: PathBuf,
    pub meta: Meta,
    /// Why it is shorter than it should be.
    pub trouble: Option<String>,
}

type Done = oneshot::Sender<Result<Option<Finished>, FleetError>>;

/// Writes until the queue ends. `Ok(None)`: nothing came.
pub(super) fn start(parent: PathBuf, meta: Meta, queue: mpsc::Receiver<Entry>, done: Done) {
    let work = move || drop(done.send(write(&parent, meta, queue)));
    // The sender goes with the closure that was not run, so the waiting side hears of it.
    if let Err(error) = std::thread::Builder::new().name("neuro-recorder".into()).spawn(work) {
        tracing::warn!("no thread for a recording: {error}");
    }
}

struct Writer {
    folder: PathBuf,
    steps: BufWriter<File>,
    hash: Sha256,
    frame: String,
    frames: u32,
    bytes: u64,
}

fn write(
    parent: &Path,
    mut meta: Meta,
    mut queue: mpsc::Receiver<Entry>,
) -> Result<Option<Finished>, FleetError> {
    let Some(first) = queue.blocking_recv() else { return Ok(None) };
    let partial = parent.join(format!("{}.partial", meta.id));
    let mut writer = Writer::open(&partial)?;
    let mut trouble = None;
    let mut next = Some(first);
    while let Some(entry) = next {
        if meta.steps >= MOST_STEPS || writer.bytes >= MOST_BYTES {
            trouble = Some(format!("it is full after {} steps, {} bytes", meta.steps, writer.bytes));
            break;
        }
        let reward = entry.line.step.reward;
        if let Err(error) = writer.put(entry) {
            trouble = Some(error.to_string());
            break;
        }
        meta.steps += 1;
        demonstrated();
        meta.total_reward += reward;
        next = queue.blocking_recv();
    }
    // Whoever still sends hears that the recording is over.
    queue.close();
    if meta.steps == 0 {
        drop(fs::remove_dir_all(&partial));
        return Err(FleetError::Internal(trouble.unwrap_or_default()));
    }
    meta.ended_at_ms = now_ms();
    let folder = parent.join(&meta.id);
    writer.finish(&mut meta, &folder)?;
    Ok(Some(Finished { folder, meta, trouble }))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> FleetError {
    move |error| FleetError::Internal(format!("{}: {error}", path.display()))
}

impl Writer {
    fn open(folder: &Path) -> Result<Self, FleetError> {
        let frames = folder.join("frames");
        fs::create_dir_all(&frames).map_err(failed(&frames))?;
        let path = folder.join("steps.jsonl");
        let steps = BufWriter::new(File::create(&path).map_err(failed(&path))?);
        let folder = folder.to_owned();
        Ok(Self { folder, steps, hash: Sha256::new(), frame: String::new(), frames: 0, bytes: 0 })
    }

    fn put(&mut self, Entry { mut line, picture }: Entry) -> Result<(), FleetError> {
        if let Some(picture) = picture {
            self.frames += 1;
            let name = format!("frames/{:06}.jpg", self.frames);
            let path = self.folder.join(&name);
            fs::write(&path, &picture).map_err(failed(&path))?;
            self.bytes += picture.len() as u64;
            self.frame = name;
        }
        line.frame.clone_from(&self.frame);
        let mut text = serde_json::to_vec(&line).map_err(FleetError::internal)?;
        text.push(b'\n');
        self.steps.write_all(&text).map_err(failed(&self.folder.join("steps.jsonl")))?;
        self.hash.update(&text);
        self.bytes += text.len() as u64;
        Ok(())
    }

    fn finish(mut self, meta: &mut Meta, folder: &Path) -> Result<(), FleetError> {
        let steps = self.folder.join("steps.jsonl");
        self.steps.flush().and_then(|()| self.steps.get_ref().sync_all()).map_err(failed(&steps))?;
        meta.steps_sha256 = format!("{:x}", self.hash.finalize());
        let path = self.folder.join("meta.json");
        let text = serde_json::to_vec_pretty(meta).map_err(FleetError::internal)?;
        let mut file = File::create(&path).map_err(failed(&path))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed(&path))?;
        fs::rename(&self.folder, folder).map_err(failed(folder))
    }
}
