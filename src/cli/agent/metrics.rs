//! `/metrics` of an agent, for Prometheus, and `/healthz` for who only wants to know whether it is there.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::agent::Agent;
use crate::agent::record::{Record, State};
use crate::agent::spec::Kind;
use crate::telemetry::agent as counted;
use crate::telemetry::metrics;

const KINDS: [Kind; 3] = [Kind::Container, Kind::Vm, Kind::MicroVm];
const STATES: [(State, &str); 6] = [
    (State::Pending, "pending"),
    (State::Creating, "creating"),
    (State::Running, "running"),
    (State::Stopped, "stopped"),
    (State::Failed, "failed"),
    (State::Deleting, "deleting"),
];

/// Serves both until told to stop.
///
/// # Errors
/// When the listener fails.
pub(super) async fn serve(
    listener: TcpListener,
    agent: Agent,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let page = move || {
        let agent = agent.clone();
        async move {
            count(&agent.list());
            match metrics::render() {
                Some(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
                None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }
        }
    };
    let router = Router::new().route("/metrics", get(page)).route("/healthz", get(|| async { "ok\n" }));
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

fn count(records: &[Record]) {
    for kind in KINDS {
        for (state, name) in STATES {
            let same = |record: &&Record| record.spec.kind == kind && record.state == state;
            counted::set_instances(kind.name(), name, records.iter().filter(same).count());
        }
    }
}
