//! Events in the words of the platform that reads them: names with a discriminator `type`, ids as `{"value": UUID}`,
//! times as ISO 8601.

use serde_json::{Value, json};

use crate::fleet::event::EventKind;
use crate::fleet::rows::{EventRow, InstanceRow, Phase, SessionRow, ended};

/// Stream of sessions.
pub const SESSIONS: &str = "events:session";
/// Stream of trainings.
pub const TRAININGS: &str = "events:training";

/// One entry of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Which stream.
    pub stream: &'static str,
    /// `SessionCreated`, `SessionStarted`, `SessionStopped`, `TrainingJobCreated`, `TrainingJobCompleted`.
    pub event_type: &'static str,
    /// JSON.
    pub payload: String,
    /// ISO 8601.
    pub timestamp: String,
    /// The session, or the training.
    pub aggregate_id: String,
}

/// What the platform hears of an event: nothing, of most.
#[must_use]
pub fn of(
    row: &EventRow,
    session: &SessionRow,
    simulator: Option<&InstanceRow>,
    ws_url: &str,
) -> Vec<Published> {
    let at = iso8601(row.at_ms);
    let id = |id: &str| json!({ "value": id });
    let entry = |stream, event_type, aggregate_id: &str, payload: Value| Published {
        stream,
        event_type,
        payload: payload.to_string(),
        timestamp: at.clone(),
        aggregate_id: aggregate_id.to_owned(),
    };
    let name = session.id.as_str();
    match &row.kind {
        EventKind::Phase(change) => {
            let mut entries = Vec::new();
            let (from, to) = (change.from(), change.to());
            if from == Phase::Unspecified {
                let payload = json!({
                    "type": "SessionCreated", "sessionId": id(name), "userId": id(&session.owner), "occurredAt": at,
                });
                entries.push(entry(SESSIONS, "SessionCreated", name, payload));
            }
            if session.mode.trains() && matches!(to, Phase::Ready) {
                let job = &session.training_id;
                let payload = json!({
                    "type": "TrainingJobCreated", "jobId": id(job), "sessionId": id(name), "occurredAt": at,
                });
                entries.push(entry(TRAININGS, "TrainingJobCreated", job, payload));
            }
            if to == Phase::Running && from != Phase::Paused && from != Phase::Recovering {
                let payload = json!({
                    "type": "SessionStarted", "sessionId": id(name), "assignment": assignment(name, simulator, ws_url),
                    "occurredAt": at,
                });
                entries.push(entry(SESSIONS, "SessionStarted", name, payload));
            }
            if ended(to) && !ended(from) {
                let payload = json!({
                    "type": "SessionStopped", "sessionId": id(name), "reason": change.reason, "occurredAt": at,
                });
                entries.push(entry(SESSIONS, "SessionStopped", name, payload));
            }
            entries
        }
        EventKind::TrainingEnd(end) if end.success => {
            let job = &session.training_id;
            let metrics: serde_json::Map<String, Value> =
                end.metrics.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            let result = json!({
                "modelPath": end.model_uri, "checkpointPath": end.checkpoint_uri, "finalReward": end.final_reward,
                "finalMetrics": metrics,
            });
            let payload =
                json!({"type": "TrainingJobCompleted", "jobId": id(job), "result": result, "occurredAt": at});
            vec![entry(TRAININGS, "TrainingJobCompleted", job, payload)]
        }
        _ => Vec::new(),
    }
}

fn assignment(session: &str, simulator: Option<&InstanceRow>, ws_url: &str) -> Value {
    let instance = simulator.map(|row| row.id.to_string()).unwrap_or_default();
    let stream = simulator.map(|row| row.endpoints.stream_url.as_str()).unwrap_or_default();
    let (host, port) = host_and_port(stream);
    json!({
        "isaacSimInstanceId": {"value": instance}, "nucleusPath": "",
        "streamEndpoint": {"host": host, "port": port, "protocol": "http"},
        "controlEndpoint": {"wsUrl": format!("{ws_url}/control/{session}")},
    })
}

fn host_and_port(url: &str) -> (String, u16) {
    let parsed = reqwest::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| url.host_str()).unwrap_or_default().to_owned();
    let port = parsed.as_ref().and_then(reqwest::Url::port_or_known_default).unwrap_or(0);
    (host, port)
}

/// `2026-11-21T13:50:07.123Z` from Unix ms; the civil calendar from days, after Howard Hinnant's `civil_from_days`.
fn iso8601(unix_ms: i64) -> String {
    let (days, ms) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
