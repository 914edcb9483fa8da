//! What an openpi client gets: the metadata once, then one chunk of actions an observation.
//!
//! `ActionChunkBroker` slices every array of an answer by the step, so `actions` is the only array in it.

use std::time::Duration;

use rmpv::Value;
use serde_json::json;

use crate::http::msgpack::{MsgpackError, encode, f32_array, from_json};
use crate::policy::description::ModelDescription;
use crate::policy::request::Prediction;
use crate::policy::stats::ACTION_DIM;

/// Actions in a chunk; the network predicts one.
pub const ACTION_HORIZON: usize = 1;

/// Names of the action's components, in order.
pub const ACTION_NAMES: [&str; ACTION_DIM] = ["dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"];
const ACTION_UNITS: [&str; ACTION_DIM] = ["m", "m", "m", "rad", "rad", "rad", "0 open .. 1 closed"];

/// The map a client gets as soon as it is connected.
///
/// # Errors
/// [`MsgpackError::Encode`].
pub fn metadata(model: &ModelDescription) -> Result<Vec<u8>, MsgpackError> {
    encode(&from_json(&json!({
        "server": "neuro",
        "server_version": env!("CARGO_PKG_VERSION"),
        "model": model.id,
        "weights": model.weights,
        "stats": { "id": model.stats.id, "sha256": model.stats.sha256 },
        "influence": model.influence,
        "readout": model.readout,
        "image_size": model.image_size,
        "tactile_size": model.tactile_size,
        "default_instruction": model.default_instruction,
        "action_dim": ACTION_DIM,
        "action_horizon": ACTION_HORIZON,
        "action_names": ACTION_NAMES,
        "action_units": ACTION_UNITS,
        "deterministic": true,
        "device": model.backend.device,
        "dtype": model.backend.dtype,
    })))
}

/// Times one answer reports beside the model's own.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// From the whole message to the answer, before sending it.
    pub total: Duration,
    /// The same for the previous message of this connection, sending included.
    pub previous_total: Option<Duration>,
}

/// The answer to one observation.
///
/// # Errors
/// [`MsgpackError::Encode`].
pub fn answer(prediction: &Prediction, served: Served) -> Result<Vec<u8>, MsgpackError> {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let timings = &prediction.timings;
    let mut server_timing = json!({
        "infer_ms": ms(timings.total),
        "total_ms": ms(served.total),
        "decode_ms": ms(timings.decode),
        "resize_ms": ms(timings.resize),
        "queue_ms": ms(timings.queue),
    });
    if let (Some(previous), Some(fields)) = (served.previous_total, server_timing.as_object_mut()) {
        fields.insert("prev_total_ms".into(), ms(previous).into());
    }
    let model_time = timings.tactile + timings.vision + timings.decoder;
    let about = json!({
        "server_timing": server_timing,
        "policy_timing": { "infer_ms": ms(model_time) },
        "model": prediction.model.id,
        "stats": { "id": prediction.model.stats.id, "sha256": prediction.model.stats.sha256 },
        "prompt": prediction.instruction,
        "warnings": prediction.warnings,
        "cached": prediction.cached,
    });
    let mut fields =
        vec![(Value::from("actions"), f32_array(&[ACTION_HORIZON, ACTION_DIM], &prediction.action))];
    if let Value::Map(more) = from_json(&about) {
        fields.extend(more);
    }
    encode(&Value::Map(fields))
}
