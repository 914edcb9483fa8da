//! The camera models against a second implementation of their definitions: inverses by bisection instead of Newton's
//! method, plain powers instead of Horner's scheme, in code that shares nothing with the first.

use glam::{DQuat, DVec2, DVec3};
use proptest::prelude::*;

use super::*;
use crate::geometry::Pose;

fn wide() -> FTheta {
    FTheta {
        principal_point: [958.7, 541.3],
        reference: ReferencePolynomial::AngleToPixelDistance,
        pixel_distance_to_angle: [0.0, 1.0 / 929.0, 0.0, 0.0, 0.0, 0.0],
        angle_to_pixel_distance: [0.0, 929.0, 4.2, -31.0, 12.5, -9.8],
        max_angle_rad: 1.3,
        linear_cde: [1.0, 0.0, 0.0],
    }
}

fn camera(projection: Projection) -> CameraModel {
    CameraModel {
        resolution: [1920, 1080],
        shutter: Shutter::RollingTopToBottom,
        projection,
        windshield: None,
    }
}

/// A windshield measured on a car, from NCore's tests of its file format.
fn measured_windshield(reference: WindshieldReference) -> Windshield {
    Windshield {
        reference,
        horizontal: vec![-0.000475919, 0.99944007, 0.00016674, 0.00020588, 0.00551955, 0.00086102],
        vertical: vec![
            0.0015277,
            -0.00053253,
            -0.0000565,
            -0.000004,
            0.00060816,
            1.00943136,
            -0.00125278,
            0.00823396,
            -0.00029376,
            0.01854736,
            -0.00307421,
            0.00599765,
            0.01720304,
            -0.00364979,
            0.00691474,
        ],
        horizontal_inverse: vec![
            0.0004770369,
            1.0005774,
            -0.00016896478,
            -0.00020207358,
            -0.0054899976,
            -0.0008536868,
        ],
        vertical_inverse: vec![
            -0.0015191488,
            0.00052959577,
            7.882431e-5,
            -6.966009e-6,
            -0.00059701066,
            0.9906775,
            0.00116782,
            -0.007893825,
            0.00026140467,
            -0.017767625,
            0.0027627628,
            -0.00544897,
            -0.015480865,
            0.0033684247,
            -0.0057964055,
        ],
    }
}

/// The definitions again: plain sums of powers, and inverses by bisection.
mod second {
    use super::*;

    pub fn sum(coefficients: &[f64], x: f64) -> f64 {
        coefficients.iter().enumerate().map(|(order, c)| c * x.powi(i32::try_from(order).unwrap())).sum()
    }

