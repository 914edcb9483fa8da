//! Counting, without knowing who reads it: a Prometheus text on `/metrics`, or nothing when no recorder is installed
//! (a library test, `neuro predict`). Every function here is a few atomic operations and never blocks.

use std::sync::OnceLock;
use std::time::Duration;

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::{process, series};

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// How often histogram samples are folded into their buckets when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why metrics could not start.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The exporter refused.
    #[error("metrics: {0}")]
    Exporter(#[from] BuildError),
    /// The upkeep thread could not start.
    #[error("metrics: cannot start the upkeep thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A stage of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for the model.
    Queue,
    /// From file to pixels.
    Decode,
    /// Resize and normalise.
    Resize,
    /// Tactile encoder.
    Tactile,
    /// Vision tower.
    Vision,
    /// Decoder and action head.
    Decoder,
    /// From request to answer.
    Total,
}

impl Stage {
    /// The value of the `stage` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Decode => "decode",
            Self::Resize => "resize",
            Self::Tactile => "tactile",
            Self::Vision => "vision",
            Self::Decoder => "decoder",
            Self::Total => "total",
        }
    }
}

/// Installs the process-wide recorder; a second call does nothing.
///
/// # Errors
/// When another recorder is installed already or the upkeep thread cannot start.
pub fn install() -> Result<(), MetricsError> {
    if HANDLE.get().is_some() {
        return Ok(());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(series::DURATION_BUCKETS_S)?
        .set_buckets_for_metric(Matcher::Full(series::BATCH_SIZE.to_owned()), series::BATCH_BUCKETS)?
        .install_recorder()?;
    describe();
    let upkeep = handle.clone();
    std::thread::Builder::new().name("neuro-metrics".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(UPKEEP);
            upkeep.run_upkeep();
        }
    })?;
    HANDLE.get_or_init(|| handle);
    Ok(())
}

/// The Prometheus text, process readings included; `None` when metrics are not installed.
#[must_use]
pub fn render() -> Option<String> {
    let handle = HANDLE.get()?;
    observe_process();
    Some(handle.render())
}

/// Content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Time one request spent in one stage.
pub fn observe_stage(stage: Stage, took: Duration) {
    histogram!(series::STAGE_SECONDS, "stage" => stage.as_str()).record(took);
}

/// One answered request: `outcome` is `ok` or the error's stable code.
pub fn observe_request(wire: &'static str, outcome: &'static str, took: Duration) {
    counter!(series::REQUESTS_TOTAL, "wire" => wire, "outcome" => outcome).increment(1);
    histogram!(series::REQUEST_SECONDS, "wire" => wire, "outcome" => outcome).record(took);
}

/// Requests in the house.
pub fn set_queue_depth(waiting: usize) {
    gauge!(series::QUEUE_DEPTH).set(waiting as f64);
}

/// Requests the model answered together.
pub fn observe_batch(size: usize) {
    histogram!(series::BATCH_SIZE).record(size as f64);
}

/// An action was answered from the picture cache.
pub fn cache_hit() {
    counter!(series::CACHE_HITS_TOTAL).increment(1);
}

/// The picture cache did not know a picture.
pub fn cache_miss() {
    counter!(series::CACHE_MISSES_TOTAL).increment(1);
}

/// A model load or hot swap ended: `outcome` is `ok` or `refused`.
pub fn model_load(outcome: &'static str) {
    counter!(series::MODEL_LOADS_TOTAL, "outcome" => outcome).increment(1);
}

/// Which model is loaded, as labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLabels {
    /// Name of the model folder.
    pub model: String,
    /// Fingerprint of the weights.
    pub weights: String,
    /// Id of the statistics.
    pub stats: String,
    /// `cpu` or `candle`.
    pub backend: String,
    /// Where it runs.
    pub device: String,
    /// Number type of the weights.
    pub dtype: String,
}

/// Marks a model as the loaded one (`true`) or as replaced (`false`).
pub fn set_model_info(labels: &ModelLabels, loaded: bool) {
    gauge!(
        series::MODEL_INFO,
        "model" => labels.model.clone(),
        "weights" => labels.weights.clone(),
        "stats" => labels.stats.clone(),
        "backend" => labels.backend.clone(),
        "device" => labels.device.clone(),
        "dtype" => labels.dtype.clone(),
    )
    .set(if loaded { 1.0 } else { 0.0 });
}

/// The recorder wrote a request.
pub fn recorded() {
    counter!(series::RECORDED_TOTAL).increment(1);
}

/// The recorder left a request out: `reason` is `queue_full`, `write_failed` or `limit`.
pub fn record_dropped(reason: &'static str) {
    counter!(series::RECORD_DROPPED_TOTAL, "reason" => reason).increment(1);
}

fn observe_process() {
    let reading = process::read();
    let set = |name: &'static str, value: Option<f64>| {
        if let Some(value) = value {
            gauge!(name).set(value);
        }
    };
    set(series::PROCESS_CPU_SECONDS, reading.cpu_seconds);
    set(series::PROCESS_RESIDENT_BYTES, reading.resident_bytes.map(|bytes| bytes as f64));
    set(series::PROCESS_PEAK_BYTES, reading.peak_resident_bytes.map(|bytes| bytes as f64));
    set(series::PROCESS_THREADS, reading.threads.map(|threads| threads as f64));
    set(series::PROCESS_OPEN_FDS, reading.open_fds.map(|fds| fds as f64));
}

/// Gives every series its unit and sentence, and every unlabelled one its first value, so a dashboard sees zeros
/// instead of gaps before the first request.
fn describe() {
    for entry in series::ALL {
        match entry.kind {
            series::Kind::Counter => describe_counter!(entry.name, entry.unit, entry.help),
            series::Kind::Gauge => describe_gauge!(entry.name, entry.unit, entry.help),
            series::Kind::Histogram => describe_histogram!(entry.name, entry.unit, entry.help),
        }
        if entry.labels.is_empty() && entry.kind == series::Kind::Counter {
            counter!(entry.name).absolute(0);
        }
    }
    set_queue_depth(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_observation_is_on_the_page_under_a_described_name() {
        install().unwrap();
        observe_stage(Stage::Vision, Duration::from_millis(12));
        observe_request("predict", "ok", Duration::from_millis(40));
        set_queue_depth(3);
        observe_batch(2);
        cache_hit();
        cache_miss();
        model_load("ok");
        recorded();
        record_dropped("queue_full");
        crate::telemetry::fleet::observe_everything_once();
        crate::telemetry::agent::observe_everything_once();
        set_model_info(
            &ModelLabels {
                model: "tiny".into(),
                weights: "ab".into(),
                stats: "cd".into(),
                backend: "cpu".into(),
                device: "cpu".into(),
                dtype: "f32".into(),
            },
            true,
        );
        let page = render().unwrap();
        for entry in series::ALL {
            assert!(
                page.contains(&format!("# HELP {} ", entry.name)),
                "{} not described in\n{page}",
                entry.name
            );
            assert!(
                page.lines().any(|line| line.starts_with(entry.name)),
                "{} has no value in\n{page}",
                entry.name
            );
        }
        assert!(page.contains("neuro_stage_seconds_bucket{stage=\"vision\",le=\"0.015\"} 1"), "{page}");
        assert!(page.contains("neuro_stage_seconds_bucket{stage=\"vision\",le=\"0.01\"} 0"), "{page}");
        assert!(page.contains("neuro_requests_total{wire=\"predict\",outcome=\"ok\"} 1"), "{page}");
    }
}
