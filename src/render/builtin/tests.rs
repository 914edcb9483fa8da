//! Pictures against what the camera says, against each other and against stored ones.

use std::path::PathBuf;

use glam::{DQuat, DVec2, DVec3};

use super::*;
use crate::geometry::Pose;
use crate::render::{Encoding, MAX_SIDE, MovingObject};
use crate::scene::camera::{CameraModel, FTheta, Fisheye, Projection, ReferencePolynomial, Shutter};
use crate::scene::{Map, MapLine, MapLineKind, Scenario, Track, Tracks, Trajectory};

const FORWARD_M: f64 = 1.6;

fn lens() -> CameraModel {
    CameraModel {
        resolution: [1920, 1080],
        shutter: Shutter::RollingTopToBottom,
        projection: Projection::FTheta(FTheta {
            principal_point: [958.7, 541.3],
            reference: ReferencePolynomial::AngleToPixelDistance,
            pixel_distance_to_angle: [0.0, 1.0 / 929.0, 0.0, 0.0, 0.0, 0.0],
            angle_to_pixel_distance: [0.0, 929.0, 4.2, -31.0, 12.5, -9.8],
            max_angle_rad: 1.3,
            linear_cde: [1.0, 0.0, 0.0],
        }),
        windshield: None,
    }
}

/// Level, looking along x from 1.6 m above the origin, moved forward by `x` metres.
fn sensor(x: f64) -> Pose {
    let rotation = DQuat::from_mat3(&glam::DMat3::from_cols(DVec3::NEG_Y, DVec3::NEG_Z, DVec3::X));
    Pose { translation_m: DVec3::new(x, 0.0, FORWARD_M), rotation }
}

fn shot(resolution: [u32; 2]) -> Shot {
    Shot {
        scene_id: "test".to_owned(),
        scenario: None,
        camera_name: "front".to_owned(),
        camera: lens(),
        shutter_us: [0, 30_000],
        world_from_sensor: [sensor(0.0); 2],
        objects: None,
        resolution,
        encoding: Encoding::Png,
    }
}

fn object(class: &'static str, centre: [f64; 3], dimensions: [f64; 3], yaw: f64) -> PlacedObject<'static> {
    let pose = Pose { translation_m: centre.into(), rotation: DQuat::from_rotation_z(yaw) };
    PlacedObject { id: class, class, dimensions_m: dimensions.into(), world_from_object: [pose; 2] }
}

fn empty() -> SceneView<'static> {
    SceneView {
        ground: Ground::level(0.0),
        map: None,
        path_m: Vec::new(),
        objects: Vec::new(),
        shadows: Shadows::Contact,
    }
}

fn with(objects: Vec<PlacedObject<'static>>) -> SceneView<'static> {
    SceneView { objects, ..empty() }
}

fn picture(view: &SceneView<'_>, shot: &Shot) -> Picture {
    draw(view, shot, &RayTables::default(), &Cancel::default()).expect("a picture")
}

fn pixel(picture: &Picture, at: DVec2) -> [u8; 3] {
    let index = (at.y as usize * picture.width as usize + at.x as usize) * 3;
    std::array::from_fn(|channel| picture.rgb[index + channel])
}

/// Left, top, right, bottom of the pixels in which two pictures differ by more than a shade.
fn difference(a: &Picture, b: &Picture) -> Option<[usize; 4]> {
    let width = a.width as usize;
    let mut bounds: Option<[usize; 4]> = None;
    for (index, (a, b)) in a.rgb.chunks_exact(3).zip(b.rgb.chunks_exact(3)).enumerate() {
        if a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > 12) {
            let (x, y) = (index % width, index / width);
            let [left, top, right, bottom] = bounds.unwrap_or([x, y, x, y]);
            bounds = Some([left.min(x), top.min(y), right.max(x), bottom.max(y)]);
        }
    }
    bounds
}

fn seen_at(shot: &Shot, world: DVec3) -> DVec2 {
    let (native, _) = shot.camera.project_moving(world, &shot.world_from_sensor).expect("in view");
    native * shot.camera.scale_to(shot.resolution)
}

