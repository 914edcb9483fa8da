//! Bodies of the instance contract: REST on a simulator, JSON, every write fenced.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `GET /v1/health` | | 200 [`Health`] |
//! | `PUT /v1/sessions/{id}` | [`Load`] | 201 [`PrimPaths`] |
//! | `POST /v1/sessions/{id}/start` | [`Start`] | 200 `{}` |
//! | `POST /v1/sessions/{id}/pause` | [`Fenced`] | 200 `{}` |
//! | `POST /v1/sessions/{id}/stop` | [`Fenced`] | 200 `{}`: time stands still, the scene stays |
//! | `PATCH /v1/sessions/{id}/scene` | [`ScenePatch`] | 200 [`PrimPaths`] of what was added |
//! | `POST /v1/sessions/{id}/snapshot` | [`SnapshotTo`] | 200 [`Saved`] |
//! | `POST /v1/sessions/{id}/restore` | [`SnapshotTo`] | 200 `{}` |
//! | `POST /v1/sessions/{id}/controller` | [`SetController`] | 200 `{}` |
//! | `DELETE /v1/sessions/{id}?fence=N` | | 204; a session that it does not have, too |
//! | `GET /v1/sessions/{id}/frame.jpg` | | the newest picture |
//! | `GET /stream/{id}` | | MJPEG (`multipart/x-mixed-replace`) |
//! | websocket `/control/{id}?fence=N` | [`ToRobot`] | [`FromRobot`] |
//!
//! A fence lower than the highest that the instance has seen answers 409 with `code` `stale_fence` and `fence`; a higher
//! one in a `PUT` ends whatever ran before (its websockets close with code 4409). Other errors: [`Problem`] with
//! `not_found` (404), `invalid` (422), `wrong_phase` (409).

use serde::{Deserialize, Serialize};

use crate::proto::neuro::common;

/// `GET /v1/health`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Whether a session can be loaded.
    pub ready: bool,
    /// Physics steps a second, measured.
    pub fps: f64,
    /// Physics steps since the scene was loaded.
    pub frame_count: i64,
    /// Seconds of simulated time.
    pub sim_time: f64,
    /// GPUs it uses.
    pub gpus: Vec<Gpu>,
    /// Its UUID; empty where it has none of its own (a static instance then gets one from its URL).
    pub instance_id: String,
    /// Its display name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it can do.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The session it runs; empty for none.
    pub session: String,
    /// The highest fence it has seen.
    pub fence: u64,
    /// 0 to 1.
    pub cpu_utilization: f32,
    /// Whether a control websocket is open.
    pub client_connected: bool,
    /// When the last command came, Unix ms.
    pub last_command_ms: i64,
    /// Control websocket, without the session's id.
    pub control_ws_url: String,
    /// reset/step socket.
    pub zmq_endpoint: String,
    /// Pictures, without the session's id.
    pub stream_url: String,
}

/// A GPU of an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpu {
    /// As `nvidia-smi` counts.
    pub index: u32,
    /// Its UUID.
    pub uuid: String,
    /// Its model.
    pub name: String,
    /// MiB.
    pub memory_total_mb: i64,
    /// MiB.
    pub memory_used_mb: i64,
    /// 0 to 1.
    pub utilization: f32,
}

/// `PUT /v1/sessions/{id}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Of this grant.
    pub fence: u64,
    /// What to simulate.
    pub scene_config: Scene,
    /// The picture.
    pub stream_config: Stream,
}

/// `common.GrpcSceneConfig` as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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

/// `common.GrpcStreamConfig` as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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

/// `common.GrpcObstacle` as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Obstacle {
    /// `BOX`, `SPHERE`, `CYLINDER` or `MESH`.
    pub r#type: String,
    /// Metres, world frame.
    pub position: Position,
    /// Unit quaternion, world from obstacle.
    pub rotation: Option<Rotation>,
    /// Box: x, y, z; sphere: radius; cylinder: radius, height. Metres.
    pub size: Vec<f64>,
    /// Of a mesh.
    pub mesh_path: String,
}

/// Metres.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// Metres.
    pub x: f64,
    /// Metres.
    pub y: f64,
    /// Metres.
    pub z: f64,
}

/// A quaternion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rotation {
    /// Real part.
    pub w: f64,
    /// i.
    pub x: f64,
    /// j.
    pub y: f64,
    /// k.
    pub z: f64,
}

/// A body with nothing but its fence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fenced {
    /// Of the grant.
    pub fence: u64,
}

/// `POST .../start`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    /// Of the grant.
    pub fence: u64,
    /// Keep to the wall clock.
    pub real_time: bool,
    /// Simulated seconds a second; 0 is 1.
    pub time_scale: f64,
}

/// `PATCH .../scene`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScenePatch {
    /// Of the grant.
    pub fence: u64,
    /// Obstacles to add.
    pub add: Vec<Obstacle>,
    /// Prim paths to remove.
    pub remove: Vec<String>,
    /// Where the robot goes.
    pub robot_position: Option<Position>,
}

/// Where the obstacles stand in the scene: `/World/Obstacles/obstacle_0`, one for each, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimPaths {
    /// One each.
    pub prim_paths: Vec<String>,
}

