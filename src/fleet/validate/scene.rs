//! Scenes and changes of them.

use super::text;
use crate::fleet::error::FleetError;
use crate::fleet::request::SceneChange;
use crate::fleet::settings::Sessions;
use crate::proto::neuro::common::grpc_obstacle::Type;
use crate::proto::neuro::common::{GrpcObstacle, GrpcPosition, GrpcRotation, GrpcSceneConfig};

/// Most obstacles of a scene, and of one change.
const MOST_OBSTACLES: usize = 1000;
/// Farthest from the origin, in metres.
const FARTHEST_M: f64 = 1e6;
/// Longest side of an obstacle, in metres.
const LARGEST_M: f64 = 1e4;

/// A scene with its environment and identity rotations filled in. An empty one gets shadows and physics.
///
/// # Errors
/// `Invalid`, with the field that is wrong.
pub fn with_defaults(scene: &GrpcSceneConfig, settings: &Sessions) -> Result<GrpcSceneConfig, FleetError> {
    let mut filled = scene.clone();
    if *scene == GrpcSceneConfig::default() {
        filled.enable_shadows = true;
        filled.enable_physics = true;
    }
    text("scene_config.robot_urdf", &scene.robot_urdf, 1024)?;
    text("scene_config.environment", &scene.environment, 256)?;
    if scene.environment.split(['/', '\\']).any(|part| part == "..") {
        let problem = format!("{:?} leads out of the scenes folder", scene.environment);
        return Err(FleetError::invalid("scene_config.environment", problem));
    }
    if filled.environment.is_empty() {
        filled.environment.clone_from(&settings.environment);
    }
    if let Some(at) = &scene.start_position {
        position("scene_config.start_position", at)?;
    }
    if let Some(turned) = &mut filled.start_rotation {
        rotation("scene_config.start_rotation", turned)?;
    }
    obstacles("scene_config.obstacles", &mut filled.obstacles)?;
    Ok(filled)
}

/// A change with its sizes and rotations filled in.
///
/// # Errors
/// `Invalid`, with the field that is wrong.
pub fn change(asked: &SceneChange) -> Result<SceneChange, FleetError> {
    let mut filled = asked.clone();
    obstacles("obstacles_to_add", &mut filled.add)?;
    if asked.remove.len() > MOST_OBSTACLES {
        let problem = format!("holds {}; expected at most {MOST_OBSTACLES}", asked.remove.len());
        return Err(FleetError::invalid("obstacles_to_remove", problem));
    }
    for (index, path) in asked.remove.iter().enumerate() {
        let field = format!("obstacles_to_remove[{index}]");
        text(&field, path, 1024)?;
        if !path.starts_with('/') {
            let shown: String = path.chars().take(60).collect();
            let problem = format!("{shown:?} is no prim path; expected one like /World/Obstacles/obstacle_0");
            return Err(FleetError::invalid(field, problem));
        }
    }
    if let Some(at) = &asked.robot_position {
        position("robot_position", at)?;
    }
    Ok(filled)
}

fn obstacles(field: &str, all: &mut [GrpcObstacle]) -> Result<(), FleetError> {
    if all.len() > MOST_OBSTACLES {
        let problem = format!("holds {}; expected at most {MOST_OBSTACLES}", all.len());
        return Err(FleetError::invalid(field, problem));
    }
    for (index, one) in all.iter_mut().enumerate() {
        obstacle(&format!("{field}[{index}]"), one)?;
    }
    Ok(())
}

fn obstacle(field: &str, one: &mut GrpcObstacle) -> Result<(), FleetError> {
    let Ok(kind) = Type::try_from(one.r#type) else {
        let problem = format!("is {}; expected 0 (BOX) to 3 (MESH)", one.r#type);
        return Err(FleetError::invalid(format!("{field}.type"), problem));
    };
    if let Some(at) = &one.position {
        position(&format!("{field}.position"), at)?;
    }
    if let Some(turned) = &mut one.rotation {
        rotation(&format!("{field}.rotation"), turned)?;
    }
    let (sides, names) = match kind {
        Type::Box => (3, "x, y and z"),
        Type::Sphere => (1, "the radius"),
        Type::Cylinder => (2, "radius and height"),
        Type::Mesh => (3, "nothing, or a scale along x, y and z"),
    };
    if one.size.is_empty() {
        one.size = vec![1.0; sides];
    } else if one.size.len() != sides {
        let problem = format!("holds {} numbers; expected {sides}: {names}", one.size.len());
        return Err(FleetError::invalid(format!("{field}.size"), problem));
    }
    if let Some(wrong) = one.size.iter().find(|side| !(**side > 0.0 && **side <= LARGEST_M)) {
        let problem = format!("holds {wrong}; expected more than 0 and at most {LARGEST_M} m");
        return Err(FleetError::invalid(format!("{field}.size"), problem));
    }
    text(&format!("{field}.mesh_path"), &one.mesh_path, 1024)?;
    if kind == Type::Mesh && one.mesh_path.is_empty() {
        return Err(FleetError::invalid(format!("{field}.mesh_path"), "is empty; a MESH needs one"));
    }
    Ok(())
}

fn position(field: &str, at: &GrpcPosition) -> Result<(), FleetError> {
    for (axis, value) in [("x", at.x), ("y", at.y), ("z", at.z)] {
        if !value.is_finite() || value.abs() > FARTHEST_M {
            let problem =
                format!("is {value}; expected a number of metres within {FARTHEST_M} of the origin");
            return Err(FleetError::invalid(format!("{field}.{axis}"), problem));
        }
    }
    Ok(())
}

/// All zeros are what an unset message reads as: the identity. Others are brought to length 1.
fn rotation(field: &str, turned: &mut GrpcRotation) -> Result<(), FleetError> {
    let length = (turned.w.powi(2) + turned.x.powi(2) + turned.y.powi(2) + turned.z.powi(2)).sqrt();
    if !length.is_finite() {
        let problem =
            format!("is ({}, {}, {}, {}); expected four numbers", turned.w, turned.x, turned.y, turned.z);
        return Err(FleetError::invalid(field, problem));
    }
    if length == 0.0 {
        turned.w = 1.0;
        return Ok(());
    }
    if length < 1e-3 {
        return Err(FleetError::invalid(field, format!("has length {length}; expected a unit quaternion")));
    }
    for part in [&mut turned.w, &mut turned.x, &mut turned.y, &mut turned.z] {
        *part /= length;
    }
    Ok(())
}
