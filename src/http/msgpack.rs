//! msgpack as `openpi_client.msgpack_numpy` speaks it: numpy arrays are maps with binary keys `__ndarray__`, `data`,
//! `dtype`, `shape`, numpy scalars maps with `__npgeneric__`, `data`, `dtype`.
//!
//! Decoding borrows from the message. One byte of msgpack may become a 40-byte value, so a message is first walked
//! and its values counted; a hostile one is refused before anything is built from it.

use rmpv::{Value, ValueRef};

use super::ndarray::{NdArray, NdArrayError};

/// Most values (map entries count twice) in one message; a real observation has a few dozen.
pub const MAX_VALUES: usize = 16_384;
/// Deepest nesting of maps and lists.
pub const MAX_DEPTH: usize = 16;

/// Why a message is not understood.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MsgpackError {
    /// The message ends early.
    #[error("msgpack message of {0} bytes ends in the middle of a value")]
    Truncated(usize),
    /// Bytes after the end of the value.
    #[error("{0} bytes follow the msgpack value")]
    Trailing(usize),
    /// The byte 0xc1 never begins a value.
    #[error("byte 0xc1 at offset {0} begins no msgpack value")]
    Reserved(usize),
    /// Too many values.
    #[error("msgpack message holds more than {MAX_VALUES} values; send arrays as numpy arrays, not as lists")]
    TooManyValues,
    /// Nested too deeply.
    #[error("msgpack message is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A numpy array that lacks a field or has one of the wrong type.
    #[error("numpy array: `{field}` is {got}, expected {expected}")]
    ArrayField {
        /// The key.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        got: &'static str,
    },
    /// The array's fields disagree.
    #[error("numpy array: {0}")]
    Array(#[from] NdArrayError),
    /// The answer could not be written.
    #[error("msgpack encoding failed: {0}")]
    Encode(String),
}

/// Reads exactly one value from `bytes`, borrowing from them.
///
/// # Errors
/// [`MsgpackError`] says where and why; nothing panics and nothing is allocated beyond [`MAX_VALUES`] values.
pub fn decode(bytes: &[u8]) -> Result<ValueRef<'_>, MsgpackError> {
    check(bytes)?;
    let mut rest = bytes;
    // rmpv takes one step of depth for a value, one for its container and one for a leaf's bytes.
    let value = rmpv::decode::read_value_ref_with_max_depth(&mut rest, 2 * MAX_DEPTH + 3);
    value.map_err(|error| match error {
        rmpv::decode::Error::DepthLimitExceeded => MsgpackError::TooDeep,
        _ => MsgpackError::Truncated(bytes.len()),
    })
}

/// Walks the message without building anything: every value is there, the count is bounded, nothing follows.
fn check(bytes: &[u8]) -> Result<(), MsgpackError> {
    let mut at = 0_usize;
    let mut open = 1_usize;
    let mut seen = 0_usize;
    while open > 0 {
        let (skip, children) = head(bytes, at)?;
        seen = seen.saturating_add(1);
        open = (open - 1).saturating_add(children);
        if seen.saturating_add(open) > MAX_VALUES {
            return Err(MsgpackError::TooManyValues);
        }
        at = at.saturating_add(skip);
        if at > bytes.len() {
            return Err(MsgpackError::Truncated(bytes.len()));
        }
    }
    match bytes.len() - at {
        0 => Ok(()),
        left => Err(MsgpackError::Trailing(left)),
    }
}

