//! The handle every edge holds: one typed request in, one typed answer out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, Semaphore, oneshot};

use super::backend::CancelFlag;
use super::cache::{ActionCache, PictureKey, Remembered};
use super::description::ModelDescription;
use super::image::DecodeLimits;
use super::model::{LoadOptions, LoadedModel, ModelError};
use super::preprocess::{Prepared, check_request};
use super::recording::Recorder;
use super::request::{PredictError, PredictRequest, Prediction, Timings};
use super::scheduler::{Job, Lane};
use crate::telemetry::metrics::{self, ModelLabels, Stage};

/// How a service is run.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Requests in the house at once (decoding, waiting or computing); more are refused as overloaded.
    pub max_waiting: usize,
    /// Pictures decoded at once.
    pub decode_workers: usize,
    /// Deadline of requests that bring none.
    pub default_deadline: Option<Duration>,
    /// Pictures whose action is remembered, for models that look at the picture alone; 0 is off.
    pub cache_entries: usize,
    /// Limits of pictures.
    pub limits: DecodeLimits,
    /// Where requests and answers are recorded, if at all.
    pub recorder: Option<Recorder>,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        Self {
            max_waiting: 64,
            decode_workers: cores,
            default_deadline: None,
            cache_entries: 1024,
            limits: DecodeLimits::default(),
            recorder: None,
        }
    }
}

/// Whether requests can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceState {
    /// The first model is on its way.
    Loading,
    /// A warm model answers.
    Ready,
    /// The first model could not be loaded; the reason in one line.
    Failed(String),
    /// What was taken is finished, nothing new is taken.
    Draining,
}

/// A running policy service. Cheap to clone; all clones are the same service.
#[derive(Debug, Clone)]
pub struct PolicyService(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: ServiceOptions,
    serving: ArcSwapOption<Serving>,
    failure: ArcSwapOption<String>,
    draining: AtomicBool,
    places: Arc<Semaphore>,
    decoders: Arc<Semaphore>,
    loading: Mutex<()>,
}

#[derive(Debug)]
struct Serving {
    lane: Lane,
    cache: ActionCache,
}

