//! Bodies of the calls that make and change sessions. The names are those of the gRPC messages; every key is optional
//! unless it says otherwise, and one that is not known is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;
use crate::fleet::access::Identity;
use crate::fleet::request::{CreateSession, SceneChange, SessionOptions};
use crate::fleet::{FleetError, SessionId};
use crate::proto::neuro::common::{
    GrpcObstacle, GrpcPosition, GrpcRotation, GrpcSceneConfig, GrpcStreamConfig, grpc_obstacle,
};
use crate::proto::neuro::orchestrator::{GrpcResourceRequirements, GrpcTrainingConfig, grpc_training_config};

/// `POST /v1/sessions`.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Create {
    /// 1 to 128 of `A-Za-z0-9._:-`; a new UUID when not given. The same id and request again finds the session.
    pub session_id: Option<String>,
    /// `manual` (one simulator, a person), `training` (a trainer and its simulators) or `hybrid` (training that a
    /// person may take over); `manual` when not given.
    pub mode: Option<String>,
    /// What the simulators load.
    pub scene_config: Option<Scene>,
    /// The picture.
    pub stream_config: Option<Stream>,
    /// What is trained.
    pub training_config: Option<Training>,
    /// What the gang consists of.
    pub resource_requirements: Option<Resources>,
    /// Record takeovers for the trainer.
    pub enable_human_demo: bool,
    /// Who pays; a key's owner wins over it.
    pub owner: String,
    /// `low`, `normal` or `high`.
    pub priority: Option<String>,
    /// Labels that simulators must carry; an empty value asks only that the label is there.
    pub requires: BTreeMap<String, String>,
    /// The controller that drives when nobody else does: empty, `local` or the URL of a policy server.
    pub policy: String,
    /// What the policy is told to do.
    pub instruction: String,
    /// `false`: be refused instead of waiting in the queue.
    pub queue: Option<bool>,
    /// How long to wait for the session to be ready, in seconds, 0 to 600; 0 when not given: it is answered as it is.
    pub wait_s: f64,
}

/// A scene.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = FleetScene)]
pub struct Scene {
    /// The robot.
    pub robot_urdf: String,
    /// What stands around.
    pub obstacles: Vec<Obstacle>,
    /// Metres, world frame.
    pub start_position: Option<Position>,
    /// Unit quaternion, world from robot.
    pub start_rotation: Option<Rotation>,
    /// The task or scenario: `balance`, `reach`, or the name of a USDZ.
    pub environment: String,
    /// Draw shadows.
    pub enable_shadows: bool,
    /// Obstacles stop the robot.
    pub enable_physics: bool,
}

/// A picture.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = FleetStream)]
pub struct Stream {
    /// Pixels.
    pub width: i32,
    /// Pixels.
    pub height: i32,
    /// Pictures a second.
    pub fps: i32,
    /// `mjpeg`.
    pub codec: String,
    /// Bits a second.
    pub bitrate: i32,
    /// `http`.
    pub transport: String,
}

/// What stands around.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FleetObstacle)]
pub struct Obstacle {
    /// `BOX`, `SPHERE`, `CYLINDER` or `MESH`.
    pub r#type: String,
    /// Metres, world frame.
    #[serde(default)]
    pub position: Option<Position>,
    /// Unit quaternion, world from obstacle.
    #[serde(default)]
    pub rotation: Option<Rotation>,
    /// Box: x, y, z; sphere: radius; cylinder: radius, height. Metres.
    #[serde(default)]
    pub size: Vec<f64>,
    /// Of a mesh.
    #[serde(default)]
    pub mesh_path: String,
}

/// Metres.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FleetPosition)]
pub struct Position {
    x: f64,
    y: f64,
    z: f64,
}

/// A quaternion.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FleetRotation)]
pub struct Rotation {
    w: f64,
    x: f64,
    y: f64,
    z: f64,
}

/// What is trained.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = FleetTraining)]
pub struct Training {
    /// `PPO`, `SAC`, `TD3`, `DQN` or `A3C`.
    pub algorithm: Option<String>,
    /// 0 for no limit.
    pub total_episodes: i32,
    /// Environments at once.
    pub parallel_envs: i32,
    /// For the trainer.
    pub hyperparameters: BTreeMap<String, String>,
}

