//! What a `/act` client sends.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::json_numpy;
use crate::policy::image::{DecodeLimits, decode_base64};
use crate::policy::request::{Picture, PredictRequest};

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum ActError {
    /// Not JSON, or a field of the wrong type.
    #[error("the body is not the JSON object `/act` takes: {0}")]
    Json(String),
    /// A field is missing or of the wrong kind.
    #[error("`{field}` is {got}, expected {expected}")]
    Field {
        /// Its key.
        field: &'static str,
        /// What it is.
        got: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A picture that cannot be used.
    #[error("{0}")]
    Image(String),
}

/// How the answer is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A json-numpy array.
    Array,
    /// A JSON text that contains one.
    Encoded,
    /// Tether's object.
    Object,
}

/// One parsed body.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) request: PredictRequest,
    pub(super) form: Form,
    pub(super) unnorm_key: Option<String>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    encoded: Option<Cow<'a, str>>,
    #[serde(borrow)]
    image: Option<&'a RawValue>,
    #[serde(borrow)]
    tactile: Option<&'a RawValue>,
    #[serde(borrow)]
    instruction: Option<Cow<'a, str>>,
    #[serde(borrow)]
    unnorm_key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    robot_id: Option<Cow<'a, str>>,
    deadline_ms: Option<f64>,
}

/// Reads a body, wrapped or not.
///
/// # Errors
/// [`ActError`] names the field.
pub(super) fn parse(body: &[u8], limits: &DecodeLimits) -> Result<Act, ActError> {
    let text = std::str::from_utf8(body).map_err(|error| ActError::Json(error.to_string()))?;
    let outer = read(text)?;
    match outer.encoded {
        None => act(outer, None, limits),
        Some(inner) => act(read(&inner)?, Some(Form::Encoded), limits),
    }
}

fn read(text: &str) -> Result<Body<'_>, ActError> {
    serde_json::from_str(text).map_err(|error| ActError::Json(error.to_string()))
}

fn act(body: Body<'_>, form: Option<Form>, limits: &DecodeLimits) -> Result<Act, ActError> {
    let missing = || ActError::Field { field: "image", got: "missing", expected: PICTURE };
    let (image, image_form) = picture("image", body.image.ok_or_else(missing)?, limits)?;
    let tactile = body.tactile.filter(|raw| raw.get() != "null");
    let tactile = tactile.map(|raw| picture("tactile", raw, limits)).transpose()?;
    let mut request = PredictRequest::new(image, body.instruction.unwrap_or_default().into_owned(), "act");
    request.tactile = tactile.map(|(picture, _)| picture);
    request.robot_id = body.robot_id.map(Cow::into_owned);
    request.deadline = body.deadline_ms.map(deadline).transpose()?;
    Ok(Act { request, form: form.unwrap_or(image_form), unnorm_key: body.unnorm_key.map(Cow::into_owned) })
}

const PICTURE: &str = "a json-numpy array [height, width, 3] or the base64 text of an image file";

fn picture(field: &'static str, raw: &RawValue, limits: &DecodeLimits) -> Result<(Picture, Form), ActError> {
    let json = raw.get();
    let bad = |reason: String| ActError::Image(format!("`{field}`: {reason}"));
    let wrong = |got| Err(ActError::Field { field, got, expected: PICTURE });
    match json.bytes().next() {
        Some(b'{') => {
            let array = json_numpy::decode(json).map_err(|error| bad(error.to_string()))?;
            let picture = array.to_picture(limits).map_err(|error| bad(error.to_string()))?;
            Ok((picture, Form::Array))
        }
        Some(b'"') => {
            let text: Cow<'_, str> =
                serde_json::from_str(json).map_err(|error| ActError::Json(error.to_string()))?;
            let file = decode_base64(&text).map_err(|error| bad(error.to_string()))?;
            Ok((Picture::Encoded(Bytes::from(file)), Form::Object))
        }
        Some(b'[') => wrong("a list"),
        Some(b'n') => wrong("null"),
        _ => wrong("neither object nor text"),
    }
}

fn deadline(ms: f64) -> Result<Instant, ActError> {
    let wait = Duration::try_from_secs_f64(ms / 1e3).ok();
    wait.and_then(|wait| Instant::now().checked_add(wait)).ok_or(ActError::Field {
        field: "deadline_ms",
        got: "out of range",
        expected: "milliseconds from now, not negative",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IMAGE: &str = r#"{"__numpy__": "AQIDBAUG", "dtype": "|u1", "shape": [1, 2, 3]}"#;

    fn parse(body: &str) -> Result<Act, ActError> {
        super::parse(body.as_bytes(), &DecodeLimits::default())
    }

    fn body() -> String {
        format!(r#"{{"image": {IMAGE}, "instruction": "pick it \"up\"", "unnorm_key": "bridge_orig"}}"#)
    }

    #[test]
    fn the_three_forms_are_told_apart() {
        let plain = parse(&body()).unwrap();
        assert_eq!((plain.form, plain.request.instruction.as_str()), (Form::Array, "pick it \"up\""));
        assert_eq!(plain.unnorm_key.as_deref(), Some("bridge_orig"));
        let encoded = serde_json::json!({ "encoded": body() }).to_string();
        let encoded = parse(&encoded).unwrap();
        assert_eq!((encoded.form, encoded.request.instruction.as_str()), (Form::Encoded, "pick it \"up\""));
        let tether = r#"{"image": "data:image/png;base64,iVBORw0KGgo=", "instruction": "go",
            "state": [0.5, 1], "episode_id": null, "image_wrist": null}"#;
        let tether = parse(tether).unwrap();
        assert_eq!(tether.form, Form::Object);
        assert!(matches!(tether.request.image, Picture::Encoded(file) if file.len() == 8));
    }

    #[test]
    fn only_the_image_is_required() {
        let act = parse(&format!(r#"{{"image": {IMAGE}, "tactile": {IMAGE}, "unnorm_key": null}}"#)).unwrap();
        assert!(act.request.instruction.is_empty() && act.unnorm_key.is_none());
        assert!(act.request.tactile.is_some());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |body: &str| parse(body).unwrap_err().to_string();
        assert!(message("{}").contains("`image` is missing"));
        assert!(message(r#"{"image": [[[1,2,3]]]}"#).contains("`image` is a list"));
        assert!(message(r#"{"image": 7}"#).contains("neither"));
        assert!(message(r#"{"image": "A"}"#).contains("`image`: invalid base64"));
        assert!(message("[1]").contains("JSON object"));
        assert!(message(r#"{"encoded": "{"}"#).contains("EOF"));
        assert!(message(&body().replace("[1, 2, 3]", "[2, 2, 3]")).contains("needs 12 bytes, got 6"));
        assert!(message(&body().replace(r#""bridge_orig""#, "3")).contains("expected a string"));
        let late = format!(r#"{{"image": {IMAGE}, "deadline_ms": -1}}"#);
        assert!(message(&late).contains("`deadline_ms`"));
    }

    proptest! {
        #[test]
        fn no_change_to_a_body_makes_it_panic(
            hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = body().into_bytes();
            for (index, byte) in hits {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                if let Ok(act) = super::parse(bytes, &DecodeLimits::default()) {
                    prop_assert!(act.form != Form::Encoded);
                }
            }
        }
    }
}
