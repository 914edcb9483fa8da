//! What obstacles are, as far as a robot can run into them: distances to boxes, spheres and cylinders.

use glam::DVec3;

use super::error::SimulatorError;
use crate::geometry::Pose;
use crate::instance::contract;

/// Nothing reaches further than this from the origin, in metres.
const FURTHEST_M: f64 = 10_000.0;
/// No side is longer than this, in metres.
const LARGEST_M: f64 = 1_000.0;

/// A body, in metres around its centre.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// Half of length, width, height.
    Box(DVec3),
    /// Radius.
    Sphere(f64),
    /// Upright along its z axis: radius, half of the height.
    Cylinder(f64, f64),
}

impl Shape {
    /// How far a point is from the surface, in the body's axes; negative inside.
    #[must_use]
    pub fn distance_m(&self, point_m: DVec3) -> f64 {
        match self {
            Self::Box(half) => {
                let beyond = point_m.abs() - *half;
                beyond.max(DVec3::ZERO).length() + beyond.max_element().min(0.0)
            }
            Self::Sphere(radius) => point_m.length() - radius,
            Self::Cylinder(radius, half_height) => {
                let across = point_m.truncate().length() - radius;
                let along = point_m.z.abs() - half_height;
                across.max(0.0).hypot(along.max(0.0)) + across.max(along).min(0.0)
            }
        }
    }

    /// Length, width, height of the box around it.
    #[must_use]
    pub fn dimensions_m(&self) -> DVec3 {
        match self {
            Self::Box(half) => 2.0 * *half,
            Self::Sphere(radius) => DVec3::splat(2.0 * radius),
            Self::Cylinder(radius, half_height) => DVec3::new(2.0 * radius, 2.0 * radius, 2.0 * half_height),
        }
    }
}

/// Reads an obstacle: its shape and `world_from_obstacle`.
///
/// # Errors
/// With a sentence that names the field that is wrong.
pub fn read(obstacle: &contract::Obstacle) -> Result<(Shape, Pose), SimulatorError> {
    let kind = obstacle.r#type.to_ascii_uppercase();
    let size = |count: usize, meaning: &str| -> Result<&[f64], SimulatorError> {
        let given = &obstacle.size;
        if given.len() != count {
            return Err(invalid(format!(
                "an obstacle of type {kind} has {count} sizes ({meaning}), not {}",
                given.len()
            )));
        }
        match given.iter().find(|side| !(**side > 0.0 && **side <= LARGEST_M)) {
            Some(side) => Err(invalid(format!(
                "an obstacle of type {kind} has a size of {side} m; expected more than 0 and at most {LARGEST_M}"
            ))),
            None => Ok(given),
        }
    };
    let boxed = |size: &[f64]| match *size {
        [x, y, z] => Shape::Box(0.5 * DVec3::new(x, y, z)),
        _ => Shape::Box(DVec3::ZERO),
    };
    let shape = match kind.as_str() {
        "" | "BOX" => boxed(size(3, "x, y, z in metres")?),
        "SPHERE" => Shape::Sphere(size(1, "the radius in metres")?.iter().sum()),
        "CYLINDER" => match *size(2, "radius and height in metres")? {
            [radius, height] => Shape::Cylinder(radius, 0.5 * height),
            _ => Shape::Sphere(0.0),
        },
        "MESH" if obstacle.size.is_empty() => {
            return Err(invalid(format!(
                "the mesh {:?} cannot be loaded: this simulator knows no meshes; give `size` to stand for it as a box",
                obstacle.mesh_path
            )));
        }
        "MESH" => boxed(size(3, "of the box that stands for it")?),
        other => {
            return Err(invalid(format!(
                "an obstacle of type {other:?} is not known; expected BOX, SPHERE, CYLINDER or MESH"
            )));
        }
    };
    Ok((shape, pose(Some(obstacle.position), obstacle.rotation)?))
}

/// A pose as the contract writes it; no rotation, and one of zeros, is none.
///
/// # Errors
/// On numbers that are not finite or too far out.
pub fn pose(
    position: Option<contract::Position>,
    rotation: Option<contract::Rotation>,
) -> Result<Pose, SimulatorError> {
    let contract::Position { x, y, z } = position.unwrap_or_default();
    let translation = [x, y, z];
    let near = |value: &f64| (-FURTHEST_M..=FURTHEST_M).contains(value);
    if let Some(far) = translation.iter().find(|value| !near(value)) {
        return Err(invalid(format!(
            "a position has a coordinate of {far} m; expected at most {FURTHEST_M}"
        )));
    }
    let quaternion = match rotation {
        None => [0.0, 0.0, 0.0, 1.0],
        Some(contract::Rotation { w: 0.0, x: 0.0, y: 0.0, z: 0.0 }) => [0.0, 0.0, 0.0, 1.0],
        Some(contract::Rotation { w, x, y, z }) => [x, y, z, w],
    };
    Pose::from_xyz_quat(translation, quaternion).map_err(|error| invalid(format!("a rotation {error}")))
}

fn invalid(sentence: String) -> SimulatorError {
    SimulatorError::Invalid(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, size: &[f64]) -> contract::Obstacle {
        contract::Obstacle { r#type: kind.into(), size: size.to_vec(), ..contract::Obstacle::default() }
    }

    #[test]
    fn distances_are_those_to_the_surface() {
        let shapes = [Shape::Box(DVec3::splat(1.0)), Shape::Sphere(1.0), Shape::Cylinder(1.0, 1.0)];
        for shape in shapes {
            assert!((shape.distance_m(DVec3::X * 3.0) - 2.0).abs() < 1e-12, "{shape:?}");
            assert!((shape.distance_m(DVec3::Z * 2.0) - 1.0).abs() < 1e-12, "{shape:?}");
            assert!((shape.distance_m(DVec3::ZERO) + 1.0).abs() < 1e-12, "{shape:?}");
        }
        let corner = Shape::Box(DVec3::splat(1.0)).distance_m(DVec3::splat(2.0));
        assert!((corner - 3.0_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_numbers() {
        let refused = |obstacle: &contract::Obstacle| read(obstacle).unwrap_err().to_string();
        assert!(refused(&of("BOX", &[1.0])).contains("3 sizes"));
        assert!(refused(&of("SPHERE", &[-1.0])).contains("-1 m"));
        assert!(refused(&of("SPHERE", &[f64::NAN])).contains("NaN"));
        assert!(refused(&of("TORUS", &[1.0])).contains("TORUS"));
        assert!(
            refused(&contract::Obstacle { mesh_path: "a.obj".into(), ..of("MESH", &[]) }).contains("a.obj")
        );
        let mut far = of("SPHERE", &[1.0]);
        far.position.x = 1e9;
        assert!(refused(&far).contains("1000000000"));
        assert!(read(&of("MESH", &[1.0, 2.0, 3.0])).is_ok());
    }
}