#[test]
fn a_cuboid_fills_exactly_the_pixels_between_its_projected_corners() {
    let shot = shot([480, 270]);
    // High above the ground: no shadow among the differing pixels.
    let centre = [14.0, 2.0, 4.0];
    let view = with(vec![object("obstacle", centre, [2.0, 3.0, 2.0], 0.4)]);
    let [left, top, right, bottom] =
        difference(&picture(&view, &shot), &picture(&empty(), &shot)).expect("seen");
    let corners: Vec<DVec2> = (0..8)
        .map(|corner| {
            let sign = |bit: i32| if corner >> bit & 1 == 1 { 1.0 } else { -1.0 };
            let local = DVec3::new(sign(0), 1.5 * sign(1), sign(2));
            seen_at(&shot, DVec3::from(centre) + DQuat::from_rotation_z(0.4) * local)
        })
        .collect();
    let low = corners.iter().copied().fold(DVec2::MAX, DVec2::min);
    let high = corners.iter().copied().fold(DVec2::MIN, DVec2::max);
    assert!((left as f64 - low.x).abs() <= 1.5, "left {left}, projected {}", low.x);
    assert!((right as f64 + 1.0 - high.x).abs() <= 1.5, "right {right}, projected {}", high.x);
    assert!((top as f64 - low.y).abs() <= 1.5, "top {top}, projected {}", low.y);
    assert!((bottom as f64 + 1.0 - high.y).abs() <= 1.5, "bottom {bottom}, projected {}", high.y);
}

#[test]
fn nothing_of_any_class_reaches_out_of_its_cuboid() {
    let mut shot = shot([480, 270]);
    shot.camera.shutter = Shutter::Global;
    for class in ["automobile", "heavy_truck", "bus", "person", "rider", "trailer", "unheard of"] {
        let (centre, size) = ([9.0, -1.0, 5.0], [4.0, 1.8, 1.6]);
        let shape = picture(&with(vec![object(class, centre, size, 2.5)]), &shot);
        let solid = picture(&with(vec![object("box", centre, size, 2.5)]), &shot);
        let background = picture(&empty(), &shot);
        let [left, top, right, bottom] = difference(&solid, &background).expect("seen");
        let inner = difference(&shape, &background).expect("seen");
        assert!(inner[0] >= left && inner[1] >= top && inner[2] <= right && inner[3] <= bottom, "{class}");
    }
}

#[test]
fn the_nearer_of_two_boxes_hides_the_other_whatever_their_order() {
    let shot = shot([480, 270]);
    let near = object("bus", [10.0, 0.0, 1.5], [2.0, 2.0, 3.0], 0.0);
    let far = object("person", [20.0, 0.2, 1.5], [2.0, 2.0, 3.0], 0.0);
    let one = picture(&with(vec![near.clone(), far.clone()]), &shot);
    let other = picture(&with(vec![far, near.clone()]), &shot);
    assert_eq!(one, other);
    let alone = picture(&with(vec![near]), &shot);
    let middle = seen_at(&shot, DVec3::new(9.0, 0.0, 1.5));
    assert_eq!(pixel(&one, middle), pixel(&alone, middle));
}

#[test]
fn boxes_that_cut_through_each_other_are_hidden_pixel_by_pixel() {
    let shot = shot([480, 270]);
    let (slab, wall) = ([8.0, 0.6, 2.0], [0.6, 8.0, 2.0]);
    let view =
        with(vec![object("bus", [14.0, 0.0, 4.0], slab, 0.0), object("person", [14.0, 0.0, 4.0], wall, 0.0)]);
    let drawn = picture(&view, &shot);
    let yellow = pixel(&drawn, seen_at(&shot, DVec3::new(10.0, 0.0, 3.6)));
    let red = pixel(&drawn, seen_at(&shot, DVec3::new(13.7, 3.0, 4.0)));
    assert!(yellow[1] > yellow[2] + 30, "the slab's end is in front: {yellow:?}");
    assert!(red != yellow, "the wall's side is not hidden");
}