/// `POST .../snapshot` and `.../restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotTo {
    /// Of the grant.
    pub fence: u64,
    /// A `file://` URI of the file to write or read.
    pub uri: String,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// Where.
    pub uri: String,
    /// Of the file.
    pub size_bytes: u64,
    /// Of the file.
    pub sha256: String,
}

/// `POST .../controller`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetController {
    /// Of the grant.
    pub fence: u64,
    /// `policy`, `human` or `none`.
    pub controller: String,
    /// The person.
    pub user: String,
}

/// An error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// A sentence.
    pub detail: String,
    /// `stale_fence`, `not_found`, `invalid`, `wrong_phase`.
    pub code: String,
    /// The highest fence seen, with `stale_fence`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
}

/// A command on the control websocket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToRobot {
    /// Drive: forward and sideways. A base moves in m/s; an arm moves its hand in m/s along world x and y. Held for
    /// `COMMAND_HOLD`, then 0: a client that vanishes does not leave a robot running.
    RobotControl {
        /// m/s.
        velocity: Velocity,
    },
    /// Joint targets.
    JointCommand {
        /// One or more groups.
        commands: Vec<JointGroup>,
    },
    /// A policy's action: dx dy dz (m), droll dpitch dyaw (rad), gripper (0 closed to 1 open), in the robot's base frame.
    Action {
        /// Seven numbers.
        action: Vec<f64>,
    },
    /// `manual` or `ai`.
    Mode {
        /// Which.
        mode: String,
    },
}

/// A velocity in the plane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Velocity {
    /// m/s.
    pub x: f64,
    /// m/s.
    pub y: f64,
    /// m/s, up.
    pub z: f64,
    /// rad/s about up.
    pub yaw: f64,
}

/// Some joints and what they are to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JointGroup {
    /// `position` (rad, m), `velocity` (rad/s, m/s) or `effort` (N m, N).
    pub r#type: String,
    /// Which joints.
    pub names: Vec<String>,
    /// One value each.
    pub values: Vec<f64>,
}

/// What comes back on the control websocket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromRobot {
    /// 50 times a second.
    RobotState {
        /// Simulated time, in ns.
        timestamp: i64,
        /// Joints.
        names: Vec<String>,
        /// rad or m.
        positions: Vec<f64>,
        /// rad/s or m/s.
        velocities: Vec<f64>,
        /// The hand or the base in the world: x, y, z (m), w, x, y, z.
        pose: Vec<f64>,
    },
    /// 10 times a second.
    SensorData {
        /// Simulated time, in ns.
        timestamp: i64,
        /// Distances, in metres, counter-clockwise from ahead; at most 10 m.
        lidar: Vec<f64>,
        /// Reward of the running task since the last message.
        reward: f64,
        /// Whether the running episode ended since the last message.
        done: bool,
    },
    /// One step of the task was done, whoever chose the action: what a demonstration is made of.
    Step(Step),
    /// Who drives.
    Mode {
        /// `manual` or `ai`.
        mode: String,
    },
    /// A command was refused; the connection stays.
    Error {
        /// Why.
        message: String,
    },
}

/// One step of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Simulated time before the step, in ns.
    pub timestamp: i64,
    /// What the task showed before the step.
    pub observation: Vec<f64>,
    /// What was really done, in the task's terms: what a trainer would have sent.
    pub action: Vec<f64>,
    /// For it.
    pub reward: f64,
    /// Whether the episode ended with it.
    pub done: bool,
    /// `human`, `policy`, `trainer` or `none`.
    pub controller: String,
}

impl From<&common::GrpcPosition> for Position {
    fn from(position: &common::GrpcPosition) -> Self {
        Self { x: position.x, y: position.y, z: position.z }
    }
}

impl From<&common::GrpcRotation> for Rotation {
    fn from(rotation: &common::GrpcRotation) -> Self {
        Self { w: rotation.w, x: rotation.x, y: rotation.y, z: rotation.z }
    }
}

impl From<&common::GrpcObstacle> for Obstacle {
    fn from(obstacle: &common::GrpcObstacle) -> Self {
        Self {
            r#type: obstacle.r#type().as_str_name().to_owned(),
            position: obstacle.position.as_ref().map(Position::from).unwrap_or_default(),
            rotation: obstacle.rotation.as_ref().map(Rotation::from),
            size: obstacle.size.clone(),
            mesh_path: obstacle.mesh_path.clone(),
        }
    }
}

impl From<&common::GrpcSceneConfig> for Scene {
    fn from(scene: &common::GrpcSceneConfig) -> Self {
        Self {
            robot_urdf: scene.robot_urdf.clone(),
            obstacles: scene.obstacles.iter().map(Obstacle::from).collect(),
            start_position: scene.start_position.as_ref().map(Position::from),
            start_rotation: scene.start_rotation.as_ref().map(Rotation::from),
            environment: scene.environment.clone(),
            enable_shadows: scene.enable_shadows,
            enable_physics: scene.enable_physics,
        }
    }
}

impl From<&common::GrpcStreamConfig> for Stream {
    fn from(stream: &common::GrpcStreamConfig) -> Self {
        Self {
            width: stream.width,
            height: stream.height,
            fps: stream.fps,
            codec: stream.codec.clone(),
            bitrate: stream.bitrate,
            transport: stream.transport.clone(),
        }
    }
}