/// Bytes the value at `at` takes by itself, and how many values follow inside it.
fn head(bytes: &[u8], at: usize) -> Result<(usize, usize), MsgpackError> {
    let truncated = || MsgpackError::Truncated(bytes.len());
    let marker = *bytes.get(at).ok_or_else(truncated)?;
    let length = |width: usize| -> Result<usize, MsgpackError> {
        let field = bytes.get(at + 1..at + 1 + width).ok_or_else(truncated)?;
        Ok(field.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let body = |width: usize, extra: usize| Ok((1 + width + extra + length(width)?, 0));
    let items = |width: usize, each: usize| Ok((1 + width, length(width)?.saturating_mul(each)));
    match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Ok((1, 0)),
        0x80..=0x8f => Ok((1, usize::from(marker & 0x0f) * 2)),
        0x90..=0x9f => Ok((1, usize::from(marker & 0x0f))),
        0xa0..=0xbf => Ok((1 + usize::from(marker & 0x1f), 0)),
        0xc1 => Err(MsgpackError::Reserved(at)),
        0xc4 | 0xd9 => body(1, 0),
        0xc5 | 0xda => body(2, 0),
        0xc6 | 0xdb => body(4, 0),
        0xc7 => body(1, 1),
        0xc8 => body(2, 1),
        0xc9 => body(4, 1),
        0xcc | 0xd0 => Ok((2, 0)),
        0xcd | 0xd1 => Ok((3, 0)),
        0xca | 0xce | 0xd2 => Ok((5, 0)),
        0xcb | 0xcf | 0xd3 => Ok((9, 0)),
        0xd4..=0xd8 => Ok((2 + (1 << (marker - 0xd4)), 0)),
        0xdc => items(2, 1),
        0xdd => items(4, 1),
        0xde => items(2, 2),
        0xdf => items(4, 2),
    }
}

/// A text, sent as text or as bytes; `None` when it is neither or not UTF-8.
#[must_use]
pub fn text<'v>(value: &'v ValueRef<'_>) -> Option<&'v str> {
    match value {
        ValueRef::String(text) => text.as_str(),
        ValueRef::Binary(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// A number, whole or not.
#[must_use]
pub fn number(value: &ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Integer(whole) => whole.as_f64(),
        ValueRef::F32(number) => Some(f64::from(*number)),
        ValueRef::F64(number) => Some(*number),
        _ => None,
    }
}

/// The value of `key` in a map, whether the key was sent as text or as bytes.
#[must_use]
pub fn field<'v, 'a>(value: &'v ValueRef<'a>, key: &str) -> Option<&'v ValueRef<'a>> {
    let ValueRef::Map(entries) = value else { return None };
    entries.iter().find(|(name, _)| text(name) == Some(key)).map(|(_, value)| value)
}

/// What is inside a numpy scalar; any other value is itself.
#[must_use]
pub fn scalar<'v, 'a>(value: &'v ValueRef<'a>) -> &'v ValueRef<'a> {
    match (field(value, "__npgeneric__"), field(value, "data")) {
        (Some(_), Some(inner)) => inner,
        _ => value,
    }
}

/// The numpy array `value` stands for, or `None` when it is not one.
///
/// # Errors
/// [`MsgpackError::ArrayField`] or [`MsgpackError::Array`] for an array that does not hold together.
pub fn array<'v>(value: &'v ValueRef<'_>) -> Result<Option<NdArray<'v>>, MsgpackError> {
    if field(value, "__ndarray__").is_none() {
        return Ok(None);
    }
    let wrong = |name, expected, got: Option<&ValueRef<'_>>| MsgpackError::ArrayField {
        field: name,
        expected,
        got: got.map_or("missing", kind),
    };
    let data = match field(value, "data") {
        Some(ValueRef::Binary(bytes)) => *bytes,
        other => return Err(wrong("data", "bytes", other)),
    };
    let dtype = field(value, "dtype");
    let dtype = dtype.and_then(text).ok_or_else(|| wrong("dtype", "text", dtype))?;
    let sides = field(value, "shape");
    let shape: Option<Vec<usize>> = match sides {
        Some(ValueRef::Array(sides)) => {
            sides.iter().map(|side| side.as_u64().and_then(|side| usize::try_from(side).ok())).collect()
        }
        _ => None,
    };
    let shape = shape.ok_or_else(|| wrong("shape", "a list of sizes", sides))?;
    Ok(Some(NdArray::new(dtype, shape, data.into())?))
}

/// What a value is, in one word, for messages.
#[must_use]
pub fn kind(value: &ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Nil => "nil",
        ValueRef::Boolean(_) => "a bool",
        ValueRef::Integer(_) => "an integer",
        ValueRef::F32(_) | ValueRef::F64(_) => "a float",
        ValueRef::String(_) => "text",
        ValueRef::Binary(_) => "bytes",
        ValueRef::Array(_) => "a list",
        ValueRef::Map(_) if field(value, "__ndarray__").is_some() => "a numpy array",
        ValueRef::Map(_) => "a map",
        ValueRef::Ext(..) => "an extension value",
    }
}

/// A float32 array as the client's `unpackb` makes a numpy array of it.
#[must_use]
pub fn f32_array(shape: &[usize], values: &[f32]) -> Value {
    let key = |name: &str| Value::Binary(name.as_bytes().to_vec());
    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Value::Map(vec![
        (key("__ndarray__"), Value::from(true)),
        (key("data"), Value::Binary(data)),
        (key("dtype"), Value::from("<f4")),
        (key("shape"), shape.iter().map(|side| Value::from(*side)).collect::<Vec<_>>().into()),
    ])
}

/// Turns plain JSON (descriptions, warnings) into the same thing in msgpack.
#[must_use]
pub fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(flag) => Value::from(*flag),
        serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(whole)) => Value::from(whole),
            (None, None) => number.as_f64().map_or(Value::Nil, Value::from),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(from_json).collect::<Vec<_>>().into(),
        serde_json::Value::Object(fields) => Value::Map(
            fields.iter().map(|(key, value)| (Value::from(key.as_str()), from_json(value))).collect(),
        ),
    }
}