#[test]
fn a_border_of_the_map_lies_where_the_camera_projects_it() {
    let shot = shot([960, 540]);
    let points = vec![DVec3::new(3.0, -2.0, 0.0), DVec3::new(30.0, -2.0, 0.0), DVec3::new(60.0, 5.0, 0.5)];
    let map = Map { lines: vec![MapLine { kind: MapLineKind::Solid, points_m: points }] };
    let drawn = picture(&SceneView { map: Some(&map), ..empty() }, &shot);
    for x in [4.0, 6.0, 9.0, 14.0] {
        let on = pixel(&drawn, seen_at(&shot, DVec3::new(x, -2.0, 0.0)));
        let beside = pixel(&drawn, seen_at(&shot, DVec3::new(x, -2.4, 0.0)));
        assert!(on[0] > 190 && beside[0] < 170, "at {x} m: {on:?} beside {beside:?}");
    }
}

#[test]
fn a_broken_border_has_dashes_of_three_metres_and_gaps_of_six() {
    let shot = shot([960, 540]);
    let points = vec![DVec3::new(0.0, 1.5, 0.0), DVec3::new(60.0, 1.5, 0.0)];
    let map = Map { lines: vec![MapLine { kind: MapLineKind::Broken, points_m: points }] };
    let drawn = picture(&SceneView { map: Some(&map), ..empty() }, &shot);
    let bright = |x: f64| pixel(&drawn, seen_at(&shot, DVec3::new(x, 1.5, 0.0)))[0] > 170;
    for (x, expected) in
        [(6.0, false), (10.0, true), (11.5, true), (13.0, false), (17.0, false), (19.5, true)]
    {
        assert_eq!(bright(x), expected, "at {x} m");
    }
}

#[test]
fn the_horizon_of_level_ground_is_where_level_rays_are() {
    let drawn = picture(&empty(), &shot([480, 270]));
    let horizon = (541.3 + 0.5) / 4.0;
    let above = pixel(&drawn, DVec2::new(240.0, horizon - 60.0));
    let below = pixel(&drawn, DVec2::new(240.0, horizon + 60.0));
    assert!(above[2] > above[0] + 30, "sky is blue: {above:?}");
    assert!(below[0] < 160 && below[2].abs_diff(below[0]) < 20, "ground is grey: {below:?}");
}

#[test]
fn a_camera_that_moves_during_its_shutter_sees_each_row_from_its_own_place() {
    let object_at = || with(vec![object("obstacle", [9.0, 2.5, 5.0], [1.0, 1.0, 6.0], 0.0)]);
    let still = shot([480, 270]);
    let mut moving = still.clone();
    moving.world_from_sensor[1].translation_m.y += 1.0;
    let background = picture(&empty(), &moving);
    let drawn = picture(&object_at(), &moving);
    assert_ne!(drawn, picture(&object_at(), &still));
    // The edges of the pole lean as the camera says they do.
    for z in [3.0, 5.0, 7.0] {
        let at = seen_at(&moving, DVec3::new(8.5, 2.5, z));
        assert_ne!(pixel(&drawn, at), pixel(&background, at), "pole at height {z}");
        let beside = seen_at(&moving, DVec3::new(8.5, 3.2, z));
        assert_eq!(pixel(&drawn, beside), pixel(&background, beside), "beside the pole at height {z}");
    }
    let mut global = moving;
    global.camera.shutter = Shutter::Global;
    let mut held = still;
    held.camera.shutter = Shutter::Global;
    assert_eq!(picture(&object_at(), &global), picture(&object_at(), &held), "all at once, at the start");
}

#[test]
fn an_object_that_moves_during_the_shutter_leans() {
    let shot = shot([480, 270]);
    let mut pole = object("obstacle", [9.0, 2.5, 5.0], [1.0, 1.0, 6.0], 0.0);
    let still = picture(&with(vec![pole.clone()]), &shot);
    pole.world_from_object[1].translation_m.y -= 2.0;
    let drawn = picture(&with(vec![pole.clone()]), &shot);
    assert_ne!(drawn, still);
    let background = picture(&empty(), &shot);
    for z in [-2.0, 0.0, 2.0] {
        let corner = DVec3::new(-0.5, 0.0, z);
        let (native, _) = shot
            .camera
            .project_moving_object(corner, &pole.world_from_object, &shot.world_from_sensor)
            .expect("in view");
        let at = native * shot.camera.scale_to(shot.resolution);
        assert_ne!(pixel(&drawn, at), pixel(&background, at), "pole at height {z}");
    }
}