    pub fn bisect(mut low: f64, mut high: f64, rising: impl Fn(f64) -> f64) -> f64 {
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if rising(middle) < 0.0 { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// c0 + c1 x + c2 x^2 + (c3 + c4 x) y + c5 y^2 and its bigger siblings, by two explicit indices.
    pub fn triangular(coefficients: &[f64], x: f64, y: f64) -> f64 {
        let degree = (0..9).find(|n| (n + 1) * (n + 2) / 2 == coefficients.len()).unwrap();
        let mut index = 0;
        let mut total = 0.0;
        for j in 0..=degree {
            for i in 0..=(degree - j) {
                total += coefficients[index] * x.powi(i as i32) * y.powi(j as i32);
                index += 1;
            }
        }
        total
    }

    pub fn project(lens: &Projection, p: DVec3) -> DVec2 {
        let around = p.y.atan2(p.x);
        let angle = (p.z / p.length()).acos();
        match lens {
            Projection::FTheta(l) => {
                let r = match l.reference {
                    ReferencePolynomial::AngleToPixelDistance => sum(&l.angle_to_pixel_distance, angle),
                    ReferencePolynomial::PixelDistanceToAngle => {
                        bisect(0.0, 1600.0, |r| sum(&l.pixel_distance_to_angle, r) - angle)
                    }
                };
                let [c, d, e] = l.linear_cde;
                let linear = glam::DMat2::from_cols_array(&[c, e, d, 1.0]);
                linear * (r * DVec2::from_angle(around)) + DVec2::from_array(l.principal_point) + 0.5
            }
            Projection::Pinhole(l) => {
                let (x, y) = (p.x / p.z, p.y / p.z);
                let [k1, k2, k3, k4, k5, k6] = l.radial;
                let ([p1, p2], [s1, s2, s3, s4]) = (l.tangential, l.thin_prism);
                let r = x.hypot(y);
                let radial =
                    sum(&[1.0, 0.0, k1, 0.0, k2, 0.0, k3], r) / sum(&[1.0, 0.0, k4, 0.0, k5, 0.0, k6], r);
                let u =
                    x * radial + 2.0 * p1 * x * y + p2 * (r * r + 2.0 * x * x) + s1 * r * r + s2 * r.powi(4);
                let v =
                    y * radial + p1 * (r * r + 2.0 * y * y) + 2.0 * p2 * x * y + s3 * r * r + s4 * r.powi(4);
                DVec2::new(
                    l.focal_length[0] * u + l.principal_point[0],
                    l.focal_length[1] * v + l.principal_point[1],
                )
            }
            Projection::Fisheye(l) => {
                let [k1, k2, k3, k4] = l.radial;
                let r =
                    angle + k1 * angle.powi(3) + k2 * angle.powi(5) + k3 * angle.powi(7) + k4 * angle.powi(9);
                let flat = r * DVec2::from_angle(around);
                DVec2::new(
                    l.focal_length[0] * flat.x + l.principal_point[0],
                    l.focal_length[1] * flat.y + l.principal_point[1],
                )
            }
        }
    }
}

/// Points of a grid over the whole picture, corners included.
fn pixels() -> impl Iterator<Item = DVec2> {
    (0..=16).flat_map(|i| (0..=12).map(move |j| DVec2::new(f64::from(i) * 120.0, f64::from(j) * 90.0)))
}

/// Both implementations agree wherever the picture shows anything, and unprojecting undoes projecting.
fn check(model: &CameraModel) -> usize {
    let mut seen = 0;
    for pixel in pixels() {
        let Some(ray) = model.unproject(pixel) else { continue };
        seen += 1;
        assert!((ray.length() - 1.0).abs() < 1e-12);
        let again = model.project(ray * 7.5).expect("what is shown can be projected");
        assert!(again.distance(pixel) < 1e-6, "round trip {pixel} -> {again} in {model:?}");
        if model.windshield.is_none() {
            let other = second::project(&model.projection, ray * 7.5);
            assert!(other.distance(pixel) < 1e-6, "second opinion {pixel} -> {other} in {model:?}");
        }
    }
    seen
}

fn any_ftheta() -> impl Strategy<Value = FTheta> {
    (
        (940.0..980.0, 520.0..560.0),
        700.0..1200.0,
        (-20.0..20.0, -40.0..40.0, -10.0..10.0, -5.0..5.0),
        any::<bool>(),
        (0.99..1.01, -0.01..0.01, -0.01..0.01),
        0.6..1.3f64,
    )
        .prop_map(|((cx, cy), f, (a, b, c, d), forward, (lc, ld, le), max)| FTheta {
            principal_point: [cx, cy],
            reference: if forward {
                ReferencePolynomial::AngleToPixelDistance
            } else {
                ReferencePolynomial::PixelDistanceToAngle
            },
            angle_to_pixel_distance: [0.0, f, a, b, c, d],
            pixel_distance_to_angle: [0.0, 1.0 / f, a * 1e-9, b * 1e-12, c * 1e-16, 0.0],
            max_angle_rad: max,
            linear_cde: [lc, ld, le],
        })
}

fn any_pinhole() -> impl Strategy<Value = Pinhole> {
    (
        (900.0..1000.0, 500.0..580.0),
        (1000.0..2000.0, 1000.0..2000.0),
        prop::array::uniform6(-0.05..0.05),
        prop::array::uniform2(-0.002..0.002),
        prop::array::uniform4(-0.002..0.002),
    )
        .prop_map(|((cx, cy), (fx, fy), radial, tangential, thin_prism)| Pinhole {
            principal_point: [cx, cy],
            focal_length: [fx, fy],
            radial,
            tangential,
            thin_prism,
        })
}

fn any_fisheye() -> impl Strategy<Value = Fisheye> {
    (
        (900.0..1000.0, 500.0..580.0),
        (450.0..900.0, 450.0..900.0),
        (-0.03..0.03, -0.006..0.006, -0.001..0.001, -0.0002..0.001),
        1.0..1.9f64,
    )
        .prop_map(|((cx, cy), (fx, fy), (k1, k2, k3, k4), max_angle_rad)| Fisheye {
            principal_point: [cx, cy],
            focal_length: [fx, fy],
            radial: [k1, k2, k3, k4],
            max_angle_rad,
        })
}

proptest! {
    #[test]
    fn any_ftheta_lens_agrees_with_its_definition_over_the_whole_picture(lens in any_ftheta()) {
        prop_assert!(check(&camera(Projection::FTheta(lens))) > 30);
    }

    #[test]
    fn any_pinhole_lens_agrees_with_its_definition_over_the_whole_picture(lens in any_pinhole()) {
        prop_assert!(check(&camera(Projection::Pinhole(lens))) > 30);
    }

    #[test]
    fn any_fisheye_lens_agrees_with_its_definition_over_the_whole_picture(lens in any_fisheye()) {
        prop_assert!(check(&camera(Projection::Fisheye(lens))) > 30);
    }

    #[test]
    fn no_point_whatever_makes_a_camera_answer_with_nonsense(
        x in any::<f64>(), y in any::<f64>(), z in any::<f64>(), lens in any_ftheta(),
    ) {
        let model = camera(Projection::FTheta(lens));
        if let Some(pixel) = model.project(DVec3::new(x, y, z)) {
            prop_assert!(pixel.is_finite());
        }
        if let Some(ray) = model.unproject(DVec2::new(x, y)) {
            prop_assert!((ray.length() - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn a_windshield_is_undone_exactly_in_both_directions() {
    for reference in [WindshieldReference::Forward, WindshieldReference::Backward] {
        let mut model = camera(Projection::FTheta(wide()));
        model.windshield = Some(measured_windshield(reference));
        assert!(check(&model) > 150);
    }
}

#[test]
fn the_reference_polynomials_of_a_windshield_follow_their_definition() {
    let lens = wide();
    let ray = DVec3::new(0.3, -0.2, 0.9).normalize();
    let bend = |h: &[f64], v: &[f64], ray: DVec3| {
        let x = second::triangular(h, ray.x.asin(), ray.y.asin()).sin();
        let y = second::triangular(v, ray.x.asin(), ray.y.asin()).sin();
        DVec3::new(x, y, (1.0 - x * x - y * y).sqrt())
    };
    let mut model = camera(Projection::FTheta(lens.clone()));
    let glass = measured_windshield(WindshieldReference::Forward);
    let inside = bend(&glass.horizontal, &glass.vertical, ray);
    model.windshield = Some(glass);
    let expected = second::project(&Projection::FTheta(lens), inside);
    assert!(model.project(ray).unwrap().distance(expected) < 1e-9);

    let glass = measured_windshield(WindshieldReference::Backward);
    let pixel = DVec2::new(1300.0, 300.0);
    let inside = camera(model.projection.clone()).unproject(pixel).unwrap();
    let expected = bend(&glass.horizontal_inverse, &glass.vertical_inverse, inside);
    model.windshield = Some(glass);
    assert!(model.unproject(pixel).unwrap().distance(expected) < 1e-12);
}

#[test]
fn the_axis_of_an_ftheta_lens_is_half_a_pixel_past_its_principal_point() {
    let pixel = camera(Projection::FTheta(wide())).project(DVec3::Z).unwrap();
    assert_eq!(pixel, DVec2::new(959.2, 541.8));
    let fisheye = Fisheye {
        principal_point: [960.0, 540.0],
        focal_length: [500.0, 500.0],
        radial: [0.0; 4],
        max_angle_rad: 1.6,
    };
    assert_eq!(camera(Projection::Fisheye(fisheye)).project(DVec3::Z).unwrap(), DVec2::new(960.0, 540.0));
}

#[test]
fn a_lens_sees_up_to_its_maximal_angle_and_no_further() {
    let model = camera(Projection::FTheta(wide()));
    let at = |angle: f64| model.project(DVec3::new(angle.sin(), 0.0, angle.cos()));
    assert!(at(1.2999).is_some() && at(1.3001).is_none() && at(3.0).is_none());
    assert_eq!(model.project(DVec3::NEG_Z), None);
    assert_eq!(model.project(DVec3::ZERO), None);
    assert_eq!(model.unproject(DVec2::new(3000.0, 541.0)), None);
}

#[test]
fn a_fisheye_of_more_than_half_the_sphere_sees_behind_itself() {
    let fisheye = Fisheye {
        principal_point: [960.0, 540.0],
        focal_length: [300.0, 300.0],
        radial: [0.01, -0.001, 0.0, 0.0],
        max_angle_rad: 1.8,
    };
    let model = camera(Projection::Fisheye(fisheye));
    let behind = DVec3::new(1.0, 0.0, -0.15);
    let pixel = model.project(behind).unwrap();
    assert!(pixel.x > 960.0 + 300.0 * 1.57);
    assert!(model.unproject(pixel).unwrap().distance(behind.normalize()) < 1e-12);
}

#[test]
fn a_maximal_angle_and_an_affine_part_of_zero_mean_none() {
    let mut lens = wide();
    lens.max_angle_rad = 0.0;
    lens.linear_cde = [0.0; 3];
    let model = camera(Projection::FTheta(lens));
    let same = camera(Projection::FTheta(wide()));
    let point = DVec3::new(0.4, 0.1, 1.0);
    assert_eq!(model.project(point), same.project(point));
}

#[test]
fn a_pinhole_rejects_points_where_its_polynomial_folds_back() {
    let lens = Pinhole {
        principal_point: [960.0, 540.0],
        focal_length: [1000.0, 1000.0],
        radial: [-0.3, 0.0, 0.0, 0.0, 0.0, 0.0],
        tangential: [0.0; 2],
        thin_prism: [0.0; 4],
    };
    let model = camera(Projection::Pinhole(lens));
    assert!(model.project(DVec3::new(0.8, 0.0, 1.0)).is_some());
    assert_eq!(
        model.project(DVec3::new(1.8, 0.0, 1.0)),
        None,
        "it would land inside the picture, at 1010 px"
    );
    assert_eq!(model.project(DVec3::new(0.0, 0.0, -1.0)), None);
}

#[test]
fn lines_are_exposed_in_the_order_of_the_shutter() {
    let mut model = camera(Projection::FTheta(wide()));
    let mut at = |shutter, x: f64, y: f64| {
        model.shutter = shutter;
        model.shutter_fraction(DVec2::new(x, y))
    };
    assert_eq!(at(Shutter::RollingTopToBottom, 5.0, 0.5), 0.0);
    assert_eq!(at(Shutter::RollingTopToBottom, 5.0, 1079.5), 1.0);
    assert_eq!(at(Shutter::RollingBottomToTop, 5.0, 1079.5), 0.0);
    assert_eq!(at(Shutter::RollingBottomToTop, 5.0, 0.5), 1.0);
    assert_eq!(at(Shutter::RollingLeftToRight, 1919.5, 5.0), 1.0);
    assert_eq!(at(Shutter::RollingRightToLeft, 1919.5, 5.0), 0.0);
    assert_eq!(at(Shutter::RollingTopToBottom, 5.0, -40.0), 0.0);
    assert_eq!(at(Shutter::RollingTopToBottom, 5.0, 2000.0), 1.0);
    assert_eq!(at(Shutter::Global, 5.0, 700.0), 0.0);
    assert_eq!(at(Shutter::Unknown, 5.0, 700.0), 0.0);
}

#[test]
fn a_point_seen_by_a_moving_camera_projects_from_the_pose_of_its_own_row() {
    let model = camera(Projection::FTheta(wide()));
    let start = Pose::IDENTITY;
    let end = Pose { translation_m: DVec3::new(0.5, 0.0, 0.9), rotation: DQuat::from_rotation_y(0.02) };
    for (x, y) in [(-3.0, 2.0), (4.0, -3.0), (0.0, 0.5), (6.0, 4.0)] {
        let point = DVec3::new(x, y, 12.0);
        let (pixel, fraction) = model.project_moving(point, &[start, end]).unwrap();
        assert_eq!(fraction, model.shutter_fraction(pixel));
        let pose = pose_during_shutter(&[start, end], fraction);
        let ray = pose.rotation * model.unproject(pixel).unwrap();
        let towards = (point - pose.translation_m).normalize();
        assert!(ray.distance(towards) < 1e-12, "row {} sees along {ray}, not {towards}", pixel.y);
    }
}

#[test]
fn an_object_that_moves_with_the_camera_stays_where_it_is() {
    let model = camera(Projection::FTheta(wide()));
    let moved = Pose { translation_m: DVec3::new(1.0, 2.0, 3.0), rotation: DQuat::from_rotation_z(0.3) };
    let object = Pose { translation_m: DVec3::new(1.0, 0.5, 9.0), rotation: DQuat::from_rotation_x(0.2) };
    let corner = DVec3::new(1.0, -0.4, 0.8);
    let still = model.project(object.transform_point(corner)).unwrap();
    let (pixel, _) = model
        .project_moving_object(corner, &[moved.compose(&object), moved.compose(&object)], &[moved, moved])
        .unwrap();
    assert!(pixel.distance(still) < 1e-9);
}

#[test]
fn a_smaller_picture_keeps_the_whole_field_of_view() {
    let model = camera(Projection::FTheta(wide()));
    assert_eq!(DVec2::new(1920.0, 1080.0) * model.scale_to([480, 270]), DVec2::new(480.0, 270.0));
}
