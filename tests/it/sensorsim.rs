//! Our sensor simulator service over real gRPC: what NuRec clients get from it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use neuro::grpc::sensorsim::{SceneShelf, SensorsimService};
use neuro::grpc::serve_sensorsim;
use neuro::proto::nurec::common::Empty;
use neuro::proto::nurec::sensorsim::sensorsim_service_client::SensorsimServiceClient;
use neuro::proto::nurec::sensorsim::*;
use neuro::render::nurec::{NurecClient, NurecOptions, shot_to_wire};
use neuro::render::{Frame, RenderError, Renderer, Shot, ShotOptions, shot, shots};
use neuro::scene::{LoadLimits, Scenario};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tonic::Code;
use tonic::transport::Channel;

use crate::golden::root;

const FRONT: &str = "camera_front_wide_120fov";

/// Answers with the start of a picture, remembers what was asked, refuses the camera `broken`.
#[derive(Default, Clone)]
struct Painter(Arc<Mutex<Vec<Shot>>>);

impl Renderer for Painter {
    fn name(&self) -> &'static str {
        "painter"
    }

    fn place(&self) -> String {
        "the painter".into()
    }

    fn render(&self, shot: Shot) -> BoxFuture<'static, Result<Frame, RenderError>> {
        let broken = shot.camera_name == "broken";
        self.0.lock().unwrap().push(shot);
        Box::pin(async move {
            if broken {
                return Err(RenderError::Invalid("this camera cannot be drawn".into()));
            }
            Ok(Frame { bytes: Bytes::from_static(b"\xff\xd8\xff\xe0 a picture") })
        })
    }

    fn reachable(&self) -> BoxFuture<'static, bool> {
        Box::pin(async { true })
    }
}

struct Served {
    client: SensorsimServiceClient<Channel>,
    channel: Channel,
    address: String,
    painter: Painter,
    asked_to_end: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<()>,
}

async fn served(shut_down: bool) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let painter = Painter::default();
    let shelf = SceneShelf::new(vec![root().join("tests/fixtures/scenario/data")], LoadLimits::default());
    let asked_to_end = Arc::new(Notify::new());
    let notify = shut_down.then(|| Arc::clone(&asked_to_end));
    let service = SensorsimService::new(Arc::new(painter.clone()), Arc::new(shelf), notify);
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(async move {
        serve_sensorsim(listener, service, async { drop(stopped.await) }).await.unwrap();
    });
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let client = SensorsimServiceClient::new(channel.clone());
    Served { client, channel, address, painter, asked_to_end, stop: Some(stop), ended }
}

fn tiny() -> Arc<Scenario> {
    let path = root().join("tests/fixtures/scenario/data/tiny.usdz");
    Arc::new(Scenario::open(&path, &LoadLimits::default()).unwrap())
}

fn request(scenario: &Arc<Scenario>) -> RgbRenderRequest {
    let options = ShotOptions { recorded_frames: false, ..ShotOptions::default() };
    shot_to_wire(&shot(scenario, scenario.start_us + 500_000, FRONT, &options).unwrap())
}

#[tokio::test]
async fn our_client_gets_pictures_from_our_service_in_one_batch() {
    let (served, scenario) = (served(false).await, tiny());
    let client = NurecClient::new(NurecOptions::parse(&served.address).unwrap()).unwrap();
    assert!(client.reachable().await);
    assert!(client.version().await.unwrap().version.starts_with("neuro "));
    let names: Vec<_> = scenario.cameras.iter().map(|camera| camera.logical_name.clone()).collect();
    let asked: Vec<_> = shots(&scenario, scenario.start_us + 1_000_000, &names, &ShotOptions::default())
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let drawn = client.render_all(asked.clone()).await;
    assert!(drawn.len() == names.len() && drawn.iter().all(Result::is_ok), "{drawn:?}");
    let painted = served.painter.0.lock().unwrap();
    for (painted, asked) in painted.iter().zip(&asked) {
        assert_eq!((&painted.camera, painted.shutter_us), (&asked.camera, asked.shutter_us));
        assert_eq!(painted.scenario.as_ref().unwrap().sequence_id, scenario.sequence_id);
    }
}

#[tokio::test]
async fn scenes_are_listed_without_being_read_and_read_when_asked_for() {
    let mut served = served(false).await;
    let scenes = served.client.get_available_scenes(Empty {}).await.unwrap().into_inner().scene_ids;
    assert_eq!(scenes.len(), 2);
    assert!(scenes.contains(&tiny().sequence_id));
    assert!(served.client.get_loaded_scenes(Empty {}).await.unwrap().into_inner().scenes.is_empty());
    served.client.render_rgb(request(&tiny())).await.unwrap();
    let loaded = served.client.get_loaded_scenes(Empty {}).await.unwrap().into_inner();
    assert_eq!(loaded.scenes[0].scene_id, tiny().sequence_id);
    assert!(loaded.loaded_instance_capacity >= 1);
}

