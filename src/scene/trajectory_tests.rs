use glam::{DMat4, DQuat, DVec3};
use proptest::prelude::*;

use super::Trajectory;
use super::trajectory::TrajectoryError;
use crate::geometry::{Pose, PoseError};

fn at(x_m: f64) -> Pose {
    Pose { translation_m: DVec3::new(x_m, 0.0, 0.0), rotation: DQuat::IDENTITY }
}

fn a_trajectory() -> impl Strategy<Value = Trajectory> {
    prop::collection::btree_map(-1000..1000i64, -5.0..5.0f64, 1..20).prop_map(|knots| {
        Trajectory::new(knots.keys().copied().collect(), knots.into_values().map(at).collect()).unwrap()
    })
}

proptest! {
    #[test]
    fn knots_are_met_and_between_them_nothing_overshoots(path in a_trajectory(), time_us in -1100..1100i64) {
        for (stamp, pose) in path.timestamps_us.iter().zip(&path.poses) {
            prop_assert_eq!(path.pose_at(*stamp).unwrap().translation_m, pose.translation_m);
        }
        let [first, last] = path.range();
        let pose = path.pose_at(time_us);
        prop_assert_eq!(pose.is_some(), first <= time_us && time_us <= last);
        if let Some(pose) = pose {
            let after = path.timestamps_us.partition_point(|stamp| *stamp < time_us);
            let (a, b) = (path.poses[after.saturating_sub(1)].translation_m.x, path.poses[after].translation_m.x);
            prop_assert!(a.min(b) - 1e-9 <= pose.translation_m.x && pose.translation_m.x <= a.max(b) + 1e-9);
        }
    }

    #[test]
    fn sampling_is_asking_at_every_step(path in a_trajectory(), start in -3000..3000i64, length in -10..5000i64, step in 1..500i64) {
        let walked: Vec<_> = (0..)
            .map(|count| start + count * step)
            .take_while(|time| *time <= start + length)
            .filter_map(|time| Some((time, path.pose_at(time)?)))
            .collect();
        prop_assert_eq!(path.sample(start, start + length, step).collect::<Vec<_>>(), walked);
    }
}

#[test]
fn sampling_a_range_far_wider_than_the_poses_costs_nothing() {
    let path = Trajectory::new(vec![1_000, 2_000], vec![at(0.0), at(1.0)]).unwrap();
    assert_eq!(path.sample(i64::MIN, i64::MAX, 1).count(), 1_001);
    assert_eq!(path.sample(i64::MIN, i64::MAX, i64::MAX).count(), 0);
    assert_eq!(path.sample(i64::MAX, i64::MIN, 0).count(), 0);
}

#[test]
fn times_at_the_ends_of_the_range_do_not_overflow() {
    let path = Trajectory::new(vec![i64::MIN, i64::MAX], vec![at(0.0), at(2.0)]).unwrap();
    assert_eq!(path.pose_at(0).unwrap().translation_m.x, 1.0);
    assert_eq!(path.sample(i64::MIN, i64::MAX, i64::MAX).count(), 3);
}

#[test]
fn what_is_no_trajectory_is_refused_by_name() {
    let refused = |stamps: &[i64], poses: usize| {
        Trajectory::new(stamps.to_vec(), vec![at(0.0); poses]).unwrap_err().to_string()
    };
    assert_eq!(refused(&[], 0), "holds no poses");
    assert_eq!(refused(&[1, 2], 3), "has 2 timestamps but 3 poses");
    assert_eq!(refused(&[1, 5, 5], 3), "timestamp 2 is 5, which must be greater than 5 before it");
    let flat = [DMat4::IDENTITY, DMat4::from_scale(DVec3::new(1.0, 0.0, 1.0))];
    let reason = PoseError::Determinant { determinant: 0.0 };
    assert_eq!(Trajectory::from_matrices(vec![0, 1], &flat), Err(TrajectoryError::Pose { index: 1, reason }));
}
