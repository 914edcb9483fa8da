//! A NuRec service for tests: real pictures over real gRPC, late, wrong or not at all on request. It runs on a runtime of
//! its own, so that killing it breaks connections as the end of a process does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use neuro::proto::nurec::common::{AvailableScenesReturn, Empty, VersionId};
use neuro::proto::nurec::sensorsim::sensorsim_service_server::{SensorsimService, SensorsimServiceServer};
use neuro::proto::nurec::sensorsim::*;
use neuro::render::nurec::MAX_MESSAGE_BYTES;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// This status.
    Status(Code, String),
    /// No answer for a minute.
    Hang,
    /// An answer of no bytes.
    Empty,
    /// Bytes that are no picture.
    Rubbish,
    /// More bytes than the client takes.
    Oversized,
    /// By chance: four pictures of ten go wrong in one of the ways above but the last, some after hanging a while.
    Chance,
}

/// How the stub behaves; may change while it runs.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Before each picture.
    pub delay: Duration,
    /// For every camera without one of its own.
    pub fault: Fault,
    /// By camera.
    pub faults: HashMap<String, Fault>,
    /// How many of the next pictures fail with `fault`; the others succeed. `None`: all.
    pub times: Option<usize>,
    /// Whether `batch_render_rgb` is offered.
    pub batch: bool,
}

#[derive(Debug, Default)]
struct State {
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<RgbRenderRequest>>,
    batches: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
    cancelled: AtomicUsize,
}

