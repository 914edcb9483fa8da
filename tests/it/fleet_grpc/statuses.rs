//! Every field out of range and every unknown id is a status that says what was wrong.

use std::time::Duration;

use neuro::proto::neuro::common::{
    GrpcObstacle, GrpcPosition, GrpcRotation, GrpcSceneConfig, GrpcStreamConfig,
};
use neuro::proto::neuro::ext::*;
use neuro::proto::neuro::isaac_sim;
use neuro::proto::neuro::orchestrator::*;
use neuro::proto::neuro::resource::ReleaseResourcesRequest;
use neuro::proto::neuro::training::{
    GetTrainingProgressRequest, GetTrainingResultRequest, StartTrainingRequest, StopTrainingRequest,
};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::harness::{Fleet, NOBODY, fresh_id, wrong_fields};

fn refused(answer: Result<impl std::fmt::Debug, Status>, field: &str) {
    let status = answer.expect_err(field);
    assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
    let fields = wrong_fields(&status);
    assert_eq!(fields.len(), 1, "{field}: {status:?}");
    assert!(fields[0].starts_with(field), "{field}: {fields:?}");
    assert!(status.message().contains(&fields[0]), "{field}: {}", status.message());
}

fn manual() -> CreateSessionRequest {
    CreateSessionRequest { session_id: fresh_id(), ..Default::default() }
}

fn with_scene(scene: GrpcSceneConfig) -> CreateSessionRequest {
    CreateSessionRequest { scene_config: Some(scene), ..manual() }
}

fn with_obstacle(obstacle: GrpcObstacle) -> CreateSessionRequest {
    with_scene(GrpcSceneConfig { obstacles: vec![obstacle], ..Default::default() })
}

fn with_stream(stream: GrpcStreamConfig) -> CreateSessionRequest {
    CreateSessionRequest { stream_config: Some(stream), ..manual() }
}

fn training() -> CreateTrainingSessionRequest {
    CreateTrainingSessionRequest { session_id: fresh_id(), ..Default::default() }
}

fn with_training(training_config: GrpcTrainingConfig) -> CreateTrainingSessionRequest {
    CreateTrainingSessionRequest { training_config: Some(training_config), ..training() }
}