/// What the gang consists of.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = FleetResources)]
pub struct Resources {
    /// GPUs that the trainer must have.
    pub training_gpus: i32,
    /// Memory that the trainer must have, in GiB.
    pub training_memory_gb: i32,
    /// Simulators.
    pub isaac_sim_instances: i32,
}

/// `POST /v1/sessions/{id}/scene`.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// Obstacles to add.
    pub add: Vec<Obstacle>,
    /// Prim paths to remove.
    pub remove: Vec<String>,
    /// Where the robot goes, metres in the world frame.
    pub robot_position: Option<Position>,
}

impl Create {
    /// The request it stands for, on behalf of the caller.
    ///
    /// # Errors
    /// `Invalid` with the name of the field.
    pub fn into_request(self, caller: &Identity) -> Result<CreateSession, FleetError> {
        let id: SessionId = match self.session_id {
            Some(id) => id.parse()?,
            None => uuid::Uuid::new_v4().to_string().parse()?,
        };
        let wait = Duration::try_from_secs_f64(self.wait_s).ok().filter(|wait| wait.as_secs() <= 600);
        let wait = wait
            .ok_or_else(|| FleetError::invalid("wait_s", format!("is {}, expected 0 to 600", self.wait_s)))?;
        Ok(CreateSession {
            id,
            mode: words::read_mode("mode", self.mode.as_deref().unwrap_or("manual"))?,
            scene: self.scene_config.map(Scene::into_wire).transpose()?,
            stream: self.stream_config.map(Stream::into_wire),
            training: self.training_config.map(Training::into_wire).transpose()?,
            resources: self.resource_requirements.map(|resources| GrpcResourceRequirements {
                training_gpus: resources.training_gpus,
                training_memory_gb: resources.training_memory_gb,
                isaac_sim_instances: resources.isaac_sim_instances,
            }),
            human_demo: self.enable_human_demo,
            options: SessionOptions {
                owner: caller.acts_for(&self.owner),
                priority: words::read_priority("priority", self.priority.as_deref().unwrap_or("normal"))?,
                requires: self.requires,
                policy: self.policy,
                instruction: self.instruction,
                queue: self.queue,
            },
            wait,
        })
    }
}

impl Scene {
    fn into_wire(self) -> Result<GrpcSceneConfig, FleetError> {
        Ok(GrpcSceneConfig {
            robot_urdf: self.robot_urdf,
            obstacles: obstacles("scene_config.obstacles", self.obstacles)?,
            start_position: self.start_position.map(Position::into_wire),
            start_rotation: self.start_rotation.map(Rotation::into_wire),
            environment: self.environment,
            enable_shadows: self.enable_shadows,
            enable_physics: self.enable_physics,
        })
    }
}

impl Stream {
    fn into_wire(self) -> GrpcStreamConfig {
        let Self { width, height, fps, codec, bitrate, transport } = self;
        GrpcStreamConfig { width, height, fps, codec, bitrate, transport }
    }
}

impl Training {
    fn into_wire(self) -> Result<GrpcTrainingConfig, FleetError> {
        let name = self.algorithm.unwrap_or_else(|| "PPO".to_owned()).to_ascii_uppercase();
        let algorithm = grpc_training_config::Algorithm::from_str_name(&name).ok_or_else(|| {
            let problem = format!("{name:?} is not one of PPO, SAC, TD3, DQN, A3C");
            FleetError::invalid("training_config.algorithm", problem)
        })?;
        Ok(GrpcTrainingConfig {
            algorithm: algorithm.into(),
            total_episodes: self.total_episodes,
            parallel_envs: self.parallel_envs,
            hyperparameters: self.hyperparameters.into_iter().collect(),
        })
    }
}

impl Change {
    /// The change it stands for.
    ///
    /// # Errors
    /// `Invalid` with the name of the field.
    pub fn into_request(self) -> Result<SceneChange, FleetError> {
        Ok(SceneChange {
            add: obstacles("add", self.add)?,
            remove: self.remove,
            robot_position: self.robot_position.map(Position::into_wire),
        })
    }
}

