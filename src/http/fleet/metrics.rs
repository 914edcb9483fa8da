//! `GET /metrics`: the series of `telemetry::series`, for Prometheus. What can be read off the fleet is read at the scrape.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;
use super::state::FleetState;
use super::words;
use crate::fleet::FleetError;
use crate::fleet::orchestrator::Orchestrator;
use crate::fleet::request::SessionFilter;
use crate::fleet::rows::Phase;
use crate::telemetry::{fleet, metrics};

/// Sessions on a page: the most a page may have.
const PAGE: u32 = 1000;

/// What an instance can be; each is shown for every pool, also at 0.
const CONDITIONS: [&str; 6] = ["idle", "busy", "draining", "away", "lost", "starting"];

/// Prometheus metrics
///
/// Text format 0.0.4: sessions, instances, grants, orders, watchers, control and process.
#[utoipa::path(
    get, path = "/metrics", tag = "fleet",
    responses((status = 200, description = "The series", body = String, content_type = "text/plain"), (status = 404, description = "This process does not collect metrics"))
)]
pub async fn page(State(state): State<FleetState>) -> Result<Response, Refusal> {
    let scrape = move || {
        count(&state.orchestrator)?;
        metrics::render()
            .ok_or_else(|| FleetError::not_found("metrics", "this process does not collect them"))
    };
    let text = tokio::task::spawn_blocking(scrape).await.map_err(FleetError::internal)??;
    let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

fn count(orchestrator: &Orchestrator) -> Result<(), FleetError> {
    let mut phases: BTreeMap<&str, usize> = words::PHASES.iter().map(|(_, word)| (*word, 0)).collect();
    let mut filter = SessionFilter { page_size: PAGE, ..SessionFilter::default() };
    loop {
        let page = orchestrator.sessions(filter.clone())?;
        for session in &page.sessions {
            *phases.entry(words::phase(session.row.phase)).or_default() += 1;
        }
        if page.next_page_token.is_empty() {
            break;
        }
        filter.page_token = page.next_page_token;
    }
    fleet::show_zeros();
    if let Some(redis) = orchestrator.redis() {
        let (written, dropped) = redis.counts();
        fleet::set_published(written, dropped);
    }
    fleet::set_queue_length(phases.get(words::phase(Phase::Queued)).copied().unwrap_or_default());
    for (phase, count) in phases {
        fleet::set_sessions(phase, count);
    }
    for pool in orchestrator.pools() {
        for condition in CONDITIONS {
            let count = match condition {
                "starting" => pool.starting as usize,
                _ => pool.instances.iter().filter(|one| words::state(&one.row) == condition).count(),
            };
            fleet::set_instances(&pool.name, condition, count);
        }
    }
    Ok(())
}
