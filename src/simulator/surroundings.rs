//! The obstacles of a scene, by prim path. A path is never given twice, so that an order to remove one that comes late
//! removes nothing else.

use glam::DVec3;
use serde::{Deserialize, Serialize};

use super::error::SimulatorError;
use super::shape::{Shape, read};
use crate::geometry::Pose;
use crate::instance::contract;

/// Under which prim obstacles stand.
const ROOT: &str = "/World/Obstacles/obstacle_";
/// Obstacles of a scene at most.
const MOST: usize = 256;
/// Distances are measured up to here, in metres.
pub const LIDAR_REACH_M: f64 = 10.0;
/// A ray has arrived this close to a surface, in metres.
const TOUCH_M: f64 = 1e-3;
/// A ray is followed for so many strides.
const STRIDES: usize = 64;

/// An obstacle in the scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// `/World/Obstacles/obstacle_0`.
    pub path: String,
    /// As it was added.
    pub obstacle: contract::Obstacle,
    /// Its body.
    pub shape: Shape,
    /// `world_from_obstacle`.
    pub pose: Pose,
}

impl Placed {
    /// How far a point in the world is from the surface; negative inside.
    #[must_use]
    pub fn distance_m(&self, point_m: DVec3) -> f64 {
        self.shape.distance_m(self.pose.inverse().transform_point(point_m))
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    list: Vec<Placed>,
    next: u64,
    /// Whether they stop the robot.
    pub solid: bool,
}

/// As a snapshot holds them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedObstacles {
    next: u64,
    obstacles: Vec<(String, contract::Obstacle)>,
}

impl Surroundings {
    /// Of a scene just loaded.
    ///
    /// # Errors
    /// As [`Surroundings::change`].
    pub fn new(obstacles: &[contract::Obstacle], solid: bool) -> Result<Self, SimulatorError> {
        let mut surroundings = Self { solid, ..Self::default() };
        surroundings.change(obstacles, &[])?;
        Ok(surroundings)
    }

    /// Removes some by their paths, then adds others; answers the paths of those added, in order. All of it or nothing.
    ///
    /// # Errors
    /// When a path is not there, an obstacle makes no sense, or there would be too many.
    pub fn change(
        &mut self,
        add: &[contract::Obstacle],
        remove: &[String],
    ) -> Result<Vec<String>, SimulatorError> {
        if let Some(absent) = remove.iter().find(|path| !self.list.iter().any(|placed| placed.path == **path))
        {
            return Err(SimulatorError::Invalid(format!("there is no obstacle at {absent:?}")));
        }
        let left = self.list.iter().filter(|placed| !remove.contains(&placed.path)).count();
        if left + add.len() > MOST {
            return Err(SimulatorError::Invalid(format!(
                "a scene has at most {MOST} obstacles, and {left} are there: {} more are too many",
                add.len()
            )));
        }
        let bodies = add.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        self.list.retain(|placed| !remove.contains(&placed.path));
        let mut paths = Vec::with_capacity(add.len());
        for (obstacle, (shape, pose)) in add.iter().zip(bodies) {
            let path = format!("{ROOT}{}", self.next);
            self.next += 1;
            paths.push(path.clone());
            self.list.push(Placed { path, obstacle: obstacle.clone(), shape, pose });
        }
        Ok(paths)
    }

