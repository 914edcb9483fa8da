use std::time::Duration;

use super::*;
use crate::fleet::request::{SceneChange, SessionOptions};
use crate::fleet::spec::Mode;
use crate::proto::neuro::common::{
    GrpcObstacle, GrpcPosition, GrpcRotation, GrpcSceneConfig, GrpcStreamConfig,
};
use crate::proto::neuro::orchestrator::{GrpcResourceRequirements, GrpcTrainingConfig};

fn request(mode: Mode) -> CreateSession {
    CreateSession {
        id: "s-1".parse().unwrap(),
        mode,
        scene: None,
        stream: None,
        training: None,
        resources: None,
        human_demo: false,
        options: SessionOptions::default(),
        wait: Duration::from_secs(1),
    }
}

fn refused(request: &CreateSession) -> (String, String) {
    match plan(request, &Sessions::default()) {
        Err(FleetError::Invalid { field, problem }) => (field, problem),
        other => panic!("expected a refused field, got {other:?}"),
    }
}

#[test]
fn an_empty_request_gets_every_default() {
    let plan = plan(&request(Mode::Training), &Sessions::default()).unwrap();
    assert_eq!(plan.owner, "default");
    assert_eq!(plan.spec.simulators, 4);
    assert_eq!(plan.spec.scene.environment, "balance");
    assert!(plan.spec.scene.enable_physics);
    assert_eq!((plan.spec.stream.width, plan.spec.stream.height, plan.spec.stream.fps), (640, 480, 30));
    let training = plan.spec.training.unwrap();
    assert_eq!((training.algorithm, training.total_episodes, training.parallel_envs), (0, 1000, 4));
}

#[test]
fn absent_and_empty_configs_are_the_same_request() {
    let absent = plan(&request(Mode::Manual), &Sessions::default()).unwrap();
    let mut empty = request(Mode::Manual);
    empty.scene = Some(GrpcSceneConfig::default());
    empty.stream = Some(GrpcStreamConfig::default());
    let empty = plan(&empty, &Sessions::default()).unwrap();
    assert_eq!(absent, empty);
}

#[test]
fn the_hash_tells_requests_apart_and_outlives_a_change_of_the_defaults() {
    let first = plan(&request(Mode::Training), &Sessions::default()).unwrap();
    let other = Sessions { environment: "reach".into(), parallel_envs: 8, ..Sessions::default() };
    let again = plan(&request(Mode::Training), &other).unwrap();
    assert_ne!(first.spec, again.spec);
    assert_eq!(first.request_hash, again.request_hash);
    let mut more = request(Mode::Training);
    more.resources = Some(GrpcResourceRequirements { isaac_sim_instances: 2, ..Default::default() });
    assert_ne!(plan(&more, &Sessions::default()).unwrap().request_hash, first.request_hash);
}

#[test]
fn numbers_that_contradict_each_other_are_both_named() {
    let mut both = request(Mode::Training);
    both.training = Some(GrpcTrainingConfig { parallel_envs: 8, ..Default::default() });
    both.resources = Some(GrpcResourceRequirements { isaac_sim_instances: 3, ..Default::default() });
    let (field, problem) = refused(&both);
    assert_eq!(field, "resource_requirements.isaac_sim_instances");
    assert!(problem.contains("is 3") && problem.contains("training_config.parallel_envs is 8"), "{problem}");
}

#[test]
fn every_number_of_a_stream_out_of_range_names_its_field() {
    let wrong = |edit: fn(&mut GrpcStreamConfig)| {
        let mut asked = request(Mode::Manual);
        let mut stream = GrpcStreamConfig::default();
        edit(&mut stream);
        asked.stream = Some(stream);
        refused(&asked).0
    };
    assert_eq!(wrong(|stream| stream.width = -1), "stream_config.width");
    assert_eq!(wrong(|stream| stream.width = 8), "stream_config.width");
    assert_eq!(wrong(|stream| stream.height = 99_999), "stream_config.height");
    assert_eq!(wrong(|stream| stream.fps = -5), "stream_config.fps");
    assert_eq!(wrong(|stream| stream.fps = 241), "stream_config.fps");
    assert_eq!(wrong(|stream| stream.bitrate = -1), "stream_config.bitrate");
    assert_eq!(wrong(|stream| stream.codec = "quicktime".into()), "stream_config.codec");
    assert_eq!(wrong(|stream| stream.transport = "pigeon".into()), "stream_config.transport");
}

#[test]
fn codecs_are_read_whatever_their_case_and_dots() {
    let mut asked = request(Mode::Manual);
    asked.stream =
        Some(GrpcStreamConfig { codec: "H.264".into(), transport: "WebRTC".into(), ..Default::default() });
    let stream = plan(&asked, &Sessions::default()).unwrap().spec.stream;
    assert_eq!((stream.codec.as_str(), stream.transport.as_str()), ("h264", "webrtc"));
}