/// Tells the worker, the queue and the network that the caller is gone.
struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl PolicyService {
    /// A service without a model yet.
    #[must_use]
    pub fn start(options: ServiceOptions) -> Self {
        Self(Arc::new(Inner {
            serving: ArcSwapOption::empty(),
            failure: ArcSwapOption::empty(),
            draining: AtomicBool::new(false),
            places: Arc::new(Semaphore::new(options.max_waiting.max(1))),
            decoders: Arc::new(Semaphore::new(options.decode_workers.max(1))),
            loading: Mutex::new(()),
            options,
        }))
    }

    /// Loads a model, warms it up, runs its golden cases, and only then lets it answer. A model that serves
    /// already goes on until that moment, and finishes what it took.
    ///
    /// # Errors
    /// [`ModelError`]; whatever served before goes on serving.
    pub async fn load(&self, mut options: LoadOptions) -> Result<Arc<ModelDescription>, ModelError> {
        let _one_at_a_time = self.0.loading.lock().await;
        options.limits = self.0.options.limits;
        let loaded = tokio::task::spawn_blocking(move || LoadedModel::load(&options)).await;
        let loaded =
            loaded.map_err(|error| ModelError::Interrupted(error.to_string())).and_then(|model| model);
        let started = loaded.and_then(|model| {
            Lane::start(model, self.0.options.max_waiting)
                .map_err(|error| ModelError::Interrupted(format!("no thread for the model: {error}")))
        });
        match started {
            Ok(lane) => {
                let description = Arc::clone(&lane.description);
                let cache = ActionCache::new(self.0.options.cache_entries);
                let before = self.0.serving.swap(Some(Arc::new(Serving { lane, cache })));
                self.0.failure.store(None);
                if let Some(before) = before {
                    metrics::set_model_info(&labels(&before.lane.description), false);
                }
                metrics::set_model_info(&labels(&description), true);
                metrics::model_load("ok");
                Ok(description)
            }
            Err(error) => {
                self.0.failure.store(Some(Arc::new(error.to_string())));
                metrics::model_load("refused");
                Err(error)
            }
        }
    }

    /// The model that answers now.
    #[must_use]
    pub fn model(&self) -> Option<Arc<ModelDescription>> {
        self.0.serving.load().as_ref().map(|serving| Arc::clone(&serving.lane.description))
    }

    /// Whether requests can be answered.
    #[must_use]
    pub fn state(&self) -> ServiceState {
        if self.0.draining.load(Ordering::Relaxed) {
            ServiceState::Draining
        } else if self.0.serving.load().is_some() {
            ServiceState::Ready
        } else if let Some(reason) = self.0.failure.load().as_ref() {
            ServiceState::Failed(reason.to_string())
        } else {
            ServiceState::Loading
        }
    }

    /// Requests in the house.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.options.max_waiting.max(1).saturating_sub(self.0.places.available_permits())
    }

    /// Limits of pictures.
    #[must_use]
    pub fn limits(&self) -> DecodeLimits {
        self.0.options.limits
    }

    /// Takes nothing new and waits until what was taken is answered, at most `grace`. Returns the number of
    /// requests left unanswered.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.0.draining.store(true, Ordering::Relaxed);
        let all = u32::try_from(self.0.options.max_waiting.max(1)).unwrap_or(u32::MAX);
        let empty = tokio::time::timeout(grace, self.0.places.acquire_many(all)).await;
        if empty.is_ok() { 0 } else { self.waiting() }
    }

    /// Answers one request. Dropping the future cancels the work.
    ///
    /// # Errors
    /// [`PredictError`], see there.
    #[tracing::instrument(name = "predict", skip_all, fields(wire = request.wire, outcome = tracing::field::Empty))]
    pub async fn predict(&self, mut request: PredictRequest) -> Result<Prediction, PredictError> {
        let start = Instant::now();
        let (wire, default) = (request.wire, self.0.options.default_deadline);
        request.deadline = request.deadline.or_else(|| default.map(|wait| start + wait));
        let recording = self.0.options.recorder.as_ref().map(|recorder| (recorder, request.clone()));
        let answer = match request.deadline {
            None => self.answer(request, start).await,
            Some(deadline) => {
                let late = PredictError::DeadlineExceeded { waited_ms: 0 };
                match tokio::time::timeout_at(deadline.into(), self.answer(request, start)).await {
                    Ok(answer) => answer,
                    Err(_) => Err(late),
                }
                .map_err(|error| with_waited(error, start))
            }
        };
        let outcome = answer.as_ref().map_or_else(PredictError::code, |_| "ok");
        metrics::observe_request(wire, outcome, start.elapsed());
        tracing::Span::current().record("outcome", outcome);
        if let Some((recorder, request)) = recording {
            recorder.record(request, answer.clone(), self.model());
        }
        answer
    }

    async fn answer(&self, request: PredictRequest, start: Instant) -> Result<Prediction, PredictError> {
        check_request(&request)?;
        if self.0.draining.load(Ordering::Relaxed) {
            return Err(PredictError::ShuttingDown);
        }
        let serving = self.0.serving.load_full().ok_or(PredictError::Loading)?;
        let _place =
            Arc::clone(&self.0.places).try_acquire_owned().map_err(|_| self.overloaded(&serving.lane))?;
        if request.deadline.is_some_and(|deadline| deadline <= start) {
            return Err(PredictError::DeadlineExceeded { waited_ms: 0 });
        }

        let image_only = serving.lane.preprocessor.influence().image_only();
        let key = (image_only && serving.cache.is_on()).then(|| PictureKey::of(&request.image));
        if let Some(key) = key
            && request.tactile.is_none()
            && let Some(remembered) = serving.cache.get(&key)
        {
            metrics::cache_hit();
            return Ok(from_cache(&serving.lane, &request, remembered, start));
        }
        if key.is_some() {
            metrics::cache_miss();
        }

        let cancel = CancelFlag::default();
        let _guard = CancelOnDrop(cancel.clone());
        let used_dummy_tactile = request.tactile.is_none() || request.force_black_tactile;
        let (robot_id, deadline) = (request.robot_id.clone(), request.deadline);
        let Prepared { input, instruction, image_size, warnings, decode, resize } =
            self.prepare(&serving, request, cancel).await?;

        let (reply, answer) = oneshot::channel();
        let job = Job { input, robot_id, deadline, enqueued: Instant::now(), reply };
        serving.lane.push(job).await?;
        let done = answer.await.map_err(|_| PredictError::ShuttingDown)??;

        let model = Arc::clone(&serving.lane.description);
        let action = model.stats.denormalise(&done.inference.action_norm);
        if let Some(key) = key {
            serving.cache.put(key, Remembered { action, image_size });
        }
        let stages = done.inference.stages;
        let timings = Timings {
            decode,
            resize,
            queue: done.queued,
            tactile: stages.tactile,
            vision: stages.vision,
            decoder: stages.decoder,
            total: start.elapsed(),
        };
        observe(&timings);
        Ok(Prediction {
            action,
            instruction,
            image_size,
            used_dummy_tactile,
            model,
            timings,
            warnings,
            cached: false,
        })
    }

    async fn prepare(
        &self,
        serving: &Serving,
        request: PredictRequest,
        cancel: CancelFlag,
    ) -> Result<Prepared, PredictError> {
        let worker = Arc::clone(&self.0.decoders).acquire_owned().await;
        let worker = worker.map_err(|_| PredictError::ShuttingDown)?;
        let preprocessor = Arc::clone(&serving.lane.preprocessor);
        let prepared = tokio::task::spawn_blocking(move || {
            let _worker = worker;
            preprocessor.prepare(&request, cancel)
        });
        match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => Err(PredictError::Backend(super::backend::BackendError::Device {
                backend: "decode",
                message: error.to_string(),
            })),
        }
    }

    fn overloaded(&self, lane: &Lane) -> PredictError {
        let waiting = self.waiting();
        let batch = u32::try_from(lane.description.backend.max_batch.max(1)).unwrap_or(1);
        let line = lane.step().saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX)) / batch;
        let retry_after = line.clamp(Duration::from_millis(50), Duration::from_secs(60));
        PredictError::Overloaded { waiting, retry_after }
    }
}

