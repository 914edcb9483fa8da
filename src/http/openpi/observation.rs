//! An openpi observation: a free dictionary whose keys depend on the robot it was trained for. This finds the
//! picture, the sentence and the touch in the dictionaries of the field's robots, and says what it left alone.

use bytes::Bytes;
use rmpv::ValueRef;
use std::time::{Duration, Instant};

use crate::http::msgpack::{self, MsgpackError};
use crate::policy::image::{DecodeLimits, Format};
use crate::policy::request::{Picture, PredictRequest, Warning};

/// Longest key, in bytes, the keys of nested maps joined by `/`.
const MAX_KEY_BYTES: usize = 256;
/// Unused keys named in one warning.
const NAMED_KEYS: usize = 8;

/// Keys that mean something to a server but nothing to a policy.
const SILENT: &[&str] = &["seed", "session_id", "episode_id", "timestamp", "step"];

/// Why an observation cannot be answered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ObservationError {
    /// It is not msgpack, or an array in it does not hold together.
    #[error("{0}")]
    Msgpack(#[from] MsgpackError),
    /// It is msgpack but not a dictionary.
    #[error("an observation is a dictionary, got {0}")]
    NotADictionary(&'static str),
    /// A key is no text, or endless.
    #[error("a key of the observation is {0}; expected text of at most {MAX_KEY_BYTES} bytes")]
    Key(&'static str),
    /// There is no camera picture.
    #[error(
        "no camera image among the keys [{0}]; expected `observation/image`, `observation/exterior_image_1_left` or `image` as a uint8 array [height, width, 3]"
    )]
    NoImage(String),
    /// There are several, and none has a name that says it is the main one.
    #[error("which of [{0}] is the main camera? Name it `observation/image`")]
    WhichImage(String),
    /// A picture is not one.
    #[error("`{key}`: {reason}")]
    Picture {
        /// Its key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A field has the wrong type.
    #[error("`{key}` is {got}, expected {expected}")]
    Field {
        /// Its key.
        key: String,
        /// What it is.
        got: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

struct Leaf<'v, 'a> {
    key: String,
    value: &'v ValueRef<'a>,
    used: bool,
}

/// Reads one message into a request; `deadline_ms` counts from now.
///
/// # Errors
/// [`ObservationError`] names the key and what was expected.
pub fn parse(message: &[u8], limits: &DecodeLimits) -> Result<PredictRequest, ObservationError> {
    let value = msgpack::decode(message)?;
    if !matches!(value, ValueRef::Map(_)) || msgpack::kind(&value) != "a map" {
        return Err(ObservationError::NotADictionary(msgpack::kind(&value)));
    }
    let mut leaves = Vec::new();
    flatten(&value, "", &mut leaves)?;

    let camera = main_camera(&leaves)?;
    let image = take_picture(&mut leaves, camera, limits)?;
    let tactile = match leaves.iter().position(|leaf| is_tactile(&leaf.key)) {
        Some(index) if leaves.get(index).is_some_and(|leaf| !matches!(leaf.value, ValueRef::Nil)) => {
            Some(take_picture(&mut leaves, index, limits)?)
        }
        _ => None,
    };
    let instruction = take_text(&mut leaves, &["prompt", "instruction", "language_instruction", "task"])?;

    let mut request = PredictRequest::new(image, instruction.unwrap_or_default(), "openpi");
    request.tactile = tactile;
    request.robot_id = take_text(&mut leaves, &["robot_id"])?;
    request.deadline = take_deadline(&mut leaves)?;
    request.force_black_tactile = take_flag(&mut leaves, "use_dummy_tactile")?;
    request.warnings.extend(unused(&leaves));
    Ok(request)
}

/// The dictionary as a flat list, nested keys joined by `/`; arrays and numpy scalars are leaves.
fn flatten<'v, 'a>(
    value: &'v ValueRef<'a>,
    prefix: &str,
    leaves: &mut Vec<Leaf<'v, 'a>>,
) -> Result<(), ObservationError> {
    let ValueRef::Map(entries) = value else { return Ok(()) };
    for (key, value) in entries {
        let name = msgpack::text(key).ok_or_else(|| ObservationError::Key(msgpack::kind(key)))?;
        if prefix.len() + name.len() >= MAX_KEY_BYTES {
            return Err(ObservationError::Key("longer"));
        }
        let key = match prefix {
            "" => name.replace('.', "/"),
            _ => format!("{prefix}/{}", name.replace('.', "/")),
        };
        let nested = matches!(value, ValueRef::Map(_))
            && msgpack::field(value, "__ndarray__").is_none()
            && msgpack::field(value, "__npgeneric__").is_none();
        if nested {
            flatten(value, &key, leaves)?;
        } else {
            leaves.push(Leaf { key, value: msgpack::scalar(value), used: false });
        }
    }
    Ok(())
}

/// Whose name says what it is, best first: exactly the main image, a view of the whole scene, any, a wrist.
fn rank(key: &str) -> usize {
    let key = key.strip_prefix("observation/").or_else(|| key.strip_prefix("obs/")).unwrap_or(key);
    let last = key.rsplit('/').next().unwrap_or(key);
    match (key, last) {
        ("image" | "full_image" | "rgb", _) => 0,
        (
            _,
            "exterior_image_1_left"
            | "cam_high"
            | "base_0_rgb"
            | "external_cam"
            | "agentview_image"
            | "primary",
        ) => 1,
        (_, "exterior_image_2_left" | "top" | "front" | "base" | "third_person" | "front_image") => 2,
        (_, name) if name.contains("wrist") || name.contains("hand") => 4,
        _ => 3,
    }
}

fn main_camera(leaves: &[Leaf<'_, '_>]) -> Result<usize, ObservationError> {
    let named = |index: &usize| leaves.get(*index).map_or("", |leaf| leaf.key.as_str());
    let cameras: Vec<usize> = leaves
        .iter()
        .enumerate()
        .filter(|(_, leaf)| !is_tactile(&leaf.key) && (rank(&leaf.key) < 3 || is_picture(leaf)))
        .map(|(index, _)| index)
        .collect();
    let best = cameras.iter().map(|index| rank(named(index))).min();
    let Some(best) = best else {
        let keys: Vec<_> = leaves.iter().take(NAMED_KEYS).map(|leaf| leaf.key.as_str()).collect();
        return Err(ObservationError::NoImage(keys.join(", ")));
    };
    let mut first = cameras.iter().filter(|index| rank(named(index)) == best);
    match (first.next(), first.next()) {
        (Some(only), None) => Ok(*only),
        (Some(first), Some(_)) if best < 3 => Ok(*first),
        _ => {
            let keys: Vec<_> = cameras.iter().take(NAMED_KEYS).map(named).collect();
            Err(ObservationError::WhichImage(keys.join(", ")))
        }
    }
}

fn is_tactile(key: &str) -> bool {
    key.rsplit('/').next().is_some_and(|name| name.starts_with("tactile"))
}

fn is_picture(leaf: &Leaf<'_, '_>) -> bool {
    if leaf.key.contains("mask") || leaf.key.contains("depth") {
        return false;
    }
    match leaf.value {
        ValueRef::Binary(bytes) => Format::of(bytes).is_some(),
        value => matches!(msgpack::array(value), Ok(Some(array)) if array.looks_like_picture()),
    }
}

fn take_picture(
    leaves: &mut [Leaf<'_, '_>],
    index: usize,
    limits: &DecodeLimits,
) -> Result<Picture, ObservationError> {
    let Some(leaf) = leaves.get_mut(index) else {
        return Err(ObservationError::NoImage(String::new()));
    };
    leaf.used = true;
    let failed = |reason: String| ObservationError::Picture { key: leaf.key.clone(), reason };
    if let ValueRef::Binary(bytes) = leaf.value {
        return Ok(Picture::Encoded(Bytes::copy_from_slice(bytes)));
    }
    let array = msgpack::array(leaf.value).map_err(|error| failed(error.to_string()))?;
    let array = array.ok_or_else(|| ObservationError::Field {
        key: leaf.key.clone(),
        got: msgpack::kind(leaf.value),
        expected: "a numpy array [height, width, 3] or the bytes of an image file",
    })?;
    array.to_picture(limits).map_err(|error| failed(error.to_string()))
}

fn take<'v, 'a>(leaves: &mut [Leaf<'v, 'a>], names: &[&str]) -> Option<(String, &'v ValueRef<'a>)> {
    names.iter().find_map(|name| {
        let leaf = leaves.iter_mut().find(|leaf| {
            leaf.key.strip_prefix("observation/").unwrap_or(&leaf.key) == *name
                && !matches!(leaf.value, ValueRef::Nil)
        })?;
        leaf.used = true;
        Some((leaf.key.clone(), leaf.value))
    })
}

fn take_text(leaves: &mut [Leaf<'_, '_>], names: &[&str]) -> Result<Option<String>, ObservationError> {
    let Some((key, value)) = take(leaves, names) else { return Ok(None) };
    let inner = match value {
        ValueRef::Array(items) if items.len() == 1 => items.first().unwrap_or(value),
        _ => value,
    };
    match msgpack::text(inner) {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(ObservationError::Field { key, got: msgpack::kind(value), expected: "text" }),
    }
}

fn take_flag(leaves: &mut [Leaf<'_, '_>], name: &str) -> Result<bool, ObservationError> {
    match take(leaves, &[name]) {
        None => Ok(false),
        Some((_, ValueRef::Boolean(flag))) => Ok(*flag),
        Some((key, value)) => {
            Err(ObservationError::Field { key, got: msgpack::kind(value), expected: "a bool" })
        }
    }
}

fn take_deadline(leaves: &mut [Leaf<'_, '_>]) -> Result<Option<Instant>, ObservationError> {
    let Some((key, value)) = take(leaves, &["deadline_ms"]) else { return Ok(None) };
    let wait = msgpack::number(value).and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok());
    match wait.and_then(|wait| Instant::now().checked_add(wait)) {
        Some(deadline) => Ok(Some(deadline)),
        None => Err(ObservationError::Field {
            key,
            got: msgpack::kind(value),
            expected: "milliseconds from now, not negative",
        }),
    }
}

fn unused(leaves: &[Leaf<'_, '_>]) -> Option<Warning> {
    let keys: Vec<&str> = leaves
        .iter()
        .filter(|leaf| {
            !leaf.used && !matches!(leaf.value, ValueRef::Nil) && !SILENT.contains(&leaf.key.as_str())
        })
        .map(|leaf| leaf.key.as_str())
        .collect();
    let more = match keys.len().saturating_sub(NAMED_KEYS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = keys.iter().take(NAMED_KEYS).copied().collect::<Vec<_>>().join(", ");
    let message = format!("this model has no use for: {named}{more}");
    (!keys.is_empty()).then(|| Warning::new("inputs_ignored", message))
}

#[cfg(test)]
#[path = "observation_tests.rs"]
mod tests;
