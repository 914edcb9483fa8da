//! One span a request, under the caller's own when it sends W3C trace context, so that a robot's trace goes on here.

use std::time::Instant;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument, debug, info_span};

use crate::telemetry::traces;

/// Longest path that is put into a span, in bytes.
const PATH_BYTES: usize = 200;

/// Middleware: opens the span and notes the status.
pub async fn span(request: Request, next: Next) -> Response {
    let path: String = request.uri().path().chars().take(PATH_BYTES).collect();
    let span = info_span!(
        "request",
        otel.name = format!("{} {path}", request.method()),
        otel.kind = "server",
        http.request.method = %request.method(),
        url.path = path,
        http.response.status_code = Empty,
    );
    let header = |headers: &HeaderMap, name: &str| headers.get(name)?.to_str().ok().map(ToOwned::to_owned);
    let (parent, state) = (header(request.headers(), "traceparent"), header(request.headers(), "tracestate"));
    traces::accept_parent(&span, parent.as_deref(), state.as_deref());
    async {
        let started = Instant::now();
        let response = next.run(request).await;
        let status = response.status().as_u16();
        tracing::Span::current().record("http.response.status_code", status);
        debug!(status, ms = started.elapsed().as_secs_f64() * 1e3, "answered");
        response
    }
    .instrument(span)
    .await
}
