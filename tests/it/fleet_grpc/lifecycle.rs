//! Sessions over real simulators and trainers of this binary, called as the published client calls.

use std::time::Duration;

use futures_util::StreamExt;
use neuro::proto::neuro::common::grpc_session_status::Status as SessionPhase;
use neuro::proto::neuro::common::{Empty, Obstacle, Position, obstacle};
use neuro::proto::neuro::ext::{
    GetQueuePositionRequest, ListSessionsRequest, PauseSessionRequest, Phase, WatchSessionRequest,
    session_event::Kind,
};
use neuro::proto::neuro::isaac_sim::{
    GetStreamEndpointRequest, JointCommand, RobotAction, UpdateSceneRequest,
};
use neuro::proto::neuro::orchestrator::*;
use neuro::proto::neuro::training::{
    GetTrainingProgressRequest, GetTrainingResultRequest, StartTrainingRequest, StopTrainingRequest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use uuid::Uuid;

use super::harness::{Clients, Fleet, SIMULATORS, fresh_id};

const TRAINERS: &str =
    "[[pool]]\nname = \"trainer\"\nrole = \"trainer\"\nbackend = \"process\"\nwarm = 1\nmax = 1\n";

/// What the published client sends, whatever the session is for.
fn as_published(id: &str) -> CreateSessionRequest {
    CreateSessionRequest { session_id: id.to_owned(), mode: SessionMode::Manual.into(), ..Default::default() }
}

async fn status_of(clients: &mut Clients, id: &str) -> SessionStatusResponse {
    let asked = GetSessionStatusRequest { session_id: id.to_owned() };
    clients.neuro.get_session_status(asked).await.unwrap().into_inner()
}

/// Waits until a session's status is as asked for.
async fn until(
    clients: &mut Clients,
    id: &str,
    holds: impl Fn(&SessionStatusResponse) -> bool,
) -> SessionStatusResponse {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let status = status_of(clients, id).await;
        if holds(&status) {
            return status;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_lives_as_the_published_client_asks() {
    let fleet = Fleet::start(SIMULATORS);
    let mut clients = fleet.clients().await;
    let id = fresh_id();
    let made = clients.neuro.create_session(as_published(&id)).await.unwrap().into_inner();
    assert!(made.success && made.session_id == id, "{made:?}");
    let instance = Uuid::parse_str(&made.instance_id).unwrap();
    assert_eq!(made.status.unwrap().status(), SessionPhase::Ready);
    assert_eq!(made.control_ws_url, format!("ws://{}/control/{id}", fleet.http));
    assert!(made.webrtc_signaling_url.starts_with("ws://"), "{}", made.webrtc_signaling_url);
    let endpoint = made.stream_endpoint.unwrap();
    assert_eq!(endpoint.protocol, "mjpeg");
    assert!(endpoint.url.contains(&format!("127.0.0.1:{}", endpoint.port)), "{endpoint:?}");
    assert!(endpoint.width > 0 && endpoint.height > 0, "{endpoint:?}");

    let again = clients.neuro.create_session(as_published(&id)).await.unwrap().into_inner();
    assert_eq!(again.instance_id, made.instance_id, "asking twice makes one session");

    let start = StartSimulationRequest { session_id: id.clone(), ..Default::default() };
    assert!(clients.neuro.start_simulation(start.clone()).await.unwrap().into_inner().success);
    let running = |status: &SessionStatusResponse| {
        status
            .session_status
            .as_ref()
            .is_some_and(|it| it.status() == SessionPhase::Running && it.simulation_time > 0.0)
    };
    let status = until(&mut clients, &id, running).await;
    assert_eq!(status.mode(), SessionMode::Manual);
    assert_eq!(status.manual_status.unwrap().instance_id, made.instance_id);
    assert!(status.training_status.is_none());
    assert!(status.session_status.unwrap().created_at_timestamp > 1_600_000_000_000);

    clients.sessions.pause_session(PauseSessionRequest { session_id: id.clone() }).await.unwrap();
    assert_eq!(status_of(&mut clients, &id).await.session_status.unwrap().status(), SessionPhase::Paused);
    clients.neuro.start_simulation(start).await.unwrap();

    let listed =
        clients.sessions.list_sessions(ListSessionsRequest::default()).await.unwrap().into_inner().sessions;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].mode.as_str(), listed[0].phase(), listed[0].backend.as_str()),
        ("manual", Phase::Running, "process")
    );
    assert_eq!(listed[0].instance_ids, [instance.to_string()]);
    let place = clients
        .sessions
        .get_queue_position(GetQueuePositionRequest { session_id: id.clone() })
        .await
        .unwrap();
    assert_eq!(place.into_inner().position, 0);

    let stop = || StopSessionRequest { session_id: id.clone(), cleanup: true };
    let stopped = clients.neuro.stop_session(stop()).await.unwrap().into_inner();
    assert_eq!((stopped.success, stopped.released_instances), (true, vec![made.instance_id]));
    let again = clients.neuro.stop_session(stop()).await.unwrap().into_inner();
    assert!(again.success && again.released_instances.is_empty(), "{again:?}");
    let active = clients.resource.list_active_sessions(Empty {}).await.unwrap().into_inner();
    assert!(active.session_ids.is_empty(), "{active:?}");
    let late = clients
        .neuro
        .start_simulation(StartSimulationRequest { session_id: id.clone(), ..Default::default() })
        .await;
    assert_eq!(late.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_session_is_dense_and_resumes_where_it_was_left() {
    let fleet = Fleet::start(SIMULATORS);
    let mut clients = fleet.clients().await;
    let id = fresh_id();
    clients.neuro.create_session(as_published(&id)).await.unwrap();
    clients.neuro.stop_session(StopSessionRequest { session_id: id.clone(), cleanup: true }).await.unwrap();
    let read = |after: i64| {
        let mut sessions = clients.sessions.clone();
        let watch = WatchSessionRequest { session_id: id.clone(), resume_after: after };
        async move {
            let events = sessions.watch_session(watch).await.unwrap().into_inner();
            events.map(Result::unwrap).collect::<Vec<_>>().await
        }
    };
    let all = tokio::time::timeout(Duration::from_secs(20), read(0))
        .await
        .expect("the log of an ended session ends");
    let numbers: Vec<i64> = all.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..).take(all.len()).collect::<Vec<i64>>());
    let last = all.iter().rev().find_map(|event| match &event.kind {
        Some(Kind::Phase(change)) => Some(change.to()),
        _ => None,
    });
    assert_eq!(last, Some(Phase::Stopped));
    assert_eq!(read(3).await, all[3..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_service_shows_and_moves_the_same_robot() {
    let fleet = Fleet::start(SIMULATORS);
    let mut clients = fleet.clients().await;
    let id = fresh_id();
    clients.neuro.create_session(as_published(&id)).await.unwrap();
    let start = StartSimulationRequest { session_id: id.clone(), ..Default::default() };
    clients.neuro.start_simulation(start).await.unwrap();

    let cube = Obstacle {
        r#type: obstacle::Type::Box.into(),
        position: Some(Position { x: 0.6, y: 0.3, z: 0.1 }),
        size: vec![0.1, 0.1, 0.2],
        ..Default::default()
    };
    let change =
        UpdateSceneRequest { session_id: id.clone(), obstacles_to_add: vec![cube], ..Default::default() };
    let said = clients.isaac.update_scene(change).await.unwrap().into_inner();
    assert!(said.success, "{said:?}");
    let path = said.message.strip_prefix("added ").unwrap().to_owned();
    assert!(path.starts_with('/'), "{path}");
    let removal = |path: &str| UpdateSceneRequest {
        session_id: id.clone(),
        obstacles_to_remove: vec![path.to_owned()],
        ..Default::default()
    };
    clients.isaac.update_scene(removal(&path)).await.unwrap();

    let asked = GetStreamEndpointRequest { session_id: id.clone() };
    let endpoint = clients.isaac.get_stream_endpoint(asked).await.unwrap().into_inner();
    let mut pictures = reqwest::get(&endpoint.url).await.unwrap();
    assert!(pictures.headers()["content-type"].to_str().unwrap().starts_with("multipart/x-mixed-replace"));
    let mut bytes = Vec::new();
    while !bytes.windows(3).any(|window| window == b"\xff\xd8\xff") {
        bytes.extend(pictures.chunk().await.unwrap().expect("a picture before the end"));
    }

    let (actions, sent) = mpsc::channel(8);
    let command = |value: f64| RobotAction {
        session_id: id.clone(),
        joint_commands: vec![JointCommand {
            r#type: "position".into(),
            names: vec!["panda_joint1".into()],
            values: vec![value],
        }],
    };
    actions.send(command(0.5)).await.unwrap();
    let mut states =
        clients.isaac.stream_robot_control(ReceiverStream::new(sent)).await.unwrap().into_inner();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut last = i64::MIN;
    loop {
        let state = states.next().await.unwrap().unwrap();
        assert_eq!(state.session_id, id);
        assert!(state.timestamp >= last, "time runs forward");
        last = state.timestamp;
        let joints = state.joint_state.unwrap();
        assert_eq!(joints.names.len(), joints.positions.len());
        assert_eq!(joints.names.len(), joints.velocities.len());
        let at = joints.names.iter().position(|name| name == "panda_joint1").unwrap();
        if (joints.positions[at] - 0.5).abs() < 0.05 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{joints:?}");
        actions.send(command(0.5)).await.unwrap();
    }
    actions.send(RobotAction { session_id: fresh_id(), ..Default::default() }).await.unwrap();
    let status = loop {
        if let Err(status) = states.next().await.unwrap() {
            break status;
        }
    };
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_becomes_a_training_session_and_keeps_its_simulator() {
    let settings = format!("{SIMULATORS}{TRAINERS}[sessions]\nparallel_envs = 2\n");
    let fleet = Fleet::start(&settings);
    let mut clients = fleet.clients().await;
    let id = fresh_id();
    let manual = clients.neuro.create_session(as_published(&id)).await.unwrap().into_inner();
    let asked = CreateTrainingSessionRequest { session_id: id.clone(), ..Default::default() };
    let made = clients.neuro.create_training_session(asked).await.unwrap().into_inner();
    assert!(made.success, "{made:?}");
    Uuid::parse_str(&made.training_instance_id).unwrap();
    assert_eq!(made.isaac_instance_ids.len(), 2);
    assert_eq!(made.isaac_instance_ids[0], manual.instance_id, "its simulator stays environment 0");
    assert_eq!(made.zmq_channels.len(), 2);
    for (channel, instance) in made.zmq_channels.iter().zip(&made.isaac_instance_ids) {
        assert_eq!((&channel.isaac_instance_id, channel.protocol.as_str()), (instance, "REQ-REP"));
        assert!(channel.zmq_endpoint.starts_with("tcp://"), "{channel:?}");
    }
    assert!(made.debug_ws_url.starts_with("ws://"), "{}", made.debug_ws_url);
    let training = |status: &SessionStatusResponse| {
        status.training_status.as_ref().is_some_and(|it| it.current_episode > 0)
    };
    let status = until(&mut clients, &id, training).await;
    assert_eq!(status.mode(), SessionMode::Training);
    let resources = clients
        .neuro
        .get_resource_pool_status(ResourcePoolStatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    let trainers = resources.training_pool.unwrap();
    assert_eq!((trainers.running_instances, trainers.instances[0].paired_isaac_count), (1, 2));
    let simulators = resources.isaac_pool.unwrap();
    assert!(
        simulators.instances.iter().all(|one| one.paired_with == made.training_instance_id),
        "{simulators:?}"
    );
    let stopped =
        clients.neuro.stop_session(StopSessionRequest { session_id: id, cleanup: true }).await.unwrap();
    assert_eq!(stopped.into_inner().released_instances.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn training_reports_as_it_goes_and_has_a_result_when_it_ends() {
    let settings = format!("{SIMULATORS}{TRAINERS}[sessions]\nparallel_envs = 2\n");
    let fleet = Fleet::start(&settings);
    let mut clients = fleet.clients().await;
    let asked = StartTrainingRequest {
        session_id: fresh_id(),
        epochs: 30,
        learning_rate: 0.001,
        ..Default::default()
    };
    let started = clients.training.start_training(asked).await.unwrap().into_inner();
    let id = started.training_id;
    assert!(started.success && !id.is_empty());
    let ask = || GetTrainingResultRequest { training_id: id.clone() };
    let early = clients.training.get_training_result(ask()).await;
    let progress = GetTrainingProgressRequest { training_id: id.clone() };
    let mut points = clients.training.get_training_progress(progress).await.unwrap().into_inner();
    let first = tokio::time::timeout(Duration::from_secs(60), points.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.total_epochs, 30);
    assert!(first.timestamp > 0 && (0.0..=1.0).contains(&first.progress), "{first:?}");
    assert!(first.metrics.contains_key("steps"), "{first:?}");
    if let Err(status) = early {
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    }
    let rest =
        tokio::time::timeout(Duration::from_secs(120), points.map(Result::unwrap).collect::<Vec<_>>()).await;
    let last = rest.expect("the stream ends with the training").pop().unwrap_or(first);
    assert!(last.current_epoch > 0, "{last:?}");
    let result = clients.training.get_training_result(ask()).await.unwrap().into_inner();
    assert!(result.success && !result.model_path.is_empty() && result.final_reward > 0.0, "{result:?}");
    let stop = StopTrainingRequest { training_id: id, save_checkpoint: true };
    let stopped = clients.training.stop_training(stop).await.unwrap().into_inner();
    assert!(stopped.success, "stopping what has ended is no error");
    assert_eq!(stopped.checkpoint_path, result.checkpoint_path);
}
