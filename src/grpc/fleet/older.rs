//! The older names of the same messages: same numbers, same types, other Rust types.

use crate::proto::neuro::common::{
    GrpcObstacle, GrpcPosition, GrpcRotation, GrpcSceneConfig, GrpcSessionStatus, GrpcStreamConfig, Obstacle,
    Position, Rotation, SceneConfig, SessionStatus, StreamConfig,
};
use crate::proto::neuro::isaac_sim::StreamEndpoint;
use crate::proto::neuro::orchestrator::GrpcStreamEndpoint;

pub(super) fn scene(older: SceneConfig) -> GrpcSceneConfig {
    GrpcSceneConfig {
        robot_urdf: older.robot_urdf,
        obstacles: older.obstacles.into_iter().map(obstacle).collect(),
        start_position: older.start_position.map(position),
        start_rotation: older.start_rotation.map(rotation),
        environment: older.environment,
        enable_shadows: older.enable_shadows,
        enable_physics: older.enable_physics,
    }
}

pub(super) fn stream(older: StreamConfig) -> GrpcStreamConfig {
    GrpcStreamConfig {
        width: older.width,
        height: older.height,
        fps: older.fps,
        codec: older.codec,
        bitrate: older.bitrate,
        transport: older.transport,
    }
}

pub(super) fn obstacle(older: Obstacle) -> GrpcObstacle {
    GrpcObstacle {
        r#type: older.r#type,
        position: older.position.map(position),
        rotation: older.rotation.map(rotation),
        size: older.size,
        mesh_path: older.mesh_path,
    }
}

pub(super) const fn position(older: Position) -> GrpcPosition {
    GrpcPosition { x: older.x, y: older.y, z: older.z }
}

const fn rotation(older: Rotation) -> GrpcRotation {
    GrpcRotation { w: older.w, x: older.x, y: older.y, z: older.z }
}

pub(super) fn status(newer: GrpcSessionStatus) -> SessionStatus {
    SessionStatus {
        status: newer.status,
        fps: newer.fps,
        frame_count: newer.frame_count,
        simulation_time: newer.simulation_time,
        error_message: newer.error_message,
        gpu_utilization: newer.gpu_utilization,
        gpu_memory_mb: newer.gpu_memory_mb,
        cpu_utilization: newer.cpu_utilization,
        created_at_timestamp: newer.created_at_timestamp,
    }
}

pub(super) fn endpoint(newer: GrpcStreamEndpoint) -> StreamEndpoint {
    StreamEndpoint {
        protocol: newer.protocol,
        url: newer.url,
        port: newer.port,
        metadata: newer.metadata,
        width: newer.width,
        height: newer.height,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn number() -> impl Strategy<Value = f64> {
        -1e6..1e6
    }

    fn an_obstacle() -> impl Strategy<Value = Obstacle> {
        let place = (number(), number(), number()).prop_map(|(x, y, z)| Position { x, y, z });
        let turn = (number(), number(), number(), number()).prop_map(|(w, x, y, z)| Rotation { w, x, y, z });
        (0..4_i32, proptest::option::of(place), proptest::option::of(turn), ".{0,8}", number()).prop_map(
            |(kind, position, rotation, mesh_path, side)| Obstacle {
                r#type: kind,
                position,
                rotation,
                size: vec![side; 3],
                mesh_path,
            },
        )
    }

    proptest! {
        #[test]
        fn both_names_of_a_scene_have_the_same_bytes(
            obstacles in proptest::collection::vec(an_obstacle(), 0..4),
            robot_urdf in ".{0,8}",
            environment in ".{0,8}",
            flags in any::<(bool, bool)>(),
        ) {
            let older = SceneConfig {
                robot_urdf,
                obstacles,
                start_position: Some(Position { x: 1.0, y: 2.0, z: 3.0 }),
                start_rotation: Some(Rotation { w: 1.0, x: 0.5, y: 0.25, z: 0.125 }),
                environment,
                enable_shadows: flags.0,
                enable_physics: flags.1,
            };
            prop_assert_eq!(scene(older.clone()).encode_to_vec(), older.encode_to_vec());
        }

        #[test]
        fn both_names_of_a_stream_have_the_same_bytes(numbers in any::<[i32; 4]>(), words in any::<[String; 2]>()) {
            let [width, height, fps, bitrate] = numbers;
            let [codec, transport] = words;
            let older = StreamConfig { width, height, fps, codec, bitrate, transport };
            prop_assert_eq!(stream(older.clone()).encode_to_vec(), older.encode_to_vec());
        }

        #[test]
        fn both_names_of_a_status_have_the_same_bytes(
            whole in any::<(i32, i64, i64, i64)>(), real in (number(), number(), -1e3_f32..1e3, -1e3_f32..1e3),
        ) {
            let newer = GrpcSessionStatus {
                status: whole.0,
                fps: real.0,
                frame_count: whole.1,
                simulation_time: real.1,
                error_message: "e".to_owned(),
                gpu_utilization: real.2,
                gpu_memory_mb: whole.2,
                cpu_utilization: real.3,
                created_at_timestamp: whole.3,
            };
            prop_assert_eq!(status(newer.clone()).encode_to_vec(), newer.encode_to_vec());
        }
    }
}
