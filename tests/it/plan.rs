//! The frame planner over a stub renderer: newest wins, one drawing for all who wait, one instant per answer, nothing kept
//! of failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use glam::{DQuat, DVec3};
use neuro::geometry::Pose;
use neuro::render::nurec::{NurecClient, NurecOptions};
use neuro::render::plan::{FramePlanner, FrameSet, PlanOptions};
use neuro::render::{Encoding, Frame, RenderError, Renderer, Shot, ShotOptions};
use neuro::scene::camera::{CameraModel, Pinhole, Projection, Shutter};
use neuro::scene::{Camera, Scenario, Tracks, Trajectory};
use tonic::Code;

use crate::stub_nurec::{Behaviour, Fault, StubNurec, is_of};

const CAMERAS: [&str; 6] = ["front", "left", "right", "rear_left", "rear_right", "tele"];
const START_US: i64 = 1_000_000;
const END_US: i64 = 11_000_000;

fn scenario() -> Arc<Scenario> {
    let model = CameraModel {
        resolution: [640, 480],
        shutter: Shutter::Global,
        projection: Projection::Pinhole(Pinhole {
            principal_point: [320.0, 240.0],
            focal_length: [400.0; 2],
            radial: [0.0; 6],
            tangential: [0.0; 2],
            thin_prism: [0.0; 4],
        }),
        windshield: None,
    };
    let cameras = CAMERAS.map(|name| Camera {
        key: format!("{name}@scene"),
        logical_name: name.into(),
        rig_from_sensor_rows: [[0.0; 4]; 4],
        rig_from_sensor: Pose::IDENTITY,
        model: model.clone(),
        shutters_us: Vec::new(),
        shutter_poses: None,
    });
    let end = Pose { translation_m: DVec3::new(100.0, 0.0, 0.0), rotation: DQuat::IDENTITY };
    Arc::new(Scenario {
        path: "scene.usdz".into(),
        sequence_id: "scene".into(),
        start_us: START_US,
        end_us: END_US,
        ego: Trajectory::new(vec![START_US, END_US], vec![Pose::IDENTITY, end]).unwrap(),
        cameras: cameras.into(),
        tracks: Tracks::default(),
        map: None,
        rig_box: None,
        nre_from_world: None,
        ecef_from_world: None,
        notes: Vec::new(),
    })
}

fn renderer(stub: &StubNurec) -> Arc<dyn Renderer> {
    let mut options = NurecOptions::parse(&stub.address.to_string()).unwrap();
    options.retry_delays.clear();
    options.max_in_flight = 64;
    Arc::new(NurecClient::new(options).unwrap())
}

fn planner(stub: &StubNurec) -> FramePlanner {
    FramePlanner::new(renderer(stub), PlanOptions::default())
}

fn slow(delay_ms: u64) -> StubNurec {
    StubNurec::start(Behaviour { delay: Duration::from_millis(delay_ms), ..Behaviour::default() })
}

fn names(cameras: &[&str]) -> Vec<String> {
    cameras.iter().map(ToString::to_string).collect()
}

async fn see(planner: &FramePlanner, viewer: Option<&str>, scenario: &Arc<Scenario>, at_us: i64) -> FrameSet {
    planner.frames(viewer, scenario, at_us, &names(&CAMERAS), &ShotOptions::default()).await
}

fn assert_all_of(set: &FrameSet, at_us: i64) {
    assert_eq!((set.timestamp_us, set.images.len()), (at_us, CAMERAS.len()));
    for (camera, image) in &set.images {
        let bytes = &image.as_ref().unwrap().bytes;
        assert!(is_of(bytes, camera, at_us.unsigned_abs()), "{camera} at {at_us} shows something else");
    }
}

