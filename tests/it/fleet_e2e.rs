//! One training run from beginning to end, as a platform would see it: real simulators, a real trainer, a real PPO, and
//! everything that may go wrong under way. The published client's calls come first, so the session is made as manual and
//! upgraded under the same id.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use neuro::proto::neuro::ext::{
    ListDemonstrationsRequest, Phase, ReleaseControlRequest, SessionEvent, TakeControlRequest,
    WatchSessionRequest, session_event::Kind,
};
use neuro::proto::neuro::isaac_sim::RobotAction;
use neuro::proto::neuro::orchestrator::*;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use crate::fleet_grpc::harness::{Clients, Fleet, fresh_id};

/// Five simulators, so that a lost one has a successor while four train, and one trainer.
const SETTINGS: &str = "
[leases]
interval_ms = 1000
lease_ms = 15000

[[pool]]
name = \"isaac-sim\"
role = \"simulator\"
backend = \"process\"
warm = 4
max = 5

[[pool]]
name = \"trainer\"
role = \"trainer\"
backend = \"process\"
warm = 1
max = 1
";

/// For all of it; it takes about a minute.
const LIMIT: Duration = Duration::from_secs(400);

/// Reads a session's log from where it stopped, and insists that it has no holes.
struct Log {
    session: String,
    last: i64,
    begun: Instant,
}

impl Log {
    /// Until an event that is looked for. `None`: the stream ended without it.
    async fn until(
        &mut self,
        clients: &mut Clients,
        found: impl Fn(&SessionEvent) -> bool,
    ) -> Option<SessionEvent> {
        let watch = WatchSessionRequest { session_id: self.session.clone(), resume_after: self.last };
        let mut events = clients.sessions.watch_session(watch).await.unwrap().into_inner();
        while let Some(event) = events.next().await {
            let event = event.unwrap();
            assert_eq!(event.seq, self.last + 1, "a hole in the log before {event:?}");
            assert!(self.begun.elapsed() < LIMIT, "it takes too long; the last event is {event:?}");
            self.last = event.seq;
            if found(&event) {
                return Some(event);
            }
        }
        None
    }

    async fn some_progress(&mut self, clients: &mut Clients) {
        for _ in 0..3 {
            let progress = |event: &SessionEvent| matches!(event.kind, Some(Kind::Progress(_)));
            self.until(clients, progress).await.expect("progress");
        }
    }
}

/// Long enough for all that happens meanwhile, and learnt to the end, although what the person shows here is nothing.
fn training() -> GrpcTrainingConfig {
    let hyperparameters = [("total_steps", "200000"), ("seed", "2")];
    let hyperparameters = hyperparameters.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    GrpcTrainingConfig { total_episodes: 10_000, hyperparameters, ..GrpcTrainingConfig::default() }
}

fn to(event: &SessionEvent, phase: Phase) -> bool {
    matches!(&event.kind, Some(Kind::Phase(change)) if change.to() == phase)
}

