//! The picture of a session's stream.

use super::within;
use crate::fleet::error::FleetError;
use crate::proto::neuro::common::GrpcStreamConfig;

/// Codecs that a request may ask for. The built-in simulator answers with `mjpeg` whatever was asked, and says so.
const CODECS: [&str; 8] = ["mjpeg", "jpeg", "h264", "h265", "hevc", "vp8", "vp9", "av1"];
/// Transports that a request may ask for.
const TRANSPORTS: [&str; 7] = ["http", "https", "webrtc", "rtsp", "websocket", "ws", "udp"];

/// 640 x 480 at 30 pictures a second, MJPEG over HTTP, where nothing else is asked for.
///
/// # Errors
/// `Invalid`, with the field that is wrong.
pub fn with_defaults(stream: &GrpcStreamConfig) -> Result<GrpcStreamConfig, FleetError> {
    let mut filled = stream.clone();
    for (field, value, high, default) in [
        ("stream_config.width", &mut filled.width, 4096, 640),
        ("stream_config.height", &mut filled.height, 4096, 480),
        ("stream_config.fps", &mut filled.fps, 240, 30),
    ] {
        within(field, *value, 0, high)?;
        if *value == 0 {
            *value = default;
        }
    }
    for (field, value) in [("stream_config.width", filled.width), ("stream_config.height", filled.height)] {
        within(field, value, 16, 4096)?;
    }
    within("stream_config.bitrate", filled.bitrate, 0, 1_000_000_000)?;
    filled.codec = one_of("stream_config.codec", &filled.codec, &CODECS, "mjpeg")?;
    filled.transport = one_of("stream_config.transport", &filled.transport, &TRANSPORTS, "http")?;
    Ok(filled)
}

fn one_of(field: &str, value: &str, known: &[&str], default: &str) -> Result<String, FleetError> {
    if value.is_empty() {
        return Ok(default.to_owned());
    }
    let lower = value.trim().to_ascii_lowercase().replace(['.', '-'], "");
    known.iter().find(|name| **name == lower).map(|name| (*name).to_owned()).ok_or_else(|| {
        let shown: String = value.chars().take(40).collect();
        FleetError::invalid(field, format!("is {shown:?}; expected one of {}", known.join(", ")))
    })
}