async fn until(what: &str, happened: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(3);
    while !happened() {
        assert!(Instant::now() < patience, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn six_cameras_of_20_ms_take_little_longer_than_one() {
    let (stub, scenario) = (slow(20), scenario());
    let planner = planner(&stub);
    let mut times = Vec::new();
    for step in 0..30 {
        let set = see(&planner, Some("a"), &scenario, START_US + step).await;
        assert_all_of(&set, START_US + step);
        times.push(set.timings.total);
    }
    times.sort();
    assert!(times[15] < Duration::from_millis(40), "p50 {:?}, one picture is 20 ms", times[15]);
}

#[tokio::test]
async fn the_newer_request_of_a_viewer_ends_the_older_and_its_drawing() {
    let (stub, scenario) = (slow(400), scenario());
    let planner = planner(&stub);
    let older = {
        let (planner, scenario) = (planner.clone(), Arc::clone(&scenario));
        tokio::spawn(async move { see(&planner, Some("a"), &scenario, START_US + 1).await })
    };
    until("drawing", || stub.count() == CAMERAS.len()).await;
    let newer = {
        let (planner, scenario) = (planner.clone(), Arc::clone(&scenario));
        tokio::spawn(async move { see(&planner, Some("a"), &scenario, START_US + 2).await })
    };
    let superseded = older.await.unwrap();
    assert!(superseded.is_superseded() && superseded.timings.total < Duration::from_millis(300));
    assert!(superseded.images.iter().all(|(_, image)| image == &Err(RenderError::Superseded)));
    until("cancelling", || stub.cancelled() == CAMERAS.len()).await;
    assert_all_of(&newer.await.unwrap(), START_US + 2);
}

#[tokio::test]
async fn viewers_of_other_names_and_of_none_leave_each_other_alone() {
    let (stub, scenario) = (slow(50), scenario());
    let planner = planner(&stub);
    let viewers = [Some("a"), Some("b"), None, None];
    let requests =
        viewers.iter().zip(1..).map(|(viewer, step)| see(&planner, *viewer, &scenario, START_US + step));
    for (set, step) in join_all(requests).await.iter().zip(1..) {
        assert_all_of(set, START_US + step);
    }
}

#[tokio::test]
async fn equal_requests_are_drawn_once_and_survive_the_one_who_began() {
    let (stub, scenario) = (slow(200), scenario());
    let planner = planner(&stub);
    let spawn = |viewer: &'static str, at_us| {
        let (planner, scenario) = (planner.clone(), Arc::clone(&scenario));
        tokio::spawn(async move { see(&planner, Some(viewer), &scenario, at_us).await })
    };
    let first = spawn("a", START_US);
    until("drawing", || stub.count() == CAMERAS.len()).await;
    let second = spawn("b", START_US);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let away = spawn("a", START_US + 5);
    assert!(first.await.unwrap().is_superseded());
    assert_all_of(&second.await.unwrap(), START_US);
    assert_all_of(&away.await.unwrap(), START_US + 5);
    assert_eq!((stub.count(), stub.cancelled()), (2 * CAMERAS.len(), 0));
}

#[tokio::test]
async fn cameras_asked_for_twice_are_drawn_once_in_the_order_first_asked() {
    let (stub, scenario) = (slow(0), scenario());
    let cameras = names(&["tele", "front", "tele", "left", "front"]);
    let set = planner(&stub).frames(None, &scenario, START_US, &cameras, &ShotOptions::default()).await;
    let order: Vec<_> = set.images.iter().map(|(camera, _)| camera.as_str()).collect();
    assert_eq!(order, ["tele", "front", "left"]);
    assert_eq!(stub.count(), 3);
}

#[tokio::test]
async fn a_picture_is_drawn_again_only_when_something_it_depends_on_differs() {
    let (stub, scenario) = (slow(0), scenario());
    let planner = planner(&stub);
    let base = ShotOptions::default();
    let cameras = names(&["front"]);
    let see = |scenario: Arc<Scenario>, at_us, options: ShotOptions| {
        let (planner, cameras) = (planner.clone(), cameras.clone());
        async move { planner.frames(None, &scenario, at_us, &cameras, &options).await }
    };
    assert_eq!(see(Arc::clone(&scenario), START_US, base).await.cached, 0);
    for _ in 0..3 {
        assert_eq!(see(Arc::clone(&scenario), START_US, base).await.cached, 1);
    }
    assert_eq!(stub.count(), 1);
    let others = [
        (START_US + 1, base),
        (START_US, ShotOptions { scale: 0.5, ..base }),
        (START_US, ShotOptions { encoding: Encoding::Jpeg(80.0), ..base }),
        (START_US, ShotOptions { encoding: Encoding::Png, ..base }),
    ];
    for (at_us, options) in others {
        assert_eq!(see(Arc::clone(&scenario), at_us, options).await.cached, 0, "{at_us} {options:?}");
    }
    assert_eq!(see(self::scenario(), START_US, base).await.cached, 0, "another scenario of the same name");
    planner.set_renderer(renderer(&stub));
    assert_eq!(see(scenario, START_US, base).await.cached, 0, "another renderer");
    assert_eq!(stub.count(), 7);
}

#[tokio::test]
async fn failures_are_told_and_not_kept() {
    let (stub, scenario) = (slow(0), scenario());
    stub.behave(|behaviour| {
        behaviour.faults.insert("left".into(), Fault::Status(Code::NotFound, "no such scene".into()));
    });
    let planner = planner(&stub);
    let set = see(&planner, None, &scenario, START_US).await;
    let failed: Vec<_> = set.images.iter().filter(|(_, image)| image.is_err()).collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].1.as_ref().unwrap_err().to_string().contains("no such scene"));
    stub.behave(|behaviour| behaviour.faults.clear());
    let set = see(&planner, None, &scenario, START_US).await;
    assert_all_of(&set, START_US);
    assert_eq!(set.cached, CAMERAS.len() - 1);
}