/// A person takes environment 0 for a while; the demonstration that is left of it.
async fn take_over(clients: &mut Clients, session: &str) -> String {
    let take = TakeControlRequest {
        session_id: session.to_owned(),
        user: "ada".to_owned(),
        ttl_ms: 20_000,
        record: true,
        ..TakeControlRequest::default()
    };
    let lease = clients.sessions.take_control(take).await.unwrap().into_inner();
    assert!(lease.fence > 0 && !lease.token.is_empty() && lease.ws_url.contains(session), "{lease:?}");
    let (actions, sent) = mpsc::channel(4);
    let mut request = Request::new(ReceiverStream::new(sent));
    request.metadata_mut().insert("neuro-control-token", lease.token.parse().unwrap());
    actions.send(RobotAction { session_id: session.to_owned(), ..Default::default() }).await.unwrap();
    let mut states = clients.isaac.stream_robot_control(request).await.unwrap().into_inner();
    let until = Instant::now() + Duration::from_secs(2);
    let mut heard = 0;
    while Instant::now() < until {
        let state = states.message().await.unwrap().unwrap();
        assert!(!state.joint_state.unwrap().positions.is_empty());
        heard += 1;
    }
    assert!(heard > 10, "{heard} states in two seconds");
    drop(actions);
    let release = ReleaseControlRequest {
        session_id: session.to_owned(),
        fence: lease.fence,
        resume_policy: true,
        ..ReleaseControlRequest::default()
    };
    clients.sessions.release_control(release).await.unwrap().into_inner().demonstration_id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_training_survives_a_killed_simulator_a_killed_orchestrator_and_a_person_taking_over() {
    let mut fleet = Fleet::start(SETTINGS);
    let mut clients = fleet.clients().await;
    let id = fresh_id();
    let published = CreateSessionRequest {
        session_id: id.clone(),
        mode: SessionMode::Manual.into(),
        ..CreateSessionRequest::default()
    };
    let made = clients.neuro.create_session(published.clone()).await.unwrap().into_inner();
    let start = StartSimulationRequest { session_id: id.clone(), ..Default::default() };
    clients.neuro.start_simulation(start).await.unwrap();
    let hybrid = CreateHybridSessionRequest {
        session_id: id.clone(),
        mode: SessionMode::Hybrid.into(),
        training_config: Some(training()),
        enable_human_demo: true,
        ..CreateHybridSessionRequest::default()
    };
    let upgraded = clients.neuro.create_hybrid_session(hybrid).await.unwrap().into_inner();
    assert_eq!(upgraded.isaac_instance_ids.len(), 4);
    assert_eq!(upgraded.isaac_instance_ids[0], made.instance_id, "its simulator stays environment 0");
    let found = clients.neuro.create_session(published).await.unwrap().into_inner();
    assert_eq!(found.instance_id, made.instance_id, "the first request still finds it");
    let mut log = Log { session: id.clone(), last: 0, begun: Instant::now() };
    log.some_progress(&mut clients).await;

    let victim = &upgraded.isaac_instance_ids[2];
    let pid = fleet.process_of(victim).expect("the process of a simulator");
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    let replaced = |event: &SessionEvent| matches!(&event.kind, Some(Kind::Instance(change)) if change.event == "replaced" && change.instance_id == *victim);
    log.until(&mut clients, replaced).await.expect("a replacement");
    log.until(&mut clients, |event| to(event, Phase::Running)).await.expect("the end of its recovery");
    log.some_progress(&mut clients).await;

    fleet.crash_and_restart();
    let mut clients = fleet.clients().await;
    log.some_progress(&mut clients).await;
    let asked = GetSessionStatusRequest { session_id: id.clone() };
    let status = clients.neuro.get_session_status(asked).await.unwrap().into_inner();
    let status = status.training_status.unwrap();
    assert_eq!(status.isaac_instance_ids.len(), 4);
    assert_eq!(status.training_instance_id, upgraded.training_instance_id, "the trainer went on");

    let demonstration = take_over(&mut clients, &id).await;
    let list = ListDemonstrationsRequest { session_id: id.clone() };
    let listed = clients.sessions.list_demonstrations(list).await.unwrap().into_inner().demonstrations;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!((&listed[0].id, listed[0].user.as_str()), (&demonstration, "ada"));
    assert!(listed[0].steps > 10, "{listed:?}");

    let save =
        SaveSessionSnapshotRequest { session_id: id.clone(), save_checkpoint: true, ..Default::default() };
    let saved = clients.neuro.save_session_snapshot(save).await.unwrap().into_inner().snapshot_info.unwrap();
    assert_eq!(saved.scene_snapshot_urls.len(), 4);
    assert!(!saved.checkpoint_url.is_empty() && saved.file_size_bytes > 0, "{saved:?}");

    let second = fresh_id();
    let mut waits = Request::new(CreateTrainingSessionRequest {
        session_id: second.clone(),
        training_config: Some(training()),
        ..CreateTrainingSessionRequest::default()
    });
    waits.set_timeout(Duration::from_secs(1));
    let refused = clients.neuro.create_training_session(waits).await.unwrap_err();
    assert!(matches!(refused.code(), Code::ResourceExhausted | Code::DeadlineExceeded), "{refused:?}");

    let end = log.until(&mut clients, |event| matches!(event.kind, Some(Kind::TrainingEnd(_)))).await;
    let Some(SessionEvent { kind: Some(Kind::TrainingEnd(end)), .. }) = end else { panic!("no end") };
    assert!(end.success, "{end:?}");
    assert!(end.final_reward >= 450.0, "{end:?}");
    assert!(log.until(&mut clients, |event| to(event, Phase::Completed)).await.is_some());
    assert!(log.until(&mut clients, |_| true).await.is_none(), "nothing comes after the end");

    let mut next = Log { session: second.clone(), last: 0, begun: Instant::now() };
    next.until(&mut clients, |event| to(event, Phase::Running))
        .await
        .expect("the second gang starts by itself");
    next.some_progress(&mut clients).await;
    let stop = || StopSessionRequest { session_id: second.clone(), cleanup: true };
    let stopped = clients.neuro.stop_session(stop()).await.unwrap().into_inner();
    assert_eq!(stopped.released_instances.len(), 5);
    let again = clients.neuro.stop_session(stop()).await.unwrap().into_inner();
    assert!(again.success && again.released_instances.is_empty());
}