/// Writes one value.
///
/// # Errors
/// [`MsgpackError::Encode`]; writing to memory does not fail in practice.
pub fn encode(value: &Value) -> Result<Vec<u8>, MsgpackError> {
    let mut out = Vec::with_capacity(512);
    rmpv::encode::write_value(&mut out, value).map_err(|error| MsgpackError::Encode(error.to_string()))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(text_keys: bool) -> Value {
        let key = |name: &str| {
            if text_keys { Value::from(name) } else { Value::Binary(name.as_bytes().to_vec()) }
        };
        Value::Map(vec![
            (key("__ndarray__"), Value::from(true)),
            (key("data"), Value::Binary((0..12).collect())),
            (key("dtype"), Value::from("|u1")),
            (key("shape"), Value::Array(vec![2.into(), 2.into(), 3.into()])),
        ])
    }

    fn observation() -> Value {
        let generic = Value::Map(vec![
            (Value::Binary(b"__npgeneric__".to_vec()), true.into()),
            (Value::Binary(b"data".to_vec()), Value::from(0.5)),
            (Value::Binary(b"dtype".to_vec()), "<f8".into()),
        ]);
        Value::Map(vec![
            ("observation/image".into(), image(false)),
            ("prompt".into(), "go".into()),
            ("gripper".into(), generic),
        ])
    }

    #[test]
    fn arrays_are_read_with_binary_and_with_text_keys_and_not_copied() {
        for text_keys in [false, true] {
            let bytes = encode(&image(text_keys)).unwrap();
            let value = decode(&bytes).unwrap();
            let array = array(&value).unwrap().unwrap();
            assert_eq!(array.shape(), [2, 2, 3]);
            let data = array.bytes().unwrap();
            assert_eq!(data, (0..12).collect::<Vec<u8>>());
            assert!(bytes.as_ptr_range().contains(&data.as_ptr()));
        }
    }

    #[test]
    fn numpy_scalars_are_unwrapped() {
        let bytes = encode(&observation()).unwrap();
        let value = decode(&bytes).unwrap();
        assert_eq!(scalar(field(&value, "gripper").unwrap()), &ValueRef::F64(0.5));
        assert_eq!(text(scalar(field(&value, "prompt").unwrap())), Some("go"));
        assert_eq!(array(field(&value, "prompt").unwrap()), Ok(None));
    }

    #[test]
    fn an_array_without_its_fields_says_which() {
        let broken = |drop: &str| {
            let Value::Map(entries) = image(true) else { unreachable!() };
            let kept = entries.into_iter().filter(|(key, _)| key.as_str() != Some(drop)).collect();
            let bytes = encode(&Value::Map(kept)).unwrap();
            array(&decode(&bytes).unwrap()).unwrap_err().to_string()
        };
        assert_eq!(broken("data"), "numpy array: `data` is missing, expected bytes");
        assert_eq!(broken("dtype"), "numpy array: `dtype` is missing, expected text");
        assert_eq!(broken("shape"), "numpy array: `shape` is missing, expected a list of sizes");
    }

    #[test]
    fn bombs_are_refused_before_they_are_built() {
        let nils = [&[0xdd, 0x00, 0xff, 0xff, 0xff][..], &vec![0xc0; 1 << 20]].concat();
        assert_eq!(decode(&nils), Err(MsgpackError::TooManyValues));
        assert_eq!(decode(&[0xdf, 0xff, 0xff, 0xff, 0xff]), Err(MsgpackError::TooManyValues));
        let mut deep = vec![0x91; 2000];
        deep.push(0xc0);
        assert_eq!(decode(&deep), Err(MsgpackError::TooDeep));
        let mut fitting = vec![0x91; MAX_DEPTH];
        fitting.push(0xc0);
        assert!(decode(&fitting).is_ok());
        assert_eq!(decode(&[0xc6, 0xff, 0xff, 0xff, 0xff, 1]), Err(MsgpackError::Truncated(6)));
        assert_eq!(decode(&[]), Err(MsgpackError::Truncated(0)));
        assert_eq!(decode(&[0xc0, 0xc0]), Err(MsgpackError::Trailing(1)));
        assert_eq!(decode(&[0x91, 0xc1]), Err(MsgpackError::Reserved(1)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(value) = decode(&bytes) {
                prop_assert!(array(&value).is_ok() || text(&value).is_none());
            }
        }

        #[test]
        fn a_broken_observation_is_an_error_or_still_a_value(
            hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = encode(&observation()).unwrap();
            for (index, byte) in hits {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                if let Ok(value) = decode(bytes) {
                    let _ = field(&value, "observation/image").map(array);
                }
            }
        }

        #[test]
        fn the_walk_agrees_with_the_decoder_on_what_is_whole(bytes in prop::collection::vec(any::<u8>(), 1..60)) {
            let mut rest = &bytes[..];
            let whole = rmpv::decode::read_value_ref(&mut rest).is_ok();
            match check(&bytes) {
                Ok(()) => prop_assert!(whole && rest.is_empty()),
                Err(MsgpackError::Trailing(left)) => prop_assert!(whole && rest.len() == left),
                Err(MsgpackError::Truncated(_)) => prop_assert!(!whole),
                Err(_) => {}
            }
        }
    }
}
