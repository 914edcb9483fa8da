//! What a scene has, as messages.

use crate::proto::nurec::common::{PoseAtTime, Trajectory};
use crate::proto::nurec::sensorsim::{
    AvailableCamerasReturn, AvailableTrajectoriesReturn, available_cameras_return::AvailableCamera,
    available_trajectories_return::AvailableTrajectory,
};
use crate::render::nurec::{camera_to_wire, pose_to_wire};
use crate::scene::Scenario;

/// The cameras, in the file's order.
pub(super) fn cameras(scenario: &Scenario) -> AvailableCamerasReturn {
    let available_cameras = scenario.cameras.iter().map(|camera| AvailableCamera {
        intrinsics: Some(camera_to_wire(&camera.logical_name, &camera.model)),
        rig_to_camera: Some(pose_to_wire(&camera.rig_from_sensor)),
        logical_id: camera.logical_name.clone(),
        trajectory_idx: 0,
    });
    AvailableCamerasReturn { available_cameras: available_cameras.collect() }
}

/// The ego vehicle's trajectory, the only one.
pub(super) fn trajectories(scenario: &Scenario) -> AvailableTrajectoriesReturn {
    let ego = &scenario.ego;
    let poses = ego.timestamps_us.iter().zip(&ego.poses).map(|(timestamp_us, pose)| PoseAtTime {
        pose: Some(pose_to_wire(pose)),
        timestamp_us: timestamp_us.unsigned_abs(),
    });
    let trajectory = Some(Trajectory { poses: poses.collect() });
    let available = AvailableTrajectory { trajectory_idx: 0, trajectory };
    AvailableTrajectoriesReturn { available_trajectories: vec![available] }
}