#[tokio::test]
async fn cameras_and_the_ego_s_path_are_those_of_the_file() {
    let (mut served, scenario) = (served(false).await, tiny());
    let scene_id = scenario.sequence_id.clone();
    let asked = AvailableCamerasRequest { scene_id: scene_id.clone() };
    let cameras = served.client.get_available_cameras(asked).await.unwrap().into_inner().available_cameras;
    assert_eq!(cameras.len(), scenario.cameras.len());
    let first = cameras[0].intrinsics.as_ref().unwrap();
    assert_eq!((first.resolution_w, first.resolution_h, cameras[0].logical_id.as_str()), (1920, 1080, FRONT));
    let mounted = cameras[0].rig_to_camera.unwrap().vec.unwrap();
    assert_eq!(mounted.x, scenario.cameras[0].rig_from_sensor.translation_m.x as f32);
    let asked = AvailableTrajectoriesRequest { scene_id };
    let paths = served.client.get_available_trajectories(asked).await.unwrap().into_inner();
    let poses = &paths.available_trajectories[0].trajectory.as_ref().unwrap().poses;
    assert_eq!(poses.len(), scenario.ego.poses.len());
    assert_eq!(poses[3].timestamp_us, scenario.ego.timestamps_us[3].unsigned_abs());
    let masks = served.client.get_available_ego_masks(Empty {}).await.unwrap().into_inner();
    assert!(masks.ego_mask_metadata.is_empty());
}