fn with_waited(error: PredictError, start: Instant) -> PredictError {
    match error {
        PredictError::DeadlineExceeded { .. } => {
            let waited_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            PredictError::DeadlineExceeded { waited_ms }
        }
        other => other,
    }
}

fn from_cache(lane: &Lane, request: &PredictRequest, remembered: Remembered, start: Instant) -> Prediction {
    let timings = Timings { total: start.elapsed(), ..Timings::default() };
    metrics::observe_stage(Stage::Total, timings.total);
    Prediction {
        action: remembered.action,
        instruction: lane.preprocessor.instruction(request).to_owned(),
        image_size: remembered.image_size,
        used_dummy_tactile: true,
        model: Arc::clone(&lane.description),
        timings,
        warnings: lane.preprocessor.warnings(request),
        cached: true,
    }
}

fn observe(timings: &Timings) {
    for (stage, time) in [
        (Stage::Decode, timings.decode),
        (Stage::Resize, timings.resize),
        (Stage::Queue, timings.queue),
        (Stage::Tactile, timings.tactile),
        (Stage::Vision, timings.vision),
        (Stage::Decoder, timings.decoder),
        (Stage::Total, timings.total),
    ] {
        metrics::observe_stage(stage, time);
    }
}

fn labels(model: &ModelDescription) -> ModelLabels {
    ModelLabels {
        model: model.id.clone(),
        weights: model.weights.clone(),
        stats: model.stats.id.clone(),
        backend: model.backend.name.to_owned(),
        device: model.backend.device.clone(),
        dtype: model.backend.dtype.name().to_owned(),
    }
}
