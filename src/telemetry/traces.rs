//! Spans to an OpenTelemetry collector (OTLP over gRPC), off unless an endpoint is set. A caller's W3C
//! `traceparent` is taken as the parent, so a robot's trace goes on through the model.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// How long one export may take before it is given up.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last spans get at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Why traces could not start.
#[derive(Debug, thiserror::Error)]
#[error("traces to `{endpoint}`: {source}")]
pub struct TracesError {
    endpoint: String,
    source: ExporterBuildError,
}

/// The way to the collector; dropping it sends what is left.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Opens the way to `endpoint`, as in `http://127.0.0.1:4317`. The collector need not be there yet.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn to(endpoint: &str) -> Result<Self, TracesError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|source| TracesError { endpoint: endpoint.to_owned(), source })?;
        let resource = Resource::builder().with_service_name("neuro").build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Self { provider })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("neuro")
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Makes a caller's span the parent of `span`. A header that is not W3C trace context is ignored, as it asks for.
pub fn accept_parent(span: &tracing::Span, traceparent: Option<&str>, tracestate: Option<&str>) {
    let Some(traceparent) = traceparent else {
        return;
    };
    let mut carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    if let Some(tracestate) = tracestate {
        carrier.insert("tracestate".to_owned(), tracestate.to_owned());
    }
    let parent = TraceContextPropagator::new().extract(&carrier);
    if parent.span().span_context().is_valid()
        && let Err(error) = span.set_parent(parent)
    {
        tracing::debug!(%error, "the caller's trace is not joined");
    }
}
