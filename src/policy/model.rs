//! A model folder, loaded: config, statistics, tokenizer and a warm network that passed its golden cases.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::backend::{Backend, BackendError, DeviceKind, Dtype};
use super::candle::{CandleBackend, Scope};
use super::config::{ConfigError, ModelConfig};
use super::cpu::{CpuBackend, CpuOptions};
use super::description::ModelDescription;
use super::golden::{self, GoldenError, GoldenReport};
use super::image::DecodeLimits;
use super::preprocess::Preprocessor;
use super::stats::{ActionStats, StatsError};
use super::tensors::expected_tensors;
use super::tokenizer::{Tokenizer, TokenizerError};
use super::weights::{Stored, Weights, WeightsError};
use super::zero::ZeroBackend;

/// Where packed weights are kept, inside the model folder.
const PACKED_FOLDER: &str = ".neuro";

/// Why a model folder was refused. One line each.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ModelError {
    /// The folder is not there.
    #[error("{0}: not a model folder: {1}")]
    Folder(PathBuf, String),
    /// `config.json`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `action_stats.json`.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// `tokenizer.json`.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The weight files.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The network could not be built or run.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The folder's golden cases.
    #[error(transparent)]
    Golden(#[from] GoldenError),
    /// The loading thread died.
    #[error("loading stopped unexpectedly: {0}")]
    Interrupted(String),
}

/// Where to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// CUDA when it is built in and present, else the processor.
    #[default]
    Auto,
    /// This one.
    On(DeviceKind),
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("device `{text}` is none of auto, cpu, cuda, cuda:N");
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::On(DeviceKind::Cpu)),
            "cuda" => Ok(Self::On(DeviceKind::Cuda(0))),
            _ => {
                let ordinal = text.strip_prefix("cuda:").ok_or_else(error)?;
                Ok(Self::On(DeviceKind::Cuda(ordinal.parse().map_err(|_| error())?)))
            }
        }
    }
}

/// Which implementation does the arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// `cpu` on the processor, `candle` on CUDA.
    #[default]
    Auto,
    /// Packed kernels on the processor.
    Cpu,
    /// The reference.
    Candle,
    /// Computes nothing and answers the mean action: measures the server. Golden cases are not run.
    Zero,
}

impl std::str::FromStr for BackendChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "candle" => Ok(Self::Candle),
            "zero" => Ok(Self::Zero),
            _ => Err(format!("backend `{text}` is none of auto, cpu, candle, zero")),
        }
    }
}

/// Which statistics turn z-scores into metres.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StatsChoice {
    /// The folder's `action_stats.json`; without one the model does not load.
    #[default]
    Folder,
    /// Mean 0, std 1, because somebody asked for it by name.
    Identity,
    /// Another file.
    File(PathBuf),
}

impl std::str::FromStr for StatsChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "" | "folder" => Self::Folder,
            "identity" => Self::Identity,
            path => Self::File(path.into()),
        })
    }
}

/// What to load and how.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The model folder.
    pub dir: PathBuf,
    /// Where to run.
    pub device: DeviceChoice,
    /// Number format; `None` keeps the one the weights are stored in, as far as the device computes in it.
    pub dtype: Option<Dtype>,
    /// Which implementation.
    pub backend: BackendChoice,
    /// Threads of the `cpu` backend; `None` takes every core this process may use.
    pub threads: Option<usize>,
    /// Which statistics.
    pub stats: StatsChoice,
    /// Requests answered together at most; `None` leaves it to the backend.
    pub max_batch: Option<usize>,
    /// Limits for the golden pictures and for requests.
    pub limits: DecodeLimits,
    /// Whether packed weights are kept beside the model for the next start.
    pub keep_packed: bool,
}

impl LoadOptions {
    /// The defaults for one folder.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), keep_packed: true, ..Self::default() }
    }
}

/// A model ready to answer.
pub struct LoadedModel {
    /// What it is.
    pub description: Arc<ModelDescription>,
    /// What requests need before the network.
    pub preprocessor: Preprocessor,
    /// The network.
    pub backend: Box<dyn Backend>,
    /// How the golden cases came out.
    pub golden: GoldenReport,
}