/// A running stub.
pub struct StubNurec {
    pub address: SocketAddr,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StubNurec {
    /// On a free loopback port.
    pub fn start(behaviour: Behaviour) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), behaviour)
    }

    /// On a port of one's choice, such as that of a stub that was killed.
    pub fn start_at(address: SocketAddr, behaviour: Behaviour) -> Self {
        let state = Arc::new(State { behaviour: Mutex::new(behaviour), ..State::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("stub-nurec")
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let service = SensorsimServiceServer::new(Stub(Arc::clone(&state)))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(usize::MAX);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self { address, state, runtime: Some(runtime) }
    }

    /// Changes what it does from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut locked(&self.state.behaviour));
    }

    /// Every picture asked for so far, those of batches included.
    pub fn requests(&self) -> Vec<RgbRenderRequest> {
        locked(&self.state.requests).clone()
    }

    /// How many pictures were asked for.
    pub fn count(&self) -> usize {
        locked(&self.state.requests).len()
    }

    /// How many batches came.
    pub fn batches(&self) -> usize {
        self.state.batches.load(Ordering::SeqCst)
    }

    /// The most pictures that were drawn at once.
    pub fn most_running(&self) -> usize {
        self.state.most_running.load(Ordering::SeqCst)
    }

    /// How many pictures were given up by whoever asked.
    pub fn cancelled(&self) -> usize {
        self.state.cancelled.load(Ordering::SeqCst)
    }

    /// Ends it as the end of its process would: connections break.
    pub fn kill(mut self) -> SocketAddr {
        self.end();
        self.address
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for StubNurec {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the stub writes into its pictures: `camera@frame_start_us`.
pub fn mark(camera: &str, frame_start_us: u64) -> String {
    format!("{camera}@{frame_start_us};")
}

/// Whether a picture is that of a camera at an instant.
pub fn is_of(picture: &[u8], camera: &str, frame_start_us: u64) -> bool {
    let mark = mark(camera, frame_start_us);
    picture.windows(mark.len()).any(|part| part == mark.as_bytes())
}

/// Counts a picture that is being drawn, and one that was given up.
struct Running<'a>(&'a State, bool);

impl<'a> Running<'a> {
    fn new(state: &'a State) -> Self {
        let now = state.running.fetch_add(1, Ordering::SeqCst) + 1;
        state.most_running.fetch_max(now, Ordering::SeqCst);
        Self(state, false)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        if !self.1 {
            self.0.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// What chance brings; the same sequence every time.
fn chance(number: usize) -> Fault {
    let mut mixed = (number as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33;
    match mixed % 20 {
        0 | 1 => Fault::Status(Code::Internal, "the stub fails by chance".into()),
        2 => Fault::Status(Code::Unavailable, String::new()),
        3 => Fault::Status(Code::ResourceExhausted, "no memory\nleft".into()),
        4 | 5 => Fault::Empty,
        6 => Fault::Rubbish,
        7 => Fault::Hang,
        _ => Fault::None,
    }
}

struct Stub(Arc<State>);

impl Stub {
    fn fault(&self, camera: &str) -> (Duration, Fault) {
        let mut behaviour = locked(&self.0.behaviour);
        let delay = behaviour.delay;
        if let Some(fault) = behaviour.faults.get(camera) {
            return (delay, fault.clone());
        }
        match behaviour.times.as_mut() {
            Some(0) => (delay, Fault::None),
            Some(left) => {
                *left -= 1;
                (delay, behaviour.fault.clone())
            }
            None => (delay, behaviour.fault.clone()),
        }
    }

    async fn picture(&self, request: &RgbRenderRequest) -> Result<RgbRenderReturn, Status> {
        let number = {
            let mut requests = locked(&self.0.requests);
            requests.push(request.clone());
            requests.len()
        };
        let mut running = Running::new(&self.0);
        let camera = request.camera_intrinsics.clone().unwrap_or_default().logical_id;
        let (delay, mut fault) = self.fault(&camera);
        if matches!(fault, Fault::Chance) {
            fault = chance(number);
        }
        tokio::time::sleep(delay).await;
        let image = match fault {
            Fault::None | Fault::Chance => draw(request, &camera),
            Fault::Status(code, message) => {
                running.1 = true;
                return Err(Status::new(code, message));
            }
            Fault::Hang => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Vec::new()
            }
            Fault::Empty => Vec::new(),
            Fault::Rubbish => b"<html>502</html>".to_vec(),
            Fault::Oversized => vec![0; MAX_MESSAGE_BYTES + 1],
        };
        running.1 = true;
        Ok(RgbRenderReturn { image_bytes: image.into() })
    }
}

/// A grey picture of at most 32 pixels a side with its mark in an application segment or behind its end.
fn draw(request: &RgbRenderRequest, camera: &str) -> Vec<u8> {
    let side = |asked: u32| u16::try_from(asked.clamp(1, 32)).unwrap();
    let (width, height) = (side(request.resolution_w), side(request.resolution_h));
    let grey = vec![90; usize::from(width) * usize::from(height)];
    let mark = mark(camera, request.frame_start_us);
    let mut file = Vec::new();
    if request.image_format() == ImageFormat::Png {
        let encoder = image::codecs::png::PngEncoder::new(&mut file);
        let (width, height) = (width.into(), height.into());
        image::ImageEncoder::write_image(encoder, &grey, width, height, image::ExtendedColorType::L8)
            .unwrap();
        file.extend(mark.as_bytes());
        return file;
    }
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 80);
    encoder.add_app_segment(11, mark.into_bytes()).unwrap();
    encoder.encode(&grey, width, height, jpeg_encoder::ColorType::Luma).unwrap();
    file
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl SensorsimService for Stub {
    async fn render_rgb(&self, request: Request<RgbRenderRequest>) -> Answer<RgbRenderReturn> {
        self.picture(request.get_ref()).await.map(Response::new)
    }

    async fn batch_render_rgb(
        &self,
        request: Request<BatchRgbRenderRequest>,
    ) -> Answer<BatchRgbRenderReturn> {
        if !locked(&self.0.behaviour).batch {
            return Err(Status::unimplemented("Method not found!"));
        }
        self.0.batches.fetch_add(1, Ordering::SeqCst);
        let items = request.into_inner().items.into_iter().map(|item| async {
            let drawn = self.picture(&item.request.unwrap_or_default()).await;
            let error_message = drawn.as_ref().err().map_or(String::new(), |status| status.message().into());
            let (success, result) = (drawn.is_ok(), drawn.ok());
            BatchRgbRenderReturnItem { camera_name: item.camera_name, result, success, error_message }
        });
        let items = futures_util::future::join_all(items).await;
        Ok(Response::new(BatchRgbRenderReturn { items }))
    }

    async fn get_version(&self, _: Request<Empty>) -> Answer<VersionId> {
        Ok(Response::new(VersionId { version_id: "stub".into(), ..VersionId::default() }))
    }

    async fn get_available_scenes(&self, _: Request<Empty>) -> Answer<AvailableScenesReturn> {
        Ok(Response::new(AvailableScenesReturn { scene_ids: vec!["stub".into()] }))
    }

    async fn render_lidar(&self, _: Request<LidarRenderRequest>) -> Answer<LidarRenderReturn> {
        Err(Status::unimplemented("stub"))
    }

    async fn render_aggregated(&self, _: Request<AggregatedRenderRequest>) -> Answer<AggregatedRenderReturn> {
        Err(Status::unimplemented("stub"))
    }

    async fn get_loaded_scenes(&self, _: Request<Empty>) -> Answer<LoadedScenesReturn> {
        Err(Status::unimplemented("stub"))
    }

    async fn get_available_cameras(
        &self,
        _: Request<AvailableCamerasRequest>,
    ) -> Answer<AvailableCamerasReturn> {
        Err(Status::unimplemented("stub"))
    }

    async fn shut_down(&self, _: Request<Empty>) -> Answer<Empty> {
        Err(Status::unimplemented("stub"))
    }

    async fn get_available_trajectories(
        &self,
        _: Request<AvailableTrajectoriesRequest>,
    ) -> Answer<AvailableTrajectoriesReturn> {
        Err(Status::unimplemented("stub"))
    }

    async fn get_available_ego_masks(&self, _: Request<Empty>) -> Answer<AvailableEgoMasksReturn> {
        Err(Status::unimplemented("stub"))
    }
}
