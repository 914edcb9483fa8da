//! The NuRec client against a stub service over real gRPC: deadlines, retries, batches, every failure in its sentence.

use std::time::{Duration, Instant};

use neuro::geometry::Pose;
use neuro::render::nurec::{NurecClient, NurecOptions};
use neuro::render::{Encoding, RenderError, Renderer, Shot};
use neuro::scene::camera::{CameraModel, Pinhole, Projection, Shutter};
use tonic::Code;

use crate::stub_nurec::{Behaviour, Fault, StubNurec, is_of};

const CAMERAS: [&str; 6] = ["front", "left", "right", "rear_left", "rear_right", "tele"];

/// A client with short patience.
fn client(stub: &StubNurec) -> NurecClient {
    with(stub, |_| {})
}

fn with(stub: &StubNurec, change: impl FnOnce(&mut NurecOptions)) -> NurecClient {
    let mut options = NurecOptions::parse(&stub.address.to_string()).unwrap();
    options.deadline = Duration::from_millis(600);
    options.first_deadline = Duration::from_millis(600);
    options.retry_delays = vec![Duration::from_millis(20), Duration::from_millis(80)];
    change(&mut options);
    NurecClient::new(options).unwrap()
}

fn shot(camera: &str, at_us: u64) -> Shot {
    let pinhole = Pinhole {
        principal_point: [320.0, 240.0],
        focal_length: [400.0, 400.0],
        radial: [0.0; 6],
        tangential: [0.0; 2],
        thin_prism: [0.0; 4],
    };
    Shot {
        scene_id: "scene".into(),
        scenario: None,
        camera_name: camera.into(),
        camera: CameraModel {
            resolution: [640, 480],
            shutter: Shutter::Global,
            projection: Projection::Pinhole(pinhole),
            windshield: None,
        },
        shutter_us: [at_us, at_us + 1],
        world_from_sensor: [Pose::IDENTITY; 2],
        objects: Some(Vec::new()),
        resolution: [32, 24],
        encoding: Encoding::Jpeg(90.0),
    }
}

fn six(at_us: u64) -> Vec<Shot> {
    CAMERAS.iter().map(|camera| shot(camera, at_us)).collect()
}