    /// What stands there.
    pub fn iter(&self) -> std::slice::Iter<'_, Placed> {
        self.list.iter()
    }

    /// How far a point is from the nearest surface, in metres; infinite where nothing stands.
    #[must_use]
    pub fn distance_m(&self, point_m: DVec3) -> f64 {
        self.list.iter().map(|placed| placed.distance_m(point_m)).fold(f64::INFINITY, f64::min)
    }

    /// Whether a ball that moves from one place to another must stop: it would touch something and come closer to it.
    #[must_use]
    pub fn stops(&self, from_m: DVec3, to_m: DVec3, radius_m: f64) -> bool {
        self.solid
            && self.list.iter().any(|placed| {
                let after = placed.distance_m(to_m);
                after < radius_m && after < placed.distance_m(from_m)
            })
    }

    /// Distances in a level plane through a place, counter-clockwise from a heading, to these obstacles and other bodies.
    #[must_use]
    pub fn lidar(&self, from_m: DVec3, heading_rad: f64, rays: usize, others: &[(Shape, Pose)]) -> Vec<f64> {
        let inverses: Vec<(Shape, Pose)> = self
            .list
            .iter()
            .map(|placed| (placed.shape, placed.pose.inverse()))
            .chain(others.iter().map(|(shape, pose)| (*shape, pose.inverse())))
            .collect();
        let nearest = |point: DVec3| {
            inverses
                .iter()
                .map(|(shape, pose)| shape.distance_m(pose.transform_point(point)))
                .fold(f64::INFINITY, f64::min)
        };
        let ray = |index: usize| {
            let angle = heading_rad + std::f64::consts::TAU * index as f64 / rays as f64;
            let direction = DVec3::new(angle.cos(), angle.sin(), 0.0);
            let mut along = 0.0;
            for _ in 0..STRIDES {
                let free = nearest(from_m + direction * along);
                along += free.max(0.0);
                if free < TOUCH_M || along >= LIDAR_REACH_M {
                    break;
                }
            }
            along.min(LIDAR_REACH_M)
        };
        if inverses.is_empty() { vec![LIDAR_REACH_M; rays] } else { (0..rays).map(ray).collect() }
    }

    /// For a snapshot.
    #[must_use]
    pub fn save(&self) -> SavedObstacles {
        let pairs = self.list.iter().map(|placed| (placed.path.clone(), placed.obstacle.clone()));
        SavedObstacles { next: self.next, obstacles: pairs.collect() }
    }

    /// From a snapshot. Paths given since stay given.
    ///
    /// # Errors
    /// When one makes no sense.
    pub fn restore(&mut self, saved: &SavedObstacles) -> Result<(), SimulatorError> {
        if saved.obstacles.len() > MOST {
            return Err(SimulatorError::Invalid(format!("a scene has at most {MOST} obstacles")));
        }
        let placed = saved.obstacles.iter().map(|(path, obstacle)| {
            let (shape, pose) = read(obstacle)?;
            Ok(Placed { path: path.clone(), obstacle: obstacle.clone(), shape, pose })
        });
        self.list = placed.collect::<Result<Vec<_>, SimulatorError>>()?;
        self.next = self.next.max(saved.next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sphere(x: f64, y: f64, radius: f64) -> contract::Obstacle {
        contract::Obstacle {
            r#type: "SPHERE".into(),
            position: contract::Position { x, y, z: 0.0 },
            size: vec![radius],
            ..contract::Obstacle::default()
        }
    }

    #[test]
    fn paths_are_never_given_twice() {
        let mut scene = Surroundings::new(&[sphere(1.0, 0.0, 0.5), sphere(2.0, 0.0, 0.5)], true).unwrap();
        let removed = "/World/Obstacles/obstacle_1".to_owned();
        assert_eq!(scene.change(&[], std::slice::from_ref(&removed)).unwrap(), Vec::<String>::new());
        let added = scene.change(&[sphere(3.0, 0.0, 0.5)], &[]).unwrap();
        assert_eq!(added, ["/World/Obstacles/obstacle_2"]);
        assert!(scene.change(&[], &[removed]).unwrap_err().to_string().contains("obstacle_1"));
    }

    #[test]
    fn a_change_that_is_refused_changes_nothing() {
        let mut scene = Surroundings::new(&[sphere(1.0, 0.0, 0.5)], true).unwrap();
        let first = ["/World/Obstacles/obstacle_0".to_owned()];
        assert!(scene.change(&[sphere(2.0, 0.0, -1.0)], &first).is_err());
        assert_eq!(scene.iter().count(), 1);
        assert_eq!(scene.change(&[sphere(2.0, 0.0, 1.0)], &[]).unwrap(), ["/World/Obstacles/obstacle_1"]);
    }

    #[test]
    fn too_many_are_refused() {
        let many = vec![sphere(1.0, 0.0, 0.5); MOST + 1];
        assert!(Surroundings::new(&many, true).unwrap_err().to_string().contains("at most 256"));
    }

    #[test]
    fn rays_end_at_surfaces_counter_clockwise_from_ahead() {
        let scene = Surroundings::new(&[sphere(3.0, 0.0, 1.0), sphere(0.0, 5.0, 1.0)], true).unwrap();
        let seen = scene.lidar(DVec3::ZERO, 0.0, 4, &[]);
        for (got, expected) in seen.iter().zip([2.0, 4.0, LIDAR_REACH_M, LIDAR_REACH_M]) {
            assert!((got - expected).abs() < 0.01, "{seen:?}");
        }
        let turned = scene.lidar(DVec3::ZERO, std::f64::consts::FRAC_PI_2, 4, &[]);
        assert!((turned[0] - 4.0).abs() < 0.01 && (turned[3] - 2.0).abs() < 0.01, "{turned:?}");
    }

    #[test]
    fn only_what_comes_closer_is_stopped_and_only_by_solid_things() {
        let mut scene = Surroundings::new(&[sphere(1.0, 0.0, 0.5)], true).unwrap();
        let at = |x: f64| DVec3::X * x;
        assert!(scene.stops(at(0.3), at(0.45), 0.1));
        assert!(!scene.stops(at(0.45), at(0.3), 0.1), "away from it");
        scene.solid = false;
        assert!(!scene.stops(at(0.3), at(0.45), 0.1));
    }

    #[test]
    fn obstacles_survive_a_snapshot_and_their_paths_stay_theirs() {
        let mut scene = Surroundings::new(&[sphere(1.0, 0.0, 0.5), sphere(2.0, 0.0, 0.5)], true).unwrap();
        let saved = scene.save();
        scene.change(&[sphere(9.0, 0.0, 0.5)], &["/World/Obstacles/obstacle_0".to_owned()]).unwrap();
        scene.restore(&saved).unwrap();
        assert_eq!(scene.save().obstacles, saved.obstacles);
        assert_eq!(scene.change(&[sphere(4.0, 0.0, 0.5)], &[]).unwrap(), ["/World/Obstacles/obstacle_3"]);
    }
}
