//! One loaded model with its two threads. A hot swap starts a second lane and lets the first run dry.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::job::{Done, Job};
use super::queue::Queue;
use crate::policy::backend::{Backend, BackendError, Input};
use crate::policy::description::ModelDescription;
use crate::policy::model::LoadedModel;
use crate::policy::preprocess::Preprocessor;
use crate::policy::request::PredictError;
use crate::telemetry::metrics;

enum Command {
    Push(Box<Job>),
    /// The model thread is idle.
    Idle,
}

/// A model that answers.
#[derive(Debug)]
pub struct Lane {
    /// What it is.
    pub description: Arc<ModelDescription>,
    /// What requests need before the network.
    pub preprocessor: Arc<Preprocessor>,
    commands: mpsc::Sender<Command>,
    step_us: Arc<AtomicU64>,
}

impl Lane {
    /// Starts the two threads. They end when the last handle to the lane is gone and the work is done.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(model: LoadedModel, capacity: usize) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel(capacity.max(1) + 1);
        let (batches, work) = sync_channel(1);
        let step_us = Arc::new(AtomicU64::new(0));
        let max_batch = model.description.backend.max_batch;
        let idle = commands.downgrade();
        Builder::new().name("queue".into()).spawn(move || queue_thread(inbox, &batches, max_batch))?;
        let (backend, measured) = (model.backend, Arc::clone(&step_us));
        Builder::new().name("model".into()).spawn(move || model_thread(backend, &work, &idle, &measured))?;
        Ok(Self {
            description: model.description,
            preprocessor: Arc::new(model.preprocessor),
            commands,
            step_us,
        })
    }

    /// Queues a job; waits for a place in the channel, which is there unless the queue thread is busy.
    ///
    /// # Errors
    /// [`PredictError::ShuttingDown`] when the lane has ended.
    pub async fn push(&self, job: Job) -> Result<(), PredictError> {
        self.commands.send(Command::Push(Box::new(job))).await.map_err(|_| PredictError::ShuttingDown)
    }

    /// Smoothed time of one step.
    #[must_use]
    pub fn step(&self) -> Duration {
        Duration::from_micros(self.step_us.load(Ordering::Relaxed))
    }
}

fn queue_thread(mut inbox: mpsc::Receiver<Command>, batches: &SyncSender<Vec<Job>>, max_batch: usize) {
    let mut queue = Queue::default();
    let mut idle = true;
    while let Some(command) = inbox.blocking_recv() {
        let mut next = Some(command);
        while let Some(command) = next {
            match command {
                Command::Push(job) => queue.push(*job),
                Command::Idle => idle = true,
            }
            next = inbox.try_recv().ok();
        }
        if idle && queue.len() > 0 {
            let batch = queue.take(max_batch, Instant::now());
            if !batch.is_empty() {
                idle = false;
                if batches.send(batch).is_err() {
                    return;
                }
            }
        }
        metrics::set_queue_depth(queue.len());
    }
    // Every handle is gone, and with it every caller: what is left here nobody waits for.
}

fn model_thread(
    mut backend: Box<dyn Backend>,
    work: &Receiver<Vec<Job>>,
    idle: &mpsc::WeakSender<Command>,
    step_us: &AtomicU64,
) {
    loop {
        let batch = match work.recv_timeout(Duration::from_secs(3600)) {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let started = Instant::now();
        let size = batch.len();
        let (mut inputs, mut replies) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for job in batch {
            inputs.push(job.input);
            replies.push((job.reply, started.saturating_duration_since(job.enqueued)));
        }
        let answers = run(backend.as_mut(), &inputs);
        smooth(step_us, started.elapsed());
        metrics::observe_batch(size);
        for ((reply, queued), answer) in replies.into_iter().zip(answers) {
            let answer = answer.map(|inference| Done { inference, queued, batch: size });
            // A caller that went away needs no answer.
            reply.send(answer.map_err(PredictError::Backend)).ok();
        }
        let Some(idle) = idle.upgrade() else { return };
        if idle.blocking_send(Command::Idle).is_err() {
            return;
        }
    }
}

/// A panic in a kernel fails its batch and nothing else.
fn run(
    backend: &mut dyn Backend,
    inputs: &[Input],
) -> Vec<Result<crate::policy::backend::Inference, BackendError>> {
    let name = backend.info().name;
    let failed = |message: &str| BackendError::Device { backend: name, message: message.to_owned() };
    match catch_unwind(AssertUnwindSafe(|| backend.infer(inputs))) {
        Ok(answers) if answers.len() == inputs.len() => answers,
        Ok(_) => vec![Err(failed("answered another number of inputs")); inputs.len()],
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown reason");
            tracing::error!(backend = name, "the model thread caught a panic: {text}");
            vec![Err(failed(&format!("panicked: {text}"))); inputs.len()]
        }
    }
}

fn smooth(step_us: &AtomicU64, measured: Duration) {
    let measured = u64::try_from(measured.as_micros()).unwrap_or(u64::MAX);
    let before = step_us.load(Ordering::Relaxed);
    let after = if before == 0 { measured } else { before - before / 4 + measured / 4 };
    step_us.store(after, Ordering::Relaxed);
}
