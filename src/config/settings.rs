//! What can be set, with its defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::address::HostPort;
use super::choice::{Backend, Device, Dtype, LogFormat, Redaction, RendererChoice, Stats};
use super::secret::Secret;

const MIB: u64 = 1 << 20;

/// Which model and how it is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSettings {
    /// The model folder.
    pub dir: PathBuf,
    /// Folders whose sub-folders are models: for `model list` and for swaps by name.
    pub roots: Vec<PathBuf>,
    /// Where it runs.
    pub device: Device,
    /// Number format of the weights.
    pub dtype: Dtype,
    /// Which implementation.
    pub backend: Backend,
    /// Threads that compute; `None` takes every core this process may use.
    pub threads: Option<NonZeroUsize>,
    /// Which statistics.
    pub stats: Stats,
    /// Whether packed weights are kept beside the model for the next start.
    pub keep_packed: bool,
}

/// How requests wait and are answered.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSettings {
    /// Requests in the house at most; more are told to come back.
    pub size: usize,
    /// Requests the model answers together at most; `None` leaves it to the backend.
    pub max_batch: Option<NonZeroUsize>,
    /// Deadline of requests that name none.
    pub deadline: Option<Duration>,
    /// Actions remembered by picture, where the picture alone decides; 0 turns it off.
    pub cache: usize,
}

/// The HTTP edge.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSettings {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Largest picture, in pixels.
    pub max_pixels: u64,
    /// Largest request body, in bytes.
    pub max_body_bytes: u64,
    /// A body must have arrived after this long.
    pub body_timeout: Duration,
    /// A request's head must have arrived after this long.
    pub header_timeout: Duration,
    /// Connections open at once, openpi ones not counted.
    pub max_connections: usize,
    /// Web origins that may call; `*` for all, empty for none.
    pub cors: Vec<String>,
    /// Bearer token that callers must send.
    pub token: Option<Secret>,
    /// Bearer token of the admin routes (hot swap); without one they are not served.
    pub admin_token: Option<Secret>,
    /// How long running requests get to finish at shutdown.
    pub shutdown_grace: Duration,
}

impl HttpSettings {
    /// Address and port together.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

/// Scenarios, and who draws them.
#[derive(Debug, Clone, PartialEq)]
pub struct SceneSettings {
    /// Folders under which scenario files may be opened.
    pub roots: Vec<PathBuf>,
    /// The scenario loaded at the start.
    pub first: Option<String>,
    /// Who draws.
    pub renderer: RendererChoice,
    /// Where NuRec listens, or is to listen.
    pub nurec: HostPort,
    /// The container image of NuRec.
    pub nurec_image: String,
    /// Pictures drawn are remembered up to this many bytes.
    pub frame_cache_bytes: u64,
}

/// The recorder.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordSettings {
    /// Where recordings go; `None` records nothing.
    pub dir: Option<PathBuf>,
    /// How much of the pictures is kept.
    pub images: Redaction,
    /// How much of instructions and robot ids is kept.
    pub text: Redaction,
    /// A recording is closed and a new one begun at this size, pictures included, in bytes.
    pub rotate_bytes: u64,
    /// All recordings of this run together stay under this size, in bytes; then recording stops.
    pub limit_bytes: u64,
}

/// Logs and traces.
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetrySettings {
    /// Log filter, as in `info,neuro::policy=debug`.
    pub log: String,
    /// How log lines look.
    pub format: LogFormat,
    /// OTLP endpoint for traces; `None` sends none.
    pub otlp: Option<String>,
}

/// Everything `neuro serve` can be told.
#[derive(Debug, Clone, PartialEq)]
pub struct ServeConfig {
    /// Which model and how it is computed.
    pub model: ModelSettings,
    /// How requests wait.
    pub queue: QueueSettings,
    /// The HTTP edge.
    pub http: HttpSettings,
    /// Scenarios, and who draws them.
    pub scene: SceneSettings,
    /// The recorder.
    pub record: RecordSettings,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            model: ModelSettings {
                dir: PathBuf::from("models/tabletop"),
                roots: vec![PathBuf::from("models")],
                device: Device::Auto,
                dtype: Dtype::Auto,
                backend: Backend::Auto,
                threads: None,
                stats: Stats::Folder,
                keep_packed: true,
            },
            queue: QueueSettings { size: 64, max_batch: None, deadline: None, cache: 1024 },
            http: HttpSettings {
                host: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                port: 8000,
                max_pixels: 50_000_000,
                max_body_bytes: 32 * MIB,
                body_timeout: Duration::from_secs(30),
                header_timeout: Duration::from_secs(10),
                max_connections: 512,
                cors: Vec::new(),
                token: None,
                admin_token: None,
                shutdown_grace: Duration::from_secs(30),
            },
            scene: SceneSettings {
                roots: vec![PathBuf::from("scenes")],
                first: None,
                renderer: RendererChoice::Embedded,
                nurec: HostPort { host: "localhost".to_owned(), port: 46435 },
                nurec_image: "carlasimulator/nvidia-nurec-grpc:0.2.0".to_owned(),
                frame_cache_bytes: 128 * MIB,
            },
            record: RecordSettings {
                dir: None,
                images: Redaction::Full,
                text: Redaction::Full,
                rotate_bytes: 256 * MIB,
                limit_bytes: 8192 * MIB,
            },
            telemetry: TelemetrySettings { log: "info".to_owned(), format: LogFormat::Human, otlp: None },
        }
    }
}
