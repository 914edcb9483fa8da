//! From settings to what the policy and the edge take.

use std::num::NonZeroUsize;

use crate::config::{
    Backend, Device, Dtype, ModelSettings, RecordSettings, RendererChoice, Secret, ServeConfig, Stats,
};
use crate::http::HttpOptions;
use crate::http::openpi::OpenpiOptions;
use crate::playback::{DockerOptions, Eyes, EyesOptions, RendererKind, WorldOptions};
use crate::policy::backend::{DeviceKind, Dtype as WeightType};
use crate::policy::image::DecodeLimits;
use crate::policy::model::{BackendChoice, DeviceChoice, LoadOptions, StatsChoice};
use crate::policy::recording::{RecordOptions, Recorder};
use crate::policy::service::ServiceOptions;
use crate::render::builtin::BuiltinError;
use crate::scene::LoadLimits;
use crate::scene::shelf::Shelf;

/// Sessions open at once.
const MAX_SESSIONS: usize = 64;

/// What a picture may cost.
#[must_use]
pub fn limits(config: &ServeConfig) -> DecodeLimits {
    let max_bytes = usize::try_from(config.http.max_body_bytes).unwrap_or(usize::MAX);
    DecodeLimits { max_pixels: config.http.max_pixels, max_bytes, ..DecodeLimits::default() }
}

/// How to load the configured model.
#[must_use]
pub fn load(config: &ServeConfig) -> LoadOptions {
    let ModelSettings { dir, device, dtype, backend, threads, stats, keep_packed, roots: _ } = &config.model;
    LoadOptions {
        dir: dir.clone(),
        device: match device {
            Device::Auto => DeviceChoice::Auto,
            Device::Cpu => DeviceChoice::On(DeviceKind::Cpu),
            Device::Cuda(ordinal) => DeviceChoice::On(DeviceKind::Cuda(*ordinal)),
        },
        dtype: match dtype {
            Dtype::Auto => None,
            Dtype::F32 => Some(WeightType::F32),
            Dtype::Bf16 => Some(WeightType::Bf16),
            Dtype::F16 => Some(WeightType::F16),
            Dtype::Int8 => Some(WeightType::Int8),
        },
        backend: match backend {
            Backend::Auto => BackendChoice::Auto,
            Backend::Cpu => BackendChoice::Cpu,
            Backend::Candle => BackendChoice::Candle,
            Backend::Zero => BackendChoice::Zero,
        },
        threads: threads.map(NonZeroUsize::get),
        stats: match stats {
            Stats::Folder => StatsChoice::Folder,
            Stats::Identity => StatsChoice::Identity,
            Stats::File(path) => StatsChoice::File(path.clone()),
        },
        max_batch: config.queue.max_batch.map(NonZeroUsize::get),
        limits: limits(config),
        keep_packed: *keep_packed,
    }
}

/// What to record, if anything.
#[must_use]
pub fn record(config: &ServeConfig) -> Option<RecordOptions> {
    let RecordSettings { dir, images, text, rotate_bytes, limit_bytes } = config.record.clone();
    dir.map(|dir| RecordOptions { dir, images, text, rotate_bytes, limit_bytes })
}

/// How requests wait.
#[must_use]
pub fn service(config: &ServeConfig, recorder: Option<Recorder>) -> ServiceOptions {
    ServiceOptions {
        recorder,
        max_waiting: config.queue.size,
        default_deadline: config.queue.deadline,
        cache_entries: config.queue.cache,
        limits: limits(config),
        ..ServiceOptions::default()
    }
}

/// Where scenarios are and who draws them.
///
/// # Errors
/// When the built-in renderer gets no threads.
pub fn world(config: &ServeConfig) -> Result<WorldOptions, BuiltinError> {
    let scene = &config.scene;
    let kind = match scene.renderer {
        RendererChoice::Embedded => RendererKind::Embedded,
        RendererChoice::External => RendererKind::External,
        RendererChoice::Docker => RendererKind::Docker(DockerOptions {
            program: "docker".to_owned(),
            image: scene.nurec_image.clone(),
        }),
    };
    Ok(WorldOptions {
        shelf: Shelf::new(scene.roots.clone()),
        limits: LoadLimits::default(),
        eyes: Eyes::open(EyesOptions {
            kind,
            nurec: scene.nurec.clone(),
            cache_bytes: scene.frame_cache_bytes,
        })?,
        max_sessions: MAX_SESSIONS,
    })
}

/// How the edge behaves.
#[must_use]
pub fn http(config: &ServeConfig) -> HttpOptions {
    let http = &config.http;
    let max_body_bytes = usize::try_from(http.max_body_bytes).unwrap_or(usize::MAX);
    let token = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.reveal().to_owned());
    let defaults = HttpOptions::default();
    HttpOptions {
        max_body_bytes,
        body_timeout: http.body_timeout,
        headers_timeout: http.header_timeout,
        cors_origins: http.cors.clone(),
        bearer_token: token(&http.token),
        admin_token: token(&http.admin_token),
        model_roots: config.model.roots.clone(),
        max_connections: http.max_connections,
        swap: load(config),
        openpi: OpenpiOptions { max_message_bytes: max_body_bytes, ..defaults.openpi },
        ..defaults
    }
}