#[test]
fn every_number_of_a_scene_out_of_range_names_its_field() {
    let wrong = |edit: fn(&mut GrpcSceneConfig)| {
        let mut asked = request(Mode::Manual);
        let mut scene = GrpcSceneConfig { obstacles: vec![GrpcObstacle::default()], ..Default::default() };
        edit(&mut scene);
        asked.scene = Some(scene);
        refused(&asked).0
    };
    let nan = || GrpcPosition { x: 0.0, y: f64::NAN, z: 0.0 };
    assert_eq!(
        wrong(|scene| scene.start_position = Some(GrpcPosition { x: f64::INFINITY, y: 0.0, z: 0.0 })),
        "scene_config.start_position.x"
    );
    assert_eq!(
        wrong(|scene| scene.start_rotation = Some(GrpcRotation { w: f64::NAN, ..Default::default() })),
        "scene_config.start_rotation"
    );
    assert_eq!(wrong(|scene| scene.environment = "../etc".into()), "scene_config.environment");
    assert_eq!(wrong(|scene| scene.obstacles[0].r#type = 9), "scene_config.obstacles[0].type");
    assert_eq!(wrong(|scene| scene.obstacles[0].size = vec![1.0]), "scene_config.obstacles[0].size");
    assert_eq!(
        wrong(|scene| scene.obstacles[0].size = vec![1.0, -1.0, 1.0]),
        "scene_config.obstacles[0].size"
    );
    assert_eq!(wrong(|scene| scene.obstacles[0].r#type = 3), "scene_config.obstacles[0].mesh_path");
    assert_eq!(
        wrong(|scene| scene.obstacles = vec![GrpcObstacle::default(); 1001]),
        "scene_config.obstacles"
    );
    let mut asked = request(Mode::Manual);
    let obstacle = GrpcObstacle { position: Some(nan()), ..Default::default() };
    asked.scene = Some(GrpcSceneConfig { obstacles: vec![obstacle], ..Default::default() });
    assert_eq!(refused(&asked).0, "scene_config.obstacles[0].position.y");
}

#[test]
fn a_rotation_of_zeros_is_the_identity_and_others_are_brought_to_length_one() {
    let mut asked = request(Mode::Manual);
    asked.scene = Some(GrpcSceneConfig {
        start_rotation: Some(GrpcRotation { w: 2.0, ..Default::default() }),
        obstacles: vec![GrpcObstacle { rotation: Some(GrpcRotation::default()), ..Default::default() }],
        ..Default::default()
    });
    let scene = plan(&asked, &Sessions::default()).unwrap().spec.scene;
    assert_eq!(scene.start_rotation.unwrap().w, 1.0);
    assert_eq!(scene.obstacles[0].rotation.unwrap().w, 1.0);
    assert_eq!(scene.obstacles[0].size, [1.0, 1.0, 1.0]);
}

#[test]
fn training_numbers_out_of_range_name_their_field() {
    let wrong = |edit: fn(&mut GrpcTrainingConfig, &mut GrpcResourceRequirements)| {
        let mut asked = request(Mode::Hybrid);
        let (mut training, mut resources) = Default::default();
        edit(&mut training, &mut resources);
        (asked.training, asked.resources) = (Some(training), Some(resources));
        refused(&asked).0
    };
    assert_eq!(wrong(|training, _| training.algorithm = 5), "training_config.algorithm");
    assert_eq!(wrong(|training, _| training.total_episodes = -1), "training_config.total_episodes");
    assert_eq!(wrong(|training, _| training.parallel_envs = 65), "training_config.parallel_envs");
    let gpus = "resource_requirements.training_gpus";
    assert_eq!(wrong(|_, resources| resources.training_gpus = -1), gpus);
    let memory = "resource_requirements.training_memory_gb";
    assert_eq!(wrong(|_, resources| resources.training_memory_gb = -1), memory);
    let simulators = "resource_requirements.isaac_sim_instances";
    assert_eq!(wrong(|_, resources| resources.isaac_sim_instances = 1000), simulators);
    let empty_name = |training: &mut GrpcTrainingConfig, _: &mut GrpcResourceRequirements| {
        training.hyperparameters.insert(String::new(), "1".into());
    };
    assert_eq!(wrong(empty_name), "training_config.hyperparameters");
}

#[test]
fn a_manual_session_has_one_simulator_and_trains_nothing() {
    let mut many = request(Mode::Manual);
    many.resources = Some(GrpcResourceRequirements { isaac_sim_instances: 2, ..Default::default() });
    assert_eq!(refused(&many).0, "resource_requirements.isaac_sim_instances");
    let mut trains = request(Mode::Manual);
    trains.training = Some(GrpcTrainingConfig { total_episodes: 3, ..Default::default() });
    assert_eq!(refused(&trains).0, "training_config");
}

#[test]
fn a_time_scale_of_zero_is_one_and_nonsense_is_refused() {
    assert_eq!(time_scale(0.0), Ok(1.0));
    assert_eq!(time_scale(-0.0), Ok(1.0));
    assert_eq!(time_scale(2.5), Ok(2.5));
    for wrong in [-1.0, f64::NAN, f64::INFINITY, 1001.0] {
        assert!(matches!(time_scale(wrong), Err(FleetError::Invalid { .. })), "{wrong}");
    }
}

#[test]
fn packed_integers_of_older_clients_are_no_prim_paths() {
    let asked = SceneChange { remove: vec!["\u{1}\u{2}".into()], ..Default::default() };
    let error = scene::change(&asked).unwrap_err();
    assert_eq!(error.to_string(), "obstacles_to_remove[0] holds control characters");
    let asked = SceneChange { remove: vec!["obstacle_0".into()], ..Default::default() };
    assert!(scene::change(&asked).unwrap_err().to_string().contains("is no prim path"));
}

#[test]
fn owners_policies_and_labels_are_checked() {
    let wrong = |edit: fn(&mut SessionOptions)| {
        let mut asked = request(Mode::Manual);
        edit(&mut asked.options);
        refused(&asked).0
    };
    assert_eq!(wrong(|options| options.owner = "a b".into()), "owner");
    assert_eq!(wrong(|options| options.policy = "ftp://x".into()), "policy");
    assert_eq!(wrong(|options| options.instruction = "x".repeat(5000)), "instruction");
    let empty = |options: &mut SessionOptions| drop(options.requires.insert(String::new(), String::new()));
    assert_eq!(wrong(empty), "requires");
}