impl Position {
    fn into_wire(self) -> GrpcPosition {
        GrpcPosition { x: self.x, y: self.y, z: self.z }
    }
}

impl Rotation {
    fn into_wire(self) -> GrpcRotation {
        GrpcRotation { w: self.w, x: self.x, y: self.y, z: self.z }
    }
}

fn obstacles(field: &str, list: Vec<Obstacle>) -> Result<Vec<GrpcObstacle>, FleetError> {
    let one = |(index, obstacle): (usize, Obstacle)| {
        let name = obstacle.r#type.to_ascii_uppercase();
        let kind = grpc_obstacle::Type::from_str_name(&name).ok_or_else(|| {
            let problem = format!("{name:?} is not one of BOX, SPHERE, CYLINDER, MESH");
            FleetError::invalid(format!("{field}[{index}].type"), problem)
        })?;
        Ok(GrpcObstacle {
            r#type: kind.into(),
            position: obstacle.position.map(Position::into_wire),
            rotation: obstacle.rotation.map(Rotation::into_wire),
            size: obstacle.size,
            mesh_path: obstacle.mesh_path,
        })
    };
    list.into_iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::access::Role;
    use crate::fleet::spec::{Mode, Priority};

    fn create(text: &str) -> Result<CreateSession, String> {
        let body: Create = serde_json::from_str(text).map_err(|error| error.to_string())?;
        body.into_request(&Identity::anyone()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_body_is_a_manual_session_with_an_id_of_its_own() {
        let request = create("{}").unwrap();
        assert_eq!((request.mode, request.options.priority), (Mode::Manual, Priority::Normal));
        assert_ne!(request.id, create("{}").unwrap().id);
        assert_eq!((request.scene, request.training, request.wait), (None, None, Duration::ZERO));
    }

    #[test]
    fn what_is_given_arrives() {
        let request = create(
            r#"{"session_id":"s1","mode":"hybrid","scene_config":{"environment":"reach","obstacles":[{"type":"box","size":[1,1,1],
            "position":{"x":1,"y":2,"z":3}}]},"training_config":{"parallel_envs":2,"hyperparameters":{"lr":"0.001"}},
            "resource_requirements":{"isaac_sim_instances":2},"enable_human_demo":true,"priority":"high","owner":"ada","wait_s":1.5}"#,
        )
        .unwrap();
        assert_eq!((request.id.as_str(), request.mode), ("s1", Mode::Hybrid));
        let scene = request.scene.unwrap();
        assert_eq!((scene.environment.as_str(), scene.obstacles.len()), ("reach", 1));
        assert_eq!(request.training.unwrap().hyperparameters["lr"], "0.001");
        assert_eq!(request.resources.unwrap().isaac_sim_instances, 2);
        assert_eq!((request.options.owner.as_str(), request.wait), ("ada", Duration::from_millis(1500)));
        assert!(request.human_demo);
    }

    #[test]
    fn a_key_is_never_another_owner() {
        let body = Create { owner: "grace".to_owned(), ..Create::default() };
        let ada = Identity { owner: Some("ada".to_owned()), role: Role::User };
        assert_eq!(body.into_request(&ada).unwrap().options.owner, "ada");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            (r#"{"mode":"fast"}"#, "mode \"fast\" is not one of manual, training, hybrid"),
            (r#"{"session_id":"../x"}"#, "session_id"),
            (r#"{"wait_s":-1}"#, "wait_s is -1, expected 0 to 600"),
            (r#"{"wait_s":1e9}"#, "wait_s is 1000000000, expected 0 to 600"),
            (
                r#"{"training_config":{"algorithm":"ppo2"}}"#,
                "training_config.algorithm \"PPO2\" is not one of",
            ),
            (
                r#"{"scene_config":{"obstacles":[{"type":"cone"}]}}"#,
                "scene_config.obstacles[0].type \"CONE\"",
            ),
            (r#"{"colour":"red"}"#, "unknown field `colour`"),
        ] {
            let said = create(text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