#[test]
fn columns_exposed_one_after_another_draw_the_same_when_nothing_moves() {
    let view = with(vec![object("automobile", [9.0, 1.0, 0.8], [4.5, 1.9, 1.6], 0.3)]);
    let rows = shot([96, 54]);
    let mut columns = rows.clone();
    columns.camera.shutter = Shutter::RollingRightToLeft;
    assert_eq!(picture(&view, &rows), picture(&view, &columns));
    columns.world_from_sensor[1].translation_m.x += 0.5;
    assert_ne!(picture(&view, &rows), picture(&view, &columns));
}

#[test]
fn the_picture_does_not_depend_on_the_number_of_threads() {
    let view = with(vec![
        object("automobile", [9.0, 1.0, 0.8], [4.5, 1.9, 1.6], 0.3),
        object("person", [12.0, -3.0, 0.9], [0.6, 0.6, 1.8], 0.0),
    ]);
    let drawn = [1, 2, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| picture(&view, &shot([200, 113])))
    });
    assert!(drawn.iter().all(|other| *other == drawn[0]));
}

#[test]
fn pictures_of_odd_sizes_are_drawn_whole() {
    let view = with(vec![object("automobile", [9.0, 1.0, 0.8], [4.5, 1.9, 1.6], 0.3)]);
    for resolution in [[1, 1], [2, 1], [1, 7], [3, 5], [16, 16], [17, 13], [33, 2]] {
        let drawn = picture(&view, &shot(resolution));
        assert_eq!(drawn.rgb.len(), (resolution[0] * resolution[1] * 3) as usize);
        for encoding in [Encoding::Png, Encoding::Jpeg(80.0), Encoding::Jpeg(100.0)] {
            let file = drawn.encode(encoding).expect("encoded");
            let read = image::load_from_memory(&file).expect("a picture");
            assert_eq!([read.width(), read.height()], resolution);
        }
    }
}

#[test]
fn sizes_that_cannot_be_drawn_are_refused() {
    for resolution in [[0, 4], [4, 0], [MAX_SIDE + 1, 4], [5000, 5000]] {
        let refused = draw(&empty(), &shot(resolution), &RayTables::default(), &Cancel::default());
        assert!(matches!(refused, Err(RenderError::Invalid(_))), "{resolution:?}");
    }
}

#[test]
fn what_is_behind_the_camera_is_not_seen_however_big() {
    let shot = shot([160, 90]);
    let huge = object("obstacle", [-60.0, 0.0, 20.0], [80.0, 80.0, 80.0], 0.0);
    assert_eq!(picture(&with(vec![huge]), &shot), picture(&empty(), &shot));
}

#[test]
fn an_object_beside_the_camera_is_drawn_though_it_reaches_behind_it() {
    let shot = shot([160, 90]);
    let wall = object("obstacle", [0.0, 3.0, 2.0], [60.0, 1.0, 4.0], 0.0);
    let drawn = picture(&with(vec![wall]), &shot);
    let background = picture(&empty(), &shot);
    assert_ne!(pixel(&drawn, DVec2::new(10.0, 40.0)), pixel(&background, DVec2::new(10.0, 40.0)));
    assert_eq!(pixel(&drawn, DVec2::new(150.0, 40.0)), pixel(&background, DVec2::new(150.0, 40.0)));
}

#[test]
fn an_object_is_seen_whole_from_so_near_that_its_shadow_reaches_the_camera() {
    let shot = shot([160, 90]);
    let drawn = picture(&with(vec![object("trailer", [0.9, -1.0, 1.2], [1.0, 1.0, 1.0], 0.0)]), &shot);
    for point in [[0.52, -0.5, 1.4], [0.7, -0.5, 1.3], [0.9, -0.5, 1.4]] {
        let colour = pixel(&drawn, seen_at(&shot, point.into()));
        assert!(colour[0] > colour[2] + 30, "{point:?} is {colour:?}, which is not orange");
    }
}

