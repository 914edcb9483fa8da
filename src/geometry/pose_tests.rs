use std::f64::consts::PI;

use glam::{DMat3, DMat4, DQuat, DVec3, DVec4};
use proptest::prelude::*;

use super::{Pose, PoseError, rotation};

fn a_rotation() -> impl Strategy<Value = DQuat> {
    prop::array::uniform4(-1.0..1.0f64)
        .prop_filter("a direction", |q| q.iter().map(|v| v * v).sum::<f64>() > 1e-3)
        .prop_map(|q| rotation::normalized(q).unwrap())
}

fn a_pose() -> impl Strategy<Value = Pose> {
    (prop::array::uniform3(-1e4..1e4f64), a_rotation())
        .prop_map(|(t, rotation)| Pose { translation_m: DVec3::from_array(t), rotation })
}

fn angle_rad(a: DQuat, b: DQuat) -> f64 {
    rotation::log(rotation::product(a.conjugate(), b)).length()
}

fn same(a: &Pose, b: &Pose) -> bool {
    (a.translation_m - b.translation_m).length() < 1e-9 && angle_rad(a.rotation, b.rotation) < 1e-9
}

proptest! {
    #[test]
    fn a_pose_after_its_inverse_moves_nothing(pose in a_pose()) {
        prop_assert!(same(&pose.compose(&pose.inverse()), &Pose::IDENTITY));
        prop_assert!(same(&pose.inverse().compose(&pose), &Pose::IDENTITY));
    }

    #[test]
    fn composing_is_multiplying_matrices(a in a_pose(), b in a_pose()) {
        let both = Pose::from_matrix(&(a.matrix() * b.matrix())).unwrap();
        prop_assert!(same(&a.compose(&b), &both));
    }

    #[test]
    fn a_pose_survives_its_matrix_and_its_quaternion(pose in a_pose()) {
        prop_assert!(same(&Pose::from_matrix(&pose.matrix()).unwrap(), &pose));
        let again = Pose::from_xyz_quat(pose.translation_m.to_array(), pose.quaternion_xyzw()).unwrap();
        prop_assert!(same(&again, &pose));
    }

    #[test]
    fn interpolation_meets_its_ends_and_stays_unit(a in a_pose(), b in a_pose(), f in 0.0..1.0f64) {
        prop_assert!(same(&a.interpolate(&b, 0.0), &a));
        prop_assert!(same(&a.interpolate(&b, 1.0), &b));
        let between = a.interpolate(&b, f);
        prop_assert!((between.rotation.length() - 1.0).abs() < 1e-14);
        let whole = angle_rad(a.rotation, b.rotation);
        prop_assert!(whole <= PI + 1e-12);
        prop_assert!((angle_rad(a.rotation, between.rotation) - f * whole).abs() < 1e-7);
    }

    #[test]
    fn logarithm_and_exponential_undo_each_other(q in a_rotation()) {
        prop_assert!(angle_rad(rotation::exp(rotation::log(q)), q) < 1e-9);
    }

    #[test]
    fn a_sheared_rotation_becomes_the_nearest_one(q in a_rotation(), stretch in prop::array::uniform3(0.2..5.0f64), axes in a_rotation()) {
        // R (V D V^T) has the polar factor R, whatever the positive stretch D along the axes V.
        let v = DMat3::from_quat(axes);
        let stretched = DMat3::from_quat(q) * v * DMat3::from_diagonal(DVec3::from_array(stretch)) * v.transpose();
        prop_assert!(angle_rad(rotation::from_matrix(&stretched).unwrap(), q) < 1e-9);
    }

    #[test]
    fn scale_does_not_matter(q in a_rotation(), power in -150..150i32) {
        let scaled = DMat3::from_quat(q) * 10f64.powi(power);
        prop_assert!(angle_rad(rotation::from_matrix(&scaled).unwrap(), q) < 1e-9);
    }

    #[test]
    fn the_largest_component_of_a_shown_quaternion_is_positive(pose in a_pose()) {
        let q = pose.quaternion_xyzw();
        let largest = q.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
        prop_assert!(largest > 0.0);
    }

    #[test]
    fn any_matrix_is_refused_or_a_rotation(entries in prop::array::uniform9(prop::num::f64::ANY)) {
        if let Ok(q) = rotation::from_matrix(&DMat3::from_cols_array(&entries)) {
            prop_assert!((q.length() - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn the_first_of_equal_components_decides_the_sign() {
    let q = DQuat::from_xyzw(-0.5, 0.5 + 1e-17, -0.5, 0.5);
    assert!(rotation::sign_by_largest(q).x > 0.0);
    let nearly = DQuat::from_xyzw(-0.5, 0.500_000_001, -0.5, 0.499_999_999);
    assert!(rotation::sign_by_largest(nearly).y > 0.0);
}

#[test]
fn mirrors_and_flat_blocks_are_refused_by_their_determinant() {
    let mirror = DMat4::from_scale(DVec3::new(1.0, -1.0, 1.0));
    assert_eq!(Pose::from_matrix(&mirror), Err(PoseError::Determinant { determinant: -1.0 }));
    let nothing = DMat4::from_cols(DVec4::ZERO, DVec4::ZERO, DVec4::ZERO, DVec4::W);
    assert_eq!(Pose::from_matrix(&nothing), Err(PoseError::Determinant { determinant: 0.0 }));
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let mut matrix = DMat4::IDENTITY;
    matrix.w_axis.z = f64::NAN;
    assert_eq!(Pose::from_matrix(&matrix), Err(PoseError::NotFinite));
    matrix = DMat4::IDENTITY;
    matrix.x_axis.y = f64::INFINITY;
    assert_eq!(Pose::from_matrix(&matrix), Err(PoseError::NotFinite));
    assert_eq!(Pose::from_xyz_quat([0.0; 3], [0.0; 4]), Err(PoseError::ZeroQuaternion));
    assert_eq!(Pose::from_xyz_quat([f64::NAN, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]), Err(PoseError::NotFinite));
}

#[test]
fn a_quaternion_too_small_or_too_large_to_square_still_has_a_direction() {
    for size in [1e-200, 1.0, 1e200] {
        let pose = Pose::from_xyz_quat([0.0; 3], [0.0, 0.0, size, size]).unwrap();
        assert!((pose.yaw_rad() - PI / 2.0).abs() < 1e-12, "{size}");
    }
}
