use super::*;
use crate::fleet::ids::SessionId;
use crate::fleet::spec::{Gang, Mode, Priority};
use crate::proto::neuro::ext;

const AT: i64 = 1_763_733_607_123;

fn session(mode: Mode) -> SessionRow {
    SessionRow {
        id: "5f0c8d6e-3f2b-4b53-9a6e-0d8f1f6f4a11".parse::<SessionId>().unwrap(),
        owner: "1a0c8d6e-3f2b-4b53-9a6e-0d8f1f6f4a11".to_owned(),
        mode,
        phase: Phase::Running,
        priority: Priority::Normal,
        gang: Gang::default(),
        requires: std::collections::BTreeMap::new(),
        spec: Vec::new(),
        request_hash: [0; 32],
        created_ms: 0,
        queued_ms: 0,
        granted_ms: 0,
        ended_ms: 0,
        reason: String::new(),
        last_seq: 1,
        training_id: "9b0c8d6e-3f2b-4b53-9a6e-0d8f1f6f4a11".to_owned(),
        restore_from: String::new(),
    }
}

fn said(kind: EventKind, mode: Mode) -> Vec<Published> {
    let session = session(mode);
    let row = EventRow { session: session.id.clone(), seq: 1, at_ms: AT, kind };
    of(&row, &session, None, "ws://fleet:8010")
}

fn phase(from: Phase, to: Phase) -> EventKind {
    EventKind::Phase(ext::PhaseChange { from: from.into(), to: to.into(), reason: "because".to_owned() })
}

#[test]
fn a_session_is_told_of_in_the_words_its_reader_decodes() {
    let made = said(phase(Phase::Unspecified, Phase::Allocating), Mode::Manual);
    assert_eq!(made.len(), 1);
    assert_eq!((made[0].stream, made[0].event_type), ("events:session", "SessionCreated"));
    assert_eq!(made[0].timestamp, "2025-11-21T14:00:07.123Z");
    let payload: Value = serde_json::from_str(&made[0].payload).unwrap();
    let id = json!({"value": "5f0c8d6e-3f2b-4b53-9a6e-0d8f1f6f4a11"});
    assert_eq!((&payload["type"], &payload["sessionId"]), (&json!("SessionCreated"), &id));
    assert_eq!(payload["userId"], json!({"value": "1a0c8d6e-3f2b-4b53-9a6e-0d8f1f6f4a11"}));

    let started = said(phase(Phase::Ready, Phase::Running), Mode::Manual);
    let payload: Value = serde_json::from_str(&started[0].payload).unwrap();
    let fields: Vec<_> = payload["assignment"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["isaacSimInstanceId", "nucleusPath", "streamEndpoint", "controlEndpoint"]);
    let url = format!("ws://fleet:8010/control/{}", started[0].aggregate_id);
    assert_eq!(payload["assignment"]["controlEndpoint"]["wsUrl"], json!(url));

    let stopped = said(phase(Phase::Running, Phase::Failed), Mode::Manual);
    let payload: Value = serde_json::from_str(&stopped[0].payload).unwrap();
    assert_eq!((&payload["type"], &payload["reason"]), (&json!("SessionStopped"), &json!("because")));
}

#[test]
fn a_training_is_told_of_by_its_handle() {
    let job = json!({"value": "9b0c8d6e-3f2b-4b53-9a6e-0d8f1f6f4a11"});
    let made = said(phase(Phase::Starting, Phase::Ready), Mode::Hybrid);
    let payload: Value = serde_json::from_str(&made[0].payload).unwrap();
    assert_eq!((made[0].stream, &payload["type"]), ("events:training", &json!("TrainingJobCreated")));
    assert_eq!(payload["jobId"], job);
    let end = ext::TrainingEnd {
        success: true,
        model_uri: "file:///m".to_owned(),
        checkpoint_uri: "file:///c".to_owned(),
        final_reward: 480.5,
        metrics: [("loss".to_owned(), 0.25)].into(),
        ..ext::TrainingEnd::default()
    };
    let done = said(EventKind::TrainingEnd(end), Mode::Training);
    let payload: Value = serde_json::from_str(&done[0].payload).unwrap();
    let result = json!({
        "modelPath": "file:///m", "checkpointPath": "file:///c", "finalReward": 480.5, "finalMetrics": {"loss": 0.25},
    });
    assert_eq!((done[0].event_type, &payload["result"]), ("TrainingJobCompleted", &result));
    assert!(said(EventKind::TrainingEnd(ext::TrainingEnd::default()), Mode::Training).is_empty());
}

#[test]
fn of_most_events_nothing_is_said() {
    assert!(said(phase(Phase::Paused, Phase::Running), Mode::Manual).is_empty());
    assert!(said(phase(Phase::Starting, Phase::Ready), Mode::Manual).is_empty());
    assert!(said(EventKind::Progress(ext::Progress::default()), Mode::Training).is_empty());
}

#[test]
fn days_are_those_of_the_calendar() {
    for (ms, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_709_164_799_999, "2024-02-28T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    ] {
        assert_eq!(iso8601(ms), text);
    }
}