impl LoadedModel {
    /// Opens, builds, warms up and checks a model folder. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`ModelError`]: one line that names the file, tensor, key or case.
    pub fn load(options: &LoadOptions) -> Result<Self, ModelError> {
        let start = Instant::now();
        let dir = &options.dir;
        if !dir.is_dir() {
            return Err(ModelError::Folder(dir.clone(), "no such directory".to_owned()));
        }
        let config = Arc::new(ModelConfig::load(dir)?);
        let stats = match &options.stats {
            StatsChoice::Folder => ActionStats::load(dir)?,
            StatsChoice::Identity => ActionStats::identity(),
            StatsChoice::File(path) => ActionStats::load_file(path)?,
        };
        let tokenizer = Tokenizer::load(dir, &config)?;
        let weights = Weights::open(dir)?;
        weights.check(&expected_tensors(&config))?;
        let fingerprint = weights.fingerprint().to_owned();
        let parameters = weights.parameters();

        let device = resolve_device(options.device);
        let dtype = match options.dtype {
            Some(dtype) => dtype,
            None => auto_dtype(&weights, device)?,
        };
        let preprocessor = Preprocessor::new(Arc::clone(&config), tokenizer, options.limits);
        let mut backend = build_backend(options, &config, weights, device, dtype)?;
        let golden = if options.backend == BackendChoice::Zero {
            GoldenReport::default()
        } else {
            golden::run(dir, &preprocessor, &stats, backend.as_mut())?
        };
        golden.accept(dtype)?;
        if golden.cases == 0 {
            golden::warm_up(&config, backend.as_mut())?;
        }

        let mut info = backend.info().clone();
        info.max_batch =
            options.max_batch.map_or(info.max_batch, |most| most.clamp(1, info.max_batch.max(1)));
        let description = Arc::new(ModelDescription {
            id: folder_name(dir),
            path: dir.display().to_string(),
            weights: fingerprint,
            influence: preprocessor.influence(),
            sequence: config.sequence.clone(),
            readout: config.readout,
            image_size: config.vision.image_size,
            tactile_size: config.tactile.image_size,
            default_instruction: config.default_instruction.clone(),
            stats,
            backend: info,
            parameters,
            golden_cases: golden.cases,
            load_seconds: start.elapsed().as_secs_f64(),
        });
        Ok(Self { description, preprocessor, backend, golden })
    }
}

fn folder_name(dir: &Path) -> String {
    let canonical = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    canonical.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn resolve_device(choice: DeviceChoice) -> DeviceKind {
    match choice {
        DeviceChoice::On(kind) => kind,
        DeviceChoice::Auto if super::candle::cuda_available() => DeviceKind::Cuda(0),
        DeviceChoice::Auto => DeviceKind::Cpu,
    }
}

/// The stored format where the device computes in it; half floats are widened on the processor, which has no
/// fast arithmetic for them.
fn auto_dtype(weights: &Weights, device: DeviceKind) -> Result<Dtype, ModelError> {
    let stored = weights.view(super::tensors::FINAL_NORM)?.stored;
    Ok(match (stored, device) {
        (Stored::Bf16, _) => Dtype::Bf16,
        (Stored::F16, DeviceKind::Cuda(_)) => Dtype::F16,
        _ => Dtype::F32,
    })
}

fn build_backend(
    options: &LoadOptions,
    config: &ModelConfig,
    weights: Weights,
    device: DeviceKind,
    dtype: Dtype,
) -> Result<Box<dyn Backend>, ModelError> {
    match (options.backend, device) {
        (BackendChoice::Zero, _) => Ok(Box::new(ZeroBackend::new(config))),
        (BackendChoice::Cpu, DeviceKind::Cuda(_)) => Err(ModelError::Backend(BackendError::Load(format!(
            "the cpu backend does not run on {device}; use --backend candle or --device cpu"
        )))),
        (BackendChoice::Cpu | BackendChoice::Auto, DeviceKind::Cpu) => {
            let packed_dir = options.keep_packed.then(|| options.dir.join(PACKED_FOLDER));
            let cpu = CpuOptions { threads: options.threads, packed_dir, ..CpuOptions::new(dtype) };
            Ok(Box::new(CpuBackend::load(config, weights, &cpu)?))
        }
        (BackendChoice::Candle, _) | (BackendChoice::Auto, DeviceKind::Cuda(_)) => {
            Ok(Box::new(CandleBackend::load(config, &weights, device, dtype, Scope::Visible)?))
        }
    }
}
