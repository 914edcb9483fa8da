//! Fields of a JSON body: required text, optional text, pictures in base64.

use axum::http::StatusCode;

use super::error::Failure;
use super::json::Json;
use super::validation::{Problem, Step, echo};
use crate::policy::image::decode_base64;
use crate::policy::request::Picture;

fn at(path: &[&str]) -> Vec<Step> {
    std::iter::once("body").chain(path.iter().copied()).map(Step::from).collect()
}

/// Required text under the last name of `path`, looked up in `object`.
///
/// # Errors
/// `missing` (echoing the object) or `string_type`.
pub fn text<'a>(object: &'a Json, path: &[&str], whole: &Json) -> Result<&'a str, Problem> {
    match path.last().and_then(|name| object.get(name)) {
        None => Err(Problem::missing(at(path), echo(whole))),
        Some(Json::String(text)) => Ok(text),
        Some(other) => Err(Problem::string_type(at(path), echo(other))),
    }
}

/// Text under `name`, or `default` when it is not there. Null is the default only where there is none.
///
/// # Errors
/// `string_type`.
pub fn text_or<'a>(
    object: &'a Json,
    name: &str,
    default: Option<&'a str>,
) -> Result<Option<&'a str>, Problem> {
    match object.get(name) {
        None => Ok(default),
        Some(Json::Null) if default.is_none() => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(other) => Err(Problem::string_type(at(&[name]), echo(other))),
    }
}

/// A picture from base64; `field` is how the message calls it.
///
/// # Errors
/// 400 with the original's beginning: `Invalid base64 image: ...`.
pub fn base64_picture(text: &str, field: &str) -> Result<Picture, Failure> {
    let bytes = decode_base64(text).map_err(|error| {
        let code = if field == "image" { "invalid_image" } else { "invalid_tactile_image" };
        Failure::new(StatusCode::BAD_REQUEST, code, format!("Invalid base64 {field}: {error}"))
    })?;
    Ok(Picture::Encoded(bytes.into()))
}