#[tokio::test]
async fn requests_that_cannot_be_drawn_get_the_status_that_nurec_gives() {
    let (mut served, scenario) = (served(false).await, tiny());
    let good = request(&scenario);
    let end = scenario.end_us.unsigned_abs();
    let start = scenario.start_us.unsigned_abs();
    let change = |change: &dyn Fn(&mut RgbRenderRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let framed = |start_us, end_us| {
        change(&|request| (request.frame_start_us, request.frame_end_us) = (start_us, end_us))
    };
    let spec =
        |edit: &dyn Fn(&mut CameraSpec)| change(&|request| edit(request.camera_intrinsics.as_mut().unwrap()));
    let cases = [
        (framed(end, end + 1), Code::OutOfRange, "is not within scene"),
        (framed(start - 1, start), Code::OutOfRange, "is not within scene"),
        (framed(u64::MAX, u64::MAX), Code::OutOfRange, "is not within scene"),
        (framed(start + 5, start), Code::InvalidArgument, "frame_end_us"),
        (change(&|request| request.scene_id = "elsewhere".into()), Code::NotFound, "\"elsewhere\""),
        (change(&|request| request.scene_id.clear()), Code::NotFound, "\"\""),
        (change(&|request| request.camera_intrinsics = None), Code::InvalidArgument, "camera_intrinsics"),
        (change(&|request| request.sensor_pose = None), Code::InvalidArgument, "sensor_pose"),
        (change(&|request| request.resolution_w = 1 << 30), Code::InvalidArgument, "resolution"),
        (change(&|request| request.image_quality = f32::NAN), Code::InvalidArgument, "image_quality"),
        (change(&|request| request.set_image_format(ImageFormat::Av1)), Code::InvalidArgument, "AV1"),
        (spec(&|spec| spec.camera_param = None), Code::InvalidArgument, "camera_param"),
        (spec(&|spec| spec.resolution_h = 0), Code::InvalidArgument, "1920x0"),
        (spec(&|spec| spec.logical_id = "broken".into()), Code::InvalidArgument, "cannot be drawn"),
    ];
    for (request, code, words) in cases {
        let status = served.client.render_rgb(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(words), "{status}");
    }
    served.client.render_rgb(framed(end - 1, end)).await.unwrap();
}

#[tokio::test]
async fn a_camera_that_the_scene_does_not_have_is_drawn_from_the_request() {
    let mut served = served(false).await;
    let mut asked = request(&tiny());
    let pinhole = OpenCvPinholeCameraParam {
        principal_point_x: 50.0,
        principal_point_y: 40.0,
        focal_length_x: 60.0,
        focal_length_y: 60.0,
        ..OpenCvPinholeCameraParam::default()
    };
    asked.camera_intrinsics = Some(CameraSpec {
        logical_id: "my own".into(),
        resolution_w: 100,
        resolution_h: 80,
        camera_param: Some(camera_spec::CameraParam::OpencvPinholeParam(pinhole)),
        ..CameraSpec::default()
    });
    (asked.resolution_w, asked.resolution_h, asked.image_quality) = (0, 0, 0.0);
    asked.dynamic_objects.clear();
    served.client.render_rgb(asked).await.unwrap();
    let painted = served.painter.0.lock().unwrap();
    assert_eq!((painted[0].camera_name.as_str(), painted[0].resolution), ("my own", [100, 80]));
    assert!(painted[0].objects.is_none(), "no objects means the recorded ones");
}

#[tokio::test]
async fn in_a_batch_and_aggregated_one_failure_is_told_apart_or_ends_all() {
    let mut served = served(false).await;
    let good = request(&tiny());
    let mut bad = good.clone();
    bad.scene_id = "elsewhere".into();
    let item = |name: &str, request: &RgbRenderRequest| BatchRgbRenderRequestItem {
        camera_name: name.into(),
        request: Some(request.clone()),
    };
    let items = vec![item("a", &good), item("b", &bad), item("c", &good)];
    let drawn =
        served.client.batch_render_rgb(BatchRgbRenderRequest { items }).await.unwrap().into_inner().items;
    let told: Vec<_> = drawn.iter().map(|item| (item.camera_name.as_str(), item.success)).collect();
    assert_eq!(told, [("a", true), ("b", false), ("c", true)]);
    assert!(drawn[1].error_message.contains("elsewhere") && drawn[1].result.is_none());

    let many = vec![item("a", &good); 65];
    let status = served.client.batch_render_rgb(BatchRgbRenderRequest { items: many }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);

    let all = |rgb_requests| AggregatedRenderRequest { rgb_requests, lidar_requests: Vec::new() };
    let both =
        served.client.render_aggregated(all(vec![good.clone(), good.clone()])).await.unwrap().into_inner();
    assert_eq!(both.rgb_returns.len(), 2);
    let status = served.client.render_aggregated(all(vec![good, bad])).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let lidar =
        AggregatedRenderRequest { lidar_requests: vec![LidarRenderRequest::default()], ..all(Vec::new()) };
    let status = served.client.render_aggregated(lidar).await.unwrap_err();
    assert!(status.code() == Code::Unimplemented && status.message().contains("lidar"));
}

#[tokio::test]
async fn health_and_reflection_answer_on_the_same_port() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};

    let served = served(false).await;
    let service = "nre.grpc.protos.sensorsim.SensorsimService".to_owned();
    for service in [String::new(), service.clone()] {
        let answer =
            HealthClient::new(served.channel.clone()).check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let asked = ServerReflectionRequest { host: String::new(), message_request };
    let mut reflection = ServerReflectionClient::new(served.channel.clone());
    let mut answers =
        reflection.server_reflection_info(tokio_stream::once(asked)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer else { panic!("{answer:?}") };
    assert!(listed.service.iter().any(|listed| listed.name == service), "{listed:?}");
}

#[tokio::test]
async fn clients_end_the_server_only_where_they_may() {
    let mut closed = served(false).await;
    let status = closed.client.shut_down(Empty {}).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("--allow-shut-down"));

    let mut open = served(true).await;
    open.client.shut_down(Empty {}).await.unwrap();
    tokio::time::timeout(Duration::from_secs(2), open.asked_to_end.notified()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_stopped_ends_although_a_client_stays_connected() {
    let mut served = served(false).await;
    served.client.get_version(Empty {}).await.unwrap();
    drop(served.stop.take());
    tokio::time::timeout(Duration::from_secs(3), &mut served.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn tracks_that_nobody_can_drive_stay_when_others_are_sent() {
    let mut served = served(false).await;
    let path = root().join("tests/fixtures/scenario/data/drive.usdz");
    let scenario = Arc::new(Scenario::open(&path, &LoadLimits::default()).unwrap());
    let at_us = scenario.start_us + 10_000_000;
    let alive = |controllable: bool| {
        let alive =
            scenario.tracks.alive_at(at_us).filter(move |(_, track, _)| track.controllable == controllable);
        alive.map(|(_, track, _)| track.id.clone()).collect::<Vec<_>>()
    };
    let (driven, staying) = (alive(true), alive(false));
    assert!(driven.len() > 1 && staying.len() > 1);
    let mut asked = shot(&scenario, at_us, FRONT, &ShotOptions::default()).unwrap();
    asked.objects.as_mut().unwrap().retain(|object| object.track_id == driven[0]);
    served.client.render_rgb(shot_to_wire(&asked)).await.unwrap();
    let painted = served.painter.0.lock().unwrap().pop().unwrap();
    let mut names: Vec<_> = painted.objects.unwrap().into_iter().map(|object| object.track_id).collect();
    assert_eq!(names.remove(0), driven[0]);
    names.sort();
    let mut expected = staying;
    expected.sort();
    assert_eq!(names, expected);
}