#[test]
fn a_box_around_the_camera_does_not_block_it() {
    let shot = shot([160, 90]);
    let own = object("automobile", [1.0, 0.0, 1.0], [5.0, 2.0, 2.0], 0.0);
    assert_eq!(picture(&with(vec![own]), &shot), picture(&empty(), &shot));
}

#[test]
fn a_fisheye_sees_boxes_behind_its_plane_and_nothing_past_its_angle() {
    let mut shot = shot([270, 270]);
    shot.camera.resolution = [1080, 1080];
    shot.camera.projection = Projection::Fisheye(Fisheye {
        principal_point: [540.0, 540.0],
        focal_length: [280.0, 280.0],
        radial: [0.0; 4],
        max_angle_rad: 1.85,
    });
    let beside = object("bus", [-0.9, 6.0, 1.6], [1.0, 2.0, 2.0], 0.0);
    let drawn = picture(&with(vec![beside]), &shot);
    let at = seen_at(&shot, DVec3::new(-0.9, 5.0, 1.6));
    let axis = DVec2::splat(135.0);
    assert!((at - axis).length() > 280.0 / 4.0 * std::f64::consts::FRAC_PI_2);
    assert_ne!(pixel(&drawn, at), pixel(&picture(&empty(), &shot), at));
    assert_eq!(pixel(&drawn, DVec2::new(2.0, 2.0)), [22, 24, 28], "the lens ends before the corner");
}

#[test]
fn a_picture_not_wanted_any_more_is_not_drawn() {
    let cancel = Cancel::default();
    cancel.cancel();
    let given_up = draw(&empty(), &shot([480, 270]), &RayTables::default(), &cancel);
    assert_eq!(given_up, Err(RenderError::Superseded));
}

#[test]
fn a_shot_without_its_scenario_is_refused_by_name() {
    let refused = Builtin::new(1).expect("threads").render_now(&shot([8, 8]), &Cancel::default());
    assert!(refused.expect_err("no scenario").to_string().contains("'test'"));
}

fn scenario() -> Arc<Scenario> {
    let at = |place: DVec3| Pose { translation_m: place, rotation: DQuat::IDENTITY };
    let driven = (0..20).map(|step| at(DVec3::X * f64::from(step))).collect();
    let ego = Trajectory::new((0..20).map(|step| step * 100_000).collect(), driven).expect("a trajectory");
    let parked = Track {
        id: "parked".to_owned(),
        class: "automobile".to_owned(),
        dynamic: false,
        controllable: false,
        dimensions_m: DVec3::new(4.5, 1.9, 1.6),
        trajectory: Trajectory::new(vec![0, 1_000_000], vec![at(DVec3::new(14.0, 3.0, 0.8)); 2])
            .expect("a trajectory"),
    };
    Arc::new(Scenario {
        path: PathBuf::from("test.usdz"),
        sequence_id: "test".to_owned(),
        start_us: 0,
        end_us: 1_900_000,
        ego,
        cameras: Vec::new(),
        tracks: Tracks::new(vec![parked]),
        map: None,
        rig_box: None,
        nre_from_world: None,
        ecef_from_world: None,
        notes: Vec::new(),
    })
}

fn scenario_shot(resolution: [u32; 2]) -> Shot {
    Shot { scenario: Some(scenario()), ..shot(resolution) }
}

