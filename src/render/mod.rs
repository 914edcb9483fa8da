//! The eyes: pictures of a scenario at an instant, from NVIDIA's NuRec over gRPC or from the built-in renderer, behind
//! one trait.

pub mod builtin;
pub mod cache;
pub mod nurec;
pub mod overlay;
pub mod plan;
mod shot;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::geometry::Pose;
use crate::scene::Scenario;
use crate::scene::camera::CameraModel;

pub use shot::{FRAME_REACH_US, MAX_SCALE, MAX_SIDE, ShotOptions, recorded_objects, shot, shots};

/// One picture to draw. The same for a NuRec service, for the built-in renderer in process, and behind our own gRPC.
#[derive(Debug, Clone)]
pub struct Shot {
    /// The scenario as the renderer knows it: a [`Scenario::sequence_id`].
    pub scene_id: String,
    /// The scenario itself, where the caller has it.
    pub scenario: Option<Arc<Scenario>>,
    /// `camera_front_wide_120fov`.
    pub camera_name: String,
    /// Lens and shutter, native resolution.
    pub camera: CameraModel,
    /// Shutter start and end, in microseconds; half open.
    pub shutter_us: [u64; 2],
    /// `world_from_sensor` at shutter start and end.
    pub world_from_sensor: [Pose; 2],
    /// What moves. `None`: the recorded tracks, where the renderer knows them.
    pub objects: Option<Vec<MovingObject>>,
    /// Width and height of the picture wanted; the whole field of view is kept.
    pub resolution: [u32; 2],
    /// How it is encoded.
    pub encoding: Encoding,
}

/// A track's pose during the shutter.
#[derive(Debug, Clone, PartialEq)]
pub struct MovingObject {
    /// A [`crate::scene::Track::id`].
    pub track_id: String,
    /// `world_from_cuboid` at shutter start and end.
    pub world_from_object: [Pose; 2],
}

/// How a picture is encoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Encoding {
    /// JPEG of this quality, 1 to 100.
    Jpeg(f32),
    /// PNG.
    Png,
}

/// An encoded picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The file.
    pub bytes: Bytes,
}

/// Where pictures come from.
pub trait Renderer: Send + Sync + 'static {
    /// `embedded` or `nurec`.
    fn name(&self) -> &'static str;

    /// Where it is, for messages: `the built-in renderer`, `NuRec at 127.0.0.1:46435`.
    fn place(&self) -> String;

    /// Draws one picture. Dropping the future cancels the work.
    fn render(&self, shot: Shot) -> BoxFuture<'static, Result<Frame, RenderError>>;

    /// Draws several pictures of one instant; by default all at once, each by [`Renderer::render`].
    fn render_all(&self, shots: Vec<Shot>) -> BoxFuture<'static, Vec<Result<Frame, RenderError>>> {
        let drawn: Vec<_> = shots.into_iter().map(|shot| self.render(shot)).collect();
        Box::pin(futures_util::future::join_all(drawn))
    }

    /// Whether it answers now, within a second.
    fn reachable(&self) -> BoxFuture<'static, bool>;
}

/// Why there is no picture. One failure may answer several cameras.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RenderError {
    /// Nobody listens there, or the connection broke.
    #[error(
        "{place} cannot be reached ({reason}); check that it runs, that host and port are right, and its log"
    )]
    Unreachable {
        /// Which renderer.
        place: String,
        /// What the connection reported.
        reason: String,
    },
    /// No answer in time.
    #[error("{place} did not answer within {seconds} s; a first render after its start may take a minute")]
    TimedOut {
        /// Which renderer.
        place: String,
        /// The deadline.
        seconds: f64,
    },
    /// It answered with a status.
    #[error("{place} answered {status}: {message}")]
    Refused {
        /// Which renderer.
        place: String,
        /// gRPC's name of the status: `NOT_FOUND`.
        status: &'static str,
        /// Its words.
        message: String,
    },
    /// It answered without a picture.
    #[error("{place} answered with an empty picture")]
    Empty {
        /// Which renderer.
        place: String,
    },
    /// It answered with something that is no picture.
    #[error(
        "{place} answered with {bytes} bytes that are no {expected} picture; check that its version suits"
    )]
    NotAPicture {
        /// Which renderer.
        place: String,
        /// How many bytes.
        bytes: usize,
        /// `JPEG` or `PNG`.
        expected: &'static str,
    },
    /// The request makes no sense to draw.
    #[error("{0}")]
    Invalid(String),
    /// A newer request of the same viewer took its place.
    #[error("a newer request of the same viewer took its place")]
    Superseded,
}