fn with_resources(resources: GrpcResourceRequirements) -> CreateTrainingSessionRequest {
    CreateTrainingSessionRequest { resource_requirements: Some(resources), ..training() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_a_session_out_of_range_is_named() {
    let fleet = Fleet::start(NOBODY);
    let mut clients = fleet.clients().await;
    for id in ["", "a b", "..", "a/b", &"x".repeat(129)] {
        let request = CreateSessionRequest { session_id: id.to_owned(), ..Default::default() };
        refused(clients.neuro.create_session(request).await, "session_id");
    }
    let far = GrpcPosition { x: f64::NAN, ..Default::default() };
    let flat = GrpcRotation { w: f64::INFINITY, ..Default::default() };
    let wrong = [
        (CreateSessionRequest { mode: SessionMode::Hybrid.into(), ..manual() }, "mode"),
        (CreateSessionRequest { mode: 9, ..manual() }, "mode"),
        (
            with_scene(GrpcSceneConfig { start_position: Some(far), ..Default::default() }),
            "scene_config.start_position",
        ),
        (
            with_scene(GrpcSceneConfig { start_rotation: Some(flat), ..Default::default() }),
            "scene_config.start_rotation",
        ),
        (
            with_scene(GrpcSceneConfig { environment: "../x".into(), ..Default::default() }),
            "scene_config.environment",
        ),
        (
            with_scene(GrpcSceneConfig { robot_urdf: "a\nb".into(), ..Default::default() }),
            "scene_config.robot_urdf",
        ),
        (with_obstacle(GrpcObstacle { r#type: 7, ..Default::default() }), "scene_config.obstacles[0].type"),
        (
            with_obstacle(GrpcObstacle { size: vec![-1.0; 3], ..Default::default() }),
            "scene_config.obstacles[0].size",
        ),
        (
            with_obstacle(GrpcObstacle { size: vec![1.0; 5], ..Default::default() }),
            "scene_config.obstacles[0].size",
        ),
        (
            with_obstacle(GrpcObstacle { r#type: 3, ..Default::default() }),
            "scene_config.obstacles[0].mesh_path",
        ),
        (with_stream(GrpcStreamConfig { width: -1, ..Default::default() }), "stream_config.width"),
        (with_stream(GrpcStreamConfig { height: 100_000, ..Default::default() }), "stream_config.height"),
        (with_stream(GrpcStreamConfig { fps: -5, ..Default::default() }), "stream_config.fps"),
        (with_stream(GrpcStreamConfig { bitrate: -5, ..Default::default() }), "stream_config.bitrate"),
    ];
    for (request, field) in wrong {
        refused(clients.neuro.create_session(request).await, field);
    }
    let wrong = [
        (CreateTrainingSessionRequest { mode: SessionMode::Manual.into(), ..training() }, "mode"),
        (
            with_training(GrpcTrainingConfig { algorithm: 17, ..Default::default() }),
            "training_config.algorithm",
        ),
        (
            with_training(GrpcTrainingConfig { total_episodes: -1, ..Default::default() }),
            "training_config.total_episodes",
        ),
        (
            with_training(GrpcTrainingConfig { parallel_envs: -1, ..Default::default() }),
            "training_config.parallel_envs",
        ),
        (
            with_resources(GrpcResourceRequirements { training_gpus: -1, ..Default::default() }),
            "resource_requirements.training_gpus",
        ),
        (
            with_resources(GrpcResourceRequirements { training_memory_gb: -1, ..Default::default() }),
            "resource_requirements.training_memory_gb",
        ),
        (
            with_resources(GrpcResourceRequirements { isaac_sim_instances: 65, ..Default::default() }),
            "resource_requirements.isaac_sim_instances",
        ),
    ];
    for (request, field) in wrong {
        refused(clients.neuro.create_training_session(request).await, field);
    }
    let hybrid = CreateHybridSessionRequest { session_id: fresh_id(), mode: 1, ..Default::default() };
    refused(clients.neuro.create_hybrid_session(hybrid).await, "mode");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_the_other_services_out_of_range_is_named() {
    let fleet = Fleet::start(NOBODY);
    let mut clients = fleet.clients().await;
    let start = |change: fn(&mut StartTrainingRequest)| {
        let mut request = StartTrainingRequest { session_id: fresh_id(), ..Default::default() };
        change(&mut request);
        request
    };
    let wrong: [(StartTrainingRequest, &str); 5] = [
        (start(|request| request.algorithm = 4), "algorithm"),
        (start(|request| request.epochs = -1), "epochs"),
        (start(|request| request.batch_size = -1), "batch_size"),
        (start(|request| request.learning_rate = f64::NAN), "learning_rate"),
        (start(|request| request.learning_rate = -0.1), "learning_rate"),
    ];
    for (request, field) in wrong {
        refused(clients.training.start_training(request).await, field);
    }
    refused(clients.training.get_training_result(GetTrainingResultRequest::default()).await, "training_id");
    let id = fresh_id();
    let numbers = isaac_sim::UpdateSceneRequest {
        session_id: id.clone(),
        obstacles_to_remove: vec!["\u{1}\u{2}".to_owned()],
        ..Default::default()
    };
    refused(clients.isaac.update_scene(numbers).await, "obstacles_to_remove[0]");
    let list = ListSessionsRequest { phases: vec![99], ..Default::default() };
    refused(clients.sessions.list_sessions(list).await, "phases");
    let list = ListSessionsRequest { page_size: -1, ..Default::default() };
    refused(clients.sessions.list_sessions(list).await, "page_size");
    let watch = WatchSessionRequest { session_id: id.clone(), resume_after: -1 };
    refused(clients.sessions.watch_session(watch).await, "resume_after");
    let take = TakeControlRequest { session_id: id.clone(), ttl_ms: -1, ..Default::default() };
    refused(clients.sessions.take_control(take).await, "ttl_ms");
    let take = TakeControlRequest { session_id: id.clone(), instance_id: "one".into(), ..Default::default() };
    refused(clients.sessions.take_control(take).await, "instance_id");
    let renew = RenewControlRequest { session_id: id, fence: -1, ..Default::default() };
    refused(clients.sessions.renew_control(renew).await, "fence");
    let drain = DrainRequest { deadline_s: -1, ..Default::default() };
    refused(clients.pools.drain(drain).await, "deadline_s");
    let drain = DrainRequest { instance_id: "isaac-sim-1".into(), ..Default::default() };
    refused(clients.pools.drain(drain).await, "instance_id");
    refused(clients.pools.set_quota(SetQuotaRequest::default()).await, "owner");
    let quota = SetQuotaRequest { owner: "a".into(), gpu_hours_per_month: -1.0, ..Default::default() };
    refused(clients.pools.set_quota(quota).await, "gpu_hours_per_month");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_heard_of_is_not_found() {
    let fleet = Fleet::start(NOBODY);
    let mut clients = fleet.clients().await;
    let id = fresh_id;
    let answers: Vec<(&str, Status)> = vec![
        (
            "start",
            clients
                .neuro
                .start_simulation(StartSimulationRequest { session_id: id(), ..Default::default() })
                .await
                .unwrap_err(),
        ),
        (
            "stop",
            clients
                .neuro
                .stop_session(StopSessionRequest { session_id: id(), cleanup: true })
                .await
                .unwrap_err(),
        ),
        (
            "save",
            clients
                .neuro
                .save_session_snapshot(SaveSessionSnapshotRequest { session_id: id(), ..Default::default() })
                .await
                .unwrap_err(),
        ),
        (
            "omniverse",
            clients
                .neuro
                .get_omniverse_connection_info(GetOmniverseConnectionInfoRequest { session_id: id() })
                .await
                .unwrap_err(),
        ),
        (
            "status",
            clients.neuro.get_session_status(GetSessionStatusRequest { session_id: id() }).await.unwrap_err(),
        ),
        (
            "older status",
            clients
                .isaac
                .get_session_status(isaac_sim::GetSessionStatusRequest { session_id: id() })
                .await
                .unwrap_err(),
        ),
        (
            "older stop",
            clients
                .isaac
                .stop_simulation(isaac_sim::StopSimulationRequest { session_id: id(), cleanup: false })
                .await
                .unwrap_err(),
        ),
        (
            "scene",
            clients
                .isaac
                .update_scene(isaac_sim::UpdateSceneRequest { session_id: id(), ..Default::default() })
                .await
                .unwrap_err(),
        ),
        (
            "endpoint",
            clients
                .isaac
                .get_stream_endpoint(isaac_sim::GetStreamEndpointRequest { session_id: id() })
                .await
                .unwrap_err(),
        ),
        (
            "stop training",
            clients
                .training
                .stop_training(StopTrainingRequest { training_id: id(), save_checkpoint: true })
                .await
                .unwrap_err(),
        ),
        (
            "progress",
            clients
                .training
                .get_training_progress(GetTrainingProgressRequest { training_id: id() })
                .await
                .unwrap_err(),
        ),
        (
            "result",
            clients
                .training
                .get_training_result(GetTrainingResultRequest { training_id: id() })
                .await
                .unwrap_err(),
        ),
        (
            "release",
            clients
                .resource
                .release_resources(ReleaseResourcesRequest { session_id: id() })
                .await
                .unwrap_err(),
        ),
        (
            "watch",
            clients
                .sessions
                .watch_session(WatchSessionRequest { session_id: id(), resume_after: 0 })
                .await
                .unwrap_err(),
        ),
        (
            "queue",
            clients
                .sessions
                .get_queue_position(GetQueuePositionRequest { session_id: id() })
                .await
                .unwrap_err(),
        ),
        (
            "take",
            clients
                .sessions
                .take_control(TakeControlRequest { session_id: id(), user: "a".into(), ..Default::default() })
                .await
                .unwrap_err(),
        ),
        (
            "renew",
            clients
                .sessions
                .renew_control(RenewControlRequest { session_id: id(), ..Default::default() })
                .await
                .unwrap_err(),
        ),
        (
            "give back",
            clients
                .sessions
                .release_control(ReleaseControlRequest { session_id: id(), ..Default::default() })
                .await
                .unwrap_err(),
        ),
        (
            "demonstrations",
            clients
                .sessions
                .list_demonstrations(ListDemonstrationsRequest { session_id: id() })
                .await
                .unwrap_err(),
        ),
        (
            "pause",
            clients.sessions.pause_session(PauseSessionRequest { session_id: id() }).await.unwrap_err(),
        ),
        (
            "preempt",
            clients
                .pools
                .preempt(PreemptRequest { session_id: id(), ..Default::default() })
                .await
                .unwrap_err(),
        ),
        (
            "drain",
            clients.pools.drain(DrainRequest { instance_id: id(), ..Default::default() }).await.unwrap_err(),
        ),
    ];
    for (what, status) in answers {
        assert_eq!(status.code(), Code::NotFound, "{what}: {status:?}");
        assert!(status.get_details_resource_info().is_some(), "{what}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_bounds_the_wait_and_the_session_goes_on_waiting() {
    let fleet = Fleet::start(NOBODY);
    let mut clients = fleet.clients().await;
    let id = fresh_id();
    let mut request = Request::new(CreateSessionRequest { session_id: id.clone(), ..Default::default() });
    request.set_timeout(Duration::from_secs(1));
    let begun = std::time::Instant::now();
    let status = clients.neuro.create_session(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    let place = clients.sessions.get_queue_position(GetQueuePositionRequest { session_id: id.clone() }).await;
    let place = place.unwrap().into_inner();
    assert_eq!(place.position, 1);
    assert!(place.waiting_for.contains("simulator"), "{place:?}");
    for expected in [1, 0] {
        let stopped =
            clients.neuro.stop_session(StopSessionRequest { session_id: id.clone(), cleanup: true }).await;
        let stopped = stopped.unwrap().into_inner();
        assert!(stopped.success && stopped.released_instances.is_empty(), "{expected}: {stopped:?}");
    }
    let gone = clients.resource.release_resources(ReleaseResourcesRequest { session_id: id }).await.unwrap();
    assert!(gone.into_inner().success);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_want_to_wait_is_refused_at_once() {
    let fleet = Fleet::start(NOBODY);
    let mut clients = fleet.clients().await;
    let id = fresh_id();
    let mut request = Request::new(CreateSessionRequest { session_id: id.clone(), ..Default::default() });
    request.metadata_mut().insert("neuro-queue", "false".parse().unwrap());
    let status = clients.neuro.create_session(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let left =
        clients.neuro.get_session_status(GetSessionStatusRequest { session_id: id }).await.unwrap_err();
    assert_eq!(left.code(), Code::NotFound, "{left:?}");
    for (name, value) in [("neuro-queue", "perhaps"), ("neuro-priority", "urgent"), ("neuro-requires", "=x")]
    {
        let mut request = Request::new(manual());
        request.metadata_mut().insert(name, value.parse().unwrap());
        refused(clients.neuro.create_session(request).await, name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_fleet_is_not_healthy() {
    let fleet = Fleet::start(NOBODY);
    let mut clients = fleet.clients().await;
    let healthy =
        clients.neuro.health_check(HealthCheckRequest { detailed: true }).await.unwrap().into_inner();
    assert!(healthy.healthy && !healthy.version.is_empty());
    let resources = healthy.resource_status.unwrap();
    assert!(resources.isaac_pool.is_some() && resources.training_pool.is_some());
    clients.pools.drain(DrainRequest { deadline_s: 60, ..Default::default() }).await.unwrap();
    let status = clients.neuro.health_check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.get_details_retry_info().is_some());
    let older = clients.isaac.health_check(isaac_sim::HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(older.code(), Code::Unavailable);
    let status = clients.neuro.create_session(manual()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    clients.pools.undrain(UndrainRequest::default()).await.unwrap();
    assert!(clients.neuro.health_check(HealthCheckRequest::default()).await.unwrap().into_inner().healthy);
}
