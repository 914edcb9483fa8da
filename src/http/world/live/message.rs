//! The messages of `/api/live`.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::super::playback::ClockState;
use super::super::scene::{AliveTrack, PoseInfo, alive};
use crate::playback::View;
use crate::render::overlay;
use crate::render::plan::FrameSet;
use crate::scene::Scenario;

/// What a viewer says.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Said {
    /// What it wants to see.
    View(Wanted),
    /// Show this instant: the session's clock goes there.
    Show {
        /// In microseconds.
        timestamp_us: i64,
    },
    /// A set was shown.
    Ack {
        /// Which.
        seq: u64,
    },
}

/// What a viewer wants to see.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Wanted {
    /// Names of cameras; pictures come in this order.
    pub cameras: Vec<String>,
    /// Size of pictures by that of the cameras.
    #[serde(default = "quarter")]
    pub scale: f64,
    /// Quality of JPEG pictures, 1 to 100.
    #[serde(default = "eighty")]
    pub quality: f32,
    /// Whether moving objects are drawn.
    #[serde(default = "yes")]
    pub objects: bool,
    /// Whether the outlines of cuboids are wanted too.
    #[serde(default)]
    pub overlay: bool,
}

fn quarter() -> f64 {
    0.25
}

fn eighty() -> f32 {
    80.0
}

fn yes() -> bool {
    true
}

/// What the session's clock says.
pub fn state(view: &View) -> String {
    let sequence_id = view.scenario.as_ref().map(|scenario| scenario.sequence_id.clone());
    let mut message = Map::new();
    message.insert("type".into(), "state".into());
    message.insert("sequence_id".into(), sequence_id.into());
    let clock = view.state.as_ref().map(ClockState::from);
    if let Some(serde_json::Value::Object(fields)) = clock.and_then(|clock| serde_json::to_value(clock).ok())
    {
        message.extend(fields);
    }
    serde_json::Value::Object(message).to_string()
}

/// What was wrong with a message.
pub fn error(message: &str) -> String {
    json!({"type": "error", "message": message}).to_string()
}

#[derive(Serialize)]
struct Header<'a> {
    seq: u64,
    timestamp_us: i64,
    is_playing: bool,
    ego: Option<PoseInfo>,
    images: Vec<Image<'a>>,
    tracks: Vec<AliveTrack>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlay: Option<Map<String, serde_json::Value>>,
    timings_ms: Timings,
    cached: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Image<'a> {
    Drawn { camera: &'a str, offset: usize, length: usize, media: &'static str },
    Missing { camera: &'a str, error: String },
}

#[derive(Serialize)]
struct Timings {
    queued: f64,
    render: f64,
    total: f64,
}

/// A set of pictures as one message: length of the header (u32, little endian), header, pictures.
pub fn frame_set(
    seq: u64,
    is_playing: bool,
    scenario: &Arc<Scenario>,
    set: &FrameSet,
    outlines: bool,
) -> Bytes {
    let mut offset = 0;
    let mut pictures = Vec::with_capacity(set.images.len());
    let images = set.images.iter().map(|(camera, result)| match result {
        Ok(frame) => {
            let length = frame.bytes.len();
            pictures.push(frame.bytes.clone());
            offset += length;
            Image::Drawn { camera, offset: offset - length, length, media: "image/jpeg" }
        }
        Err(error) => Image::Missing { camera, error: error.to_string() },
    });
    let images = images.collect();
    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e5).round() / 100.0;
    let overlay = outlines.then(|| {
        let cameras = set.images.iter().map(|(camera, _)| {
            let lines = overlay::outlines(scenario, camera, set.timestamp_us);
            (camera.clone(), serde_json::to_value(lines).unwrap_or_default())
        });
        cameras.collect()
    });
    let header = Header {
        seq,
        timestamp_us: set.timestamp_us,
        is_playing,
        ego: scenario.ego.pose_at(set.timestamp_us).as_ref().map(PoseInfo::from),
        images,
        tracks: alive(scenario, set.timestamp_us),
        overlay,
        timings_ms: Timings {
            queued: milliseconds(set.timings.queued),
            render: milliseconds(set.timings.render),
            total: milliseconds(set.timings.total),
        },
        cached: set.cached,
    };
    let header = serde_json::to_vec(&header).unwrap_or_default();
    let mut message = BytesMut::with_capacity(4 + header.len() + offset);
    message.put_u32_le(u32::try_from(header.len()).unwrap_or(u32::MAX));
    message.put_slice(&header);
    for picture in &pictures {
        message.put_slice(picture);
    }
    message.freeze()
}