#[tokio::test]
async fn an_unknown_camera_or_scale_fails_alone_with_its_name() {
    let (stub, scenario) = (slow(0), scenario());
    let planner = planner(&stub);
    let set =
        planner.frames(None, &scenario, START_US, &names(&["front", "roof"]), &ShotOptions::default()).await;
    assert!(set.images[0].1.is_ok());
    assert!(set.images[1].1.as_ref().unwrap_err().to_string().contains("\"roof\""));
    for scale in [-1.0, f64::NAN, f64::INFINITY, 5.0] {
        let options = ShotOptions { scale, ..ShotOptions::default() };
        let set = planner.frames(None, &scenario, START_US, &names(&["front"]), &options).await;
        assert!(set.images[0].1.as_ref().unwrap_err().to_string().contains("resolution_scale"), "{scale}");
    }
    assert_eq!(stub.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_scrubbing_at_random_never_see_two_instants_in_one_answer() {
    let (stub, scenario) = (slow(3), scenario());
    let planner = planner(&stub);
    let viewers = (0..8_u64).map(|viewer| {
        let (planner, scenario) = (planner.clone(), Arc::clone(&scenario));
        tokio::spawn(async move {
            let name = format!("viewer {viewer}");
            let mut seed = viewer + 1;
            let mut whole = 0;
            for _ in 0..40 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at_us = START_US + i64::try_from(seed >> 60).unwrap();
                let patience = Duration::from_millis((seed >> 32) % 12);
                let looking = see(&planner, Some(&name), &scenario, at_us);
                if let Ok(set) = tokio::time::timeout(patience, looking).await {
                    assert_all_of(&set, at_us);
                    whole += 1;
                }
            }
            whole
        })
    });
    let whole: usize = join_all(viewers).await.into_iter().map(Result::unwrap).sum();
    assert!(whole > 40, "only {whole} answers arrived");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_renderer_that_fails_by_chance_every_picture_is_right_or_a_sentence() {
    let (stub, scenario) = (slow(2), scenario());
    stub.behave(|behaviour| behaviour.fault = Fault::Chance);
    let mut options = NurecOptions::parse(&stub.address.to_string()).unwrap();
    options.retry_delays = vec![Duration::from_millis(5)];
    (options.deadline, options.first_deadline) = (Duration::from_millis(150), Duration::from_millis(150));
    options.max_in_flight = 64;
    let client = NurecClient::new(options).unwrap();
    let planner =
        FramePlanner::new(Arc::new(client), PlanOptions { cache_bytes: 64 << 10, ..PlanOptions::default() });
    let viewers = (0..32_u64).map(|viewer| {
        let (planner, scenario) = (planner.clone(), Arc::clone(&scenario));
        tokio::spawn(async move {
            let name = format!("viewer {viewer}");
            let (mut right, mut wrong) = (0, 0);
            for step in 0..10_u64 {
                let at_us = START_US + i64::try_from((viewer * 7919 + step * 104_729) % 997).unwrap();
                for (camera, image) in see(&planner, Some(&name), &scenario, at_us).await.images {
                    match image {
                        Ok(frame) => {
                            assert!(is_of(&frame.bytes, &camera, at_us.unsigned_abs()));
                            right += 1;
                        }
                        Err(error) => {
                            let sentence = error.to_string();
                            assert!(sentence.len() > 30 && !sentence.contains('\n'), "{sentence:?}");
                            wrong += 1;
                        }
                    }
                }
            }
            (right, wrong)
        })
    });
    let counts: Vec<(usize, usize)> = join_all(viewers).await.into_iter().map(Result::unwrap).collect();
    let (right, wrong) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    assert_eq!(right + wrong, 32 * 10 * CAMERAS.len());
    assert!(right > wrong / 2 && wrong > 100, "{right} right, {wrong} wrong");

    stub.behave(|behaviour| behaviour.fault = Fault::None);
    assert_all_of(&see(&planner, Some("after"), &scenario, START_US + 5000).await, START_US + 5000);
}

#[tokio::test]
async fn all_viewers_together_draw_no_more_pictures_at_once_than_allowed() {
    let (stub, scenario) = (slow(10), scenario());
    let options = PlanOptions { max_drawing: 4, ..PlanOptions::default() };
    let planner = FramePlanner::new(renderer(&stub), options);
    let requests = (0..5).map(|step| see(&planner, None, &scenario, START_US + step));
    for (set, step) in join_all(requests).await.iter().zip(0..) {
        assert_all_of(set, START_US + step);
    }
    assert!(stub.most_running() <= 4, "{} at once", stub.most_running());
}

/// Answers at once: the first time by a panic, then with a kilobyte.
#[derive(Default)]
struct Shaky(AtomicUsize);

impl Renderer for Shaky {
    fn name(&self) -> &'static str {
        "shaky"
    }

    fn place(&self) -> String {
        "the shaky renderer".into()
    }

    fn render(&self, _: Shot) -> BoxFuture<'static, Result<Frame, RenderError>> {
        let time = self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            assert!(time > 0, "the first picture goes wrong");
            Ok(Frame { bytes: Bytes::from(vec![0; 1024]) })
        })
    }

    fn reachable(&self) -> BoxFuture<'static, bool> {
        Box::pin(async { true })
    }
}

#[tokio::test]
async fn a_renderer_that_panics_is_reported_and_asked_again() {
    let scenario = scenario();
    let planner = FramePlanner::new(Arc::new(Shaky::default()), PlanOptions::default());
    let cameras = names(&["front"]);
    let options = ShotOptions::default();
    let set = planner.frames(None, &scenario, START_US, &cameras, &options).await;
    let error = set.images[0].1.as_ref().unwrap_err().to_string();
    assert!(error.contains("the shaky renderer") && error.contains("in the middle"), "{error}");
    let set = planner.frames(None, &scenario, START_US, &cameras, &options).await;
    assert!(set.images[0].1.is_ok());
}

#[tokio::test]
async fn the_cache_stays_within_its_bytes() {
    let scenario = scenario();
    let options = PlanOptions { cache_bytes: 256 << 10, ..PlanOptions::default() };
    let shaky = Shaky(AtomicUsize::new(1));
    let planner = FramePlanner::new(Arc::new(shaky), options);
    for step in 0..500 {
        see(&planner, None, &scenario, START_US + step).await;
    }
    let held = planner.cached_bytes();
    assert!((32 << 10..=256 << 10).contains(&held), "{held} bytes held");
}