fn failing(fault: Fault) -> StubNurec {
    StubNurec::start(Behaviour { fault, batch: true, ..Behaviour::default() })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn six_cameras_take_little_longer_than_one_with_batches_and_without() {
    for batch in [true, false] {
        let stub =
            StubNurec::start(Behaviour { delay: Duration::from_millis(20), batch, ..Behaviour::default() });
        let client = client(&stub);
        let mut times = Vec::new();
        for at_us in 0..20 {
            let started = Instant::now();
            let drawn = client.render_all(six(at_us)).await;
            times.push(started.elapsed());
            for (camera, frame) in CAMERAS.iter().zip(drawn) {
                assert!(is_of(&frame.unwrap().bytes, camera, at_us));
            }
        }
        let p50 = median(times);
        assert!(p50 < Duration::from_millis(40), "batch {batch}: {p50:?} for six pictures of 20 ms");
        assert_eq!(stub.batches(), if batch { 20 } else { 0 });
        let last = stub.requests().pop().unwrap();
        assert_eq!((last.scene_id.as_str(), last.resolution_w, last.resolution_h), ("scene", 32, 24));
    }
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let stub = StubNurec::start(Behaviour { delay: Duration::from_millis(10), ..Behaviour::default() });
    let client = with(&stub, |options| options.max_in_flight = 3);
    let shots = (0..12).map(|at_us| shot("front", at_us)).collect();
    let drawn = client.render_all(shots).await;
    assert!(drawn.iter().all(Result::is_ok), "{drawn:?}");
    assert_eq!(stub.most_running(), 3);
}

#[tokio::test]
async fn a_service_without_batches_is_asked_for_one_only_once() {
    let stub = StubNurec::start(Behaviour::default());
    let client = client(&stub);
    for at_us in 0..3 {
        assert!(client.render_all(six(at_us)).await.iter().all(Result::is_ok));
    }
    assert_eq!((stub.batches(), stub.count()), (0, 18));
}

#[tokio::test]
async fn in_a_batch_one_camera_fails_without_the_others() {
    let stub = StubNurec::start(Behaviour { batch: true, ..Behaviour::default() });
    stub.behave(|behaviour| {
        let words = "the left camera is broken".to_owned();
        behaviour.faults.insert("left".into(), Fault::Status(Code::Internal, words));
        behaviour.faults.insert("tele".into(), Fault::Empty);
    });
    let drawn = client(&stub).render_all(six(7)).await;
    let failures: Vec<_> =
        drawn.iter().filter_map(|frame| frame.as_ref().err()).map(ToString::to_string).collect();
    assert_eq!(failures.len(), 2);
    assert!(failures[0].contains("the left camera is broken"), "{failures:?}");
    assert!(failures[1].contains("empty picture"), "{failures:?}");
}

#[tokio::test]
async fn a_batch_may_hold_one_camera_twice() {
    let stub = StubNurec::start(Behaviour { batch: true, ..Behaviour::default() });
    let drawn = client(&stub).render_all(vec![shot("front", 1), shot("front", 2)]).await;
    assert!(is_of(&drawn[0].as_ref().unwrap().bytes, "front", 1));
    assert!(is_of(&drawn[1].as_ref().unwrap().bytes, "front", 2));
}

#[tokio::test]
async fn every_failure_is_a_sentence_with_the_address_in_it() {
    let status = |code, words: &str| Fault::Status(code, words.to_owned());
    let cases = [
        (Fault::Empty, "empty picture"),
        (Fault::Rubbish, "no JPEG picture"),
        (Fault::Oversized, "longer than 64 MiB"),
        (Fault::Hang, "did not answer within 0.6 s"),
        (status(Code::OutOfRange, ""), "OUT_OF_RANGE: the instant lies outside"),
        (status(Code::NotFound, ""), "NOT_FOUND: it has not loaded this scene"),
        (status(Code::InvalidArgument, "no such lens"), "INVALID_ARGUMENT: no such lens"),
        (status(Code::ResourceExhausted, ""), "RESOURCE_EXHAUSTED: it has too much to do"),
        (status(Code::FailedPrecondition, ""), "FAILED_PRECONDITION: it is not ready"),
        (status(Code::Unknown, ""), "UNKNOWN: without a word"),
        (status(Code::Unavailable, ""), "UNAVAILABLE: it takes no requests now"),
    ];
    for (fault, expected) in cases {
        let stub = failing(fault.clone());
        let error = client(&stub).render(shot("front", 1)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{fault:?}: {error}");
        assert!(error.contains(&stub.address.to_string()), "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn a_png_is_a_png_or_a_failure() {
    let stub = StubNurec::start(Behaviour::default());
    let mut wanted = shot("front", 3);
    wanted.encoding = Encoding::Png;
    let frame = client(&stub).render(wanted).await.unwrap();
    assert!(frame.bytes.starts_with(b"\x89PNG"));
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let words = "Stopped waiting for backend".to_owned();
    for fault in [Fault::Status(Code::Unavailable, String::new()), Fault::Status(Code::Unknown, words)] {
        let stub = failing(fault);
        stub.behave(|behaviour| behaviour.times = Some(2));
        client(&stub).render(shot("front", 1)).await.unwrap();
        assert_eq!(stub.count(), 3);
    }
    let stub = failing(Fault::Status(Code::NotFound, String::new()));
    client(&stub).render(shot("front", 1)).await.unwrap_err();
    assert_eq!(stub.count(), 1);
}

#[tokio::test]
async fn retries_end_before_the_deadline() {
    let stub = failing(Fault::Status(Code::Unavailable, "starting".into()));
    let client = with(&stub, |options| options.retry_delays = vec![Duration::from_secs(5)]);
    let started = Instant::now();
    let error = client.render(shot("front", 1)).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(500));
    assert!(error.to_string().contains("starting"));
}

#[tokio::test]
async fn the_first_answer_of_a_connection_may_take_longer() {
    let stub = StubNurec::start(Behaviour { delay: Duration::from_millis(300), ..Behaviour::default() });
    let client = with(&stub, |options| {
        options.deadline = Duration::from_millis(100);
        options.first_deadline = Duration::from_secs(5);
    });
    client.render(shot("front", 1)).await.unwrap();
    let error = client.render(shot("front", 2)).await.unwrap_err();
    assert!(matches!(error, RenderError::TimedOut { seconds, .. } if seconds == 0.1), "{error:?}");
}

#[tokio::test]
async fn a_renderer_that_is_killed_and_started_again_is_found_again() {
    let stub = StubNurec::start(Behaviour::default());
    let client = client(&stub);
    client.render(shot("front", 1)).await.unwrap();
    assert!(client.reachable().await);

    let address = stub.kill();
    let started = Instant::now();
    let error = client.render(shot("front", 2)).await.unwrap_err();
    assert!(matches!(error, RenderError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("check that it runs"), "{error}");
    assert!(started.elapsed() < Duration::from_millis(600));
    assert!(!client.reachable().await);

    let again = StubNurec::start_at(address, Behaviour::default());
    client.render(shot("front", 3)).await.unwrap();
    assert!(client.reachable().await);
    assert_eq!(again.count(), 1);
}

#[tokio::test]
async fn a_renderer_killed_during_a_picture_is_reported_as_gone() {
    let stub = failing(Fault::Hang);
    let client = with(&stub, |options| options.deadline = Duration::from_secs(5));
    let drawing = tokio::spawn(client.render(shot("front", 1)));
    while stub.count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stub.kill();
    let error = drawing.await.unwrap().unwrap_err();
    assert!(matches!(error, RenderError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn dropping_a_picture_cancels_it_at_the_renderer() {
    let stub = failing(Fault::Hang);
    let drawing = tokio::spawn(client(&stub).render(shot("front", 1)));
    while stub.count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drawing.abort();
    let patience = Instant::now() + Duration::from_secs(2);
    while stub.cancelled() == 0 && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(stub.cancelled(), 1);
}

#[tokio::test]
async fn a_port_that_takes_connections_and_says_nothing_is_not_reachable() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = NurecOptions::parse(&silent.local_addr().unwrap().to_string()).unwrap();
    let started = Instant::now();
    assert!(!NurecClient::new(options).unwrap().reachable().await);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn version_and_scenes_are_asked_for() {
    let stub = StubNurec::start(Behaviour::default());
    let client = client(&stub);
    assert_eq!(client.version().await.unwrap().version, "stub");
    assert_eq!(client.scenes().await.unwrap(), ["stub"]);
}