#[test]
fn a_shot_without_objects_shows_the_recorded_tracks_and_an_empty_list_none() {
    let mut shot = scenario_shot([320, 180]);
    let bytes =
        |shot: &Shot| Builtin::new(1).expect("threads").render_now(shot, &Cancel::default()).expect("drawn");
    let recorded = bytes(&shot);
    shot.objects = Some(Vec::new());
    let none = bytes(&shot);
    assert_ne!(recorded, none);
    let pose = Pose { translation_m: DVec3::new(14.0, 3.0, 0.8), rotation: DQuat::IDENTITY };
    let placed =
        |track_id: &str| MovingObject { track_id: track_id.to_owned(), world_from_object: [pose; 2] };
    shot.objects = Some(vec![placed("parked"), placed("unknown")]);
    assert_eq!(bytes(&shot), recorded);
    shot.objects = None;
    shot.shutter_us = [1_500_000, 1_530_000];
    assert_ne!(bytes(&shot), recorded, "the track has ended");
}

#[tokio::test]
async fn several_cameras_are_drawn_together_and_answer_in_order() {
    let renderer = Builtin::new(2).expect("threads");
    let sizes = [[64, 36], [32, 18], [96, 54], [17, 13], [40, 40], [8, 8]];
    let answers = renderer.render_all(sizes.map(scenario_shot).to_vec()).await;
    for (answer, size) in answers.into_iter().zip(sizes) {
        let file = image::load_from_memory(&answer.expect("drawn").bytes).expect("a picture");
        assert_eq!([file.width(), file.height()], size);
    }
}

#[tokio::test]
async fn a_dropped_future_makes_room_for_the_next_long_before_it_would_have_ended() {
    let renderer = Builtin::new(1).expect("threads");
    let big = scenario_shot([3840, 2160]);
    let started = std::time::Instant::now();
    let whole = renderer.render(big.clone()).await;
    assert!(whole.is_ok());
    let whole = started.elapsed();
    let mut other = big;
    other.camera.resolution = [1921, 1080];
    for _ in 0..6 {
        let dropped = tokio::time::timeout(whole / 50, renderer.render(other.clone())).await;
        assert!(dropped.is_err(), "a big picture is not drawn in a fiftieth of its time");
    }
    let started = std::time::Instant::now();
    assert!(renderer.render(scenario_shot([8, 8])).await.is_ok());
    assert!(started.elapsed() < whole, "six dropped pictures were drawn to their end");
}

/// A street with one of each, as small as shows it.
fn street() -> Picture {
    let line =
        |kind, y: f64| MapLine { kind, points_m: vec![DVec3::new(1.0, y, 0.0), DVec3::new(90.0, y, 0.0)] };
    let lines = vec![
        line(MapLineKind::Solid, 5.2),
        line(MapLineKind::Broken, 1.8),
        line(MapLineKind::Broken, -1.8),
        line(MapLineKind::RoadEdge, -5.4),
    ];
    let map = Map { lines };
    let view = SceneView {
        map: Some(&map),
        path_m: (0..40).map(|step| DVec3::new(f64::from(step) * 1.5, 0.0, 0.0)).collect(),
        objects: vec![
            object("automobile", [12.0, -3.6, 0.75], [4.6, 1.9, 1.5], 0.0),
            object("heavy_truck", [24.0, 3.6, 1.8], [9.0, 2.5, 3.6], std::f64::consts::PI),
            object("bus", [30.0, -3.6, 1.6], [12.0, 2.5, 3.2], 0.0),
            object("person", [10.0, 4.0, 0.9], [0.6, 0.7, 1.8], 1.0),
            object("rider", [11.0, 1.2, 0.9], [1.8, 0.7, 1.8], 0.1),
            object("obstacle", [8.0, -6.0, 0.6], [1.2, 1.2, 1.2], 0.5),
        ],
        ..empty()
    };
    picture(&view, &shot([320, 180]))
}

#[test]
fn a_street_looks_as_it_did() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/render/street.png");
    let drawn = street();
    if std::env::var_os("TEST_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, drawn.encode(Encoding::Png).expect("encoded")).expect("written");
    }
    let stored = image::open(&path).expect("the stored picture").to_rgb8();
    assert_eq!(stored.dimensions(), (320, 180));
    let off = stored.iter().zip(&drawn.rgb).filter(|(a, b)| a.abs_diff(**b) > 6).count();
    assert!(off * 500 < drawn.rgb.len(), "{off} of {} values differ", drawn.rgb.len());
}
