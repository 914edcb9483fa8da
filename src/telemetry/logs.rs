//! Log lines on standard error, for a person or for a machine, and the traces that hang on the same spans.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::traces::{Traces, TracesError};
use crate::config::{LogFormat, TelemetrySettings};

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter makes no sense.
    #[error("log filter `{filter}`: {reason}; expected something like info,neuro::policy=debug")]
    Filter {
        /// As it was given.
        filter: String,
        /// What was wrong.
        reason: String,
    },
    /// Another subscriber is installed.
    #[error("logs: {0}")]
    Installed(#[from] TryInitError),
    /// Traces could not start.
    #[error(transparent)]
    Traces(#[from] TracesError),
}

/// Starts logs, and traces when an endpoint is set. Hold the result until the end: it flushes the last spans.
///
/// With an endpoint this must be called inside the async runtime, which then carries the export.
///
/// # Errors
/// When the filter is not one, the endpoint is no address, or a subscriber is installed already.
pub fn start(settings: &TelemetrySettings) -> Result<Option<Traces>, LogsError> {
    let filter = EnvFilter::try_new(&settings.log)
        .map_err(|error| LogsError::Filter { filter: settings.log.clone(), reason: error.to_string() })?;
    let traces = settings.otlp.as_deref().map(Traces::to).transpose()?;
    let spans = traces.as_ref().map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer()));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).with(spans).try_init()?;
    Ok(traces)
}
