//! json-numpy: a numpy array as `{"__numpy__": base64, "dtype": "|u1", "shape": [..]}`.

use std::borrow::Cow;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::ndarray::{NdArray, NdArrayError};
use crate::policy::image::{Base64Error, decode_base64};

/// Why an object is not an array.
#[derive(Debug, thiserror::Error)]
pub enum JsonNumpyError {
    /// Not the object it should be.
    #[error("not a json-numpy array: {0}")]
    Json(#[from] serde_json::Error),
    /// The data is not base64.
    #[error("`__numpy__`: {0}")]
    Base64(#[from] Base64Error),
    /// The fields disagree.
    #[error("{0}")]
    Array(#[from] NdArrayError),
}

#[derive(Deserialize)]
struct Encoded<'a> {
    #[serde(borrow, rename = "__numpy__")]
    data: Cow<'a, str>,
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<usize>,
}

/// Reads one array from the text of its JSON object.
///
/// # Errors
/// [`JsonNumpyError`] says which part is wrong; nothing panics, and no more is allocated than the text is long.
pub fn decode(json: &str) -> Result<NdArray<'static>, JsonNumpyError> {
    let encoded: Encoded<'_> = serde_json::from_str(json)?;
    let data = decode_base64(&encoded.data)?;
    Ok(NdArray::new(&encoded.dtype, encoded.shape, Cow::Owned(data))?)
}

/// Writes a vector as json-numpy does, in float64: what a numpy user's own arithmetic gives, and the only float
/// that Python's `json` writes back without help.
#[must_use]
pub fn encode_f64(values: &[f64]) -> serde_json::Value {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    serde_json::json!({ "__numpy__": STANDARD.encode(data), "dtype": "<f8", "shape": [values.len()] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::image::DecodeLimits;
    use proptest::prelude::*;

    #[test]
    fn an_image_is_read() {
        let json = r#"{"__numpy__": "AQIDBAUG", "dtype": "|u1", "shape": [1, 2, 3]}"#;
        let array = decode(json).unwrap();
        assert_eq!(array.shape(), [1, 2, 3]);
        assert_eq!(array.pixels(&DecodeLimits::default()).unwrap().data(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |json: &str| decode(json).unwrap_err().to_string();
        assert!(message(r#"{"dtype":"|u1","shape":[1]}"#).contains("`__numpy__`"));
        assert!(
            message(r#"{"__numpy__":"AQI=","dtype":"|u1","shape":[3]}"#).contains("needs 3 bytes, got 2")
        );
        assert!(
            message(r#"{"__numpy__":"A","dtype":"|u1","shape":[3]}"#).contains("`__numpy__`: invalid base64")
        );
        assert!(message(r#"{"__numpy__":"AQI=","dtype":[["x","<f4"]],"shape":[3]}"#).contains("string"));
        assert!(message(r#"{"__numpy__":"AQI=","dtype":"|u1","shape":[-3]}"#).contains("json-numpy"));
    }

    #[test]
    fn an_action_is_written_as_numpy_reads_it() {
        let json = encode_f64(&[1.0, -0.5]);
        assert_eq!(json.to_string(), r#"{"__numpy__":"AAAAAAAA8D8AAAAAAADgvw==","dtype":"<f8","shape":[2]}"#);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            data in "[A-Za-z0-9+/= \n]{0,40}", dtype in "[|<>=]?[a-zA-Z][0-9]{0,2}",
            shape in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            let json = serde_json::json!({ "__numpy__": data, "dtype": dtype, "shape": shape }).to_string();
            if let Ok(array) = decode(&json) {
                prop_assert!(array.shape().len() < 5);
            }
        }
    }
}
