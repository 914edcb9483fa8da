//! Form bodies as Starlette reads them: multipart and urlencoded; any other content type is an empty form; of two
//! parts with one name the last counts; parts nobody asked for are read, within the limits, and dropped.

use axum::body::Body;
use axum::extract::multipart::Field;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::Bytes;

use super::error::Rejection;
use super::state::HttpOptions;
use crate::policy::image::Format;

/// Longest text field kept, in bytes; Starlette's limit for a part without a file name.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// The value of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A field.
    Text(String),
    /// An uploaded file.
    File(Bytes),
}

/// A form, reduced to the names that were asked for.
#[derive(Debug, Default)]
pub struct Form {
    entries: Vec<(&'static str, Entry)>,
}

impl Form {
    /// The last entry called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|(key, _)| *key == name).map(|(_, entry)| entry)
    }

    /// The last entry called `name` unless it is an empty text, which in a form means the default.
    #[must_use]
    pub fn filled(&self, name: &str) -> Option<&Entry> {
        self.get(name).filter(|entry| !matches!(entry, Entry::Text(text) if text.is_empty()))
    }

    /// Reads a body by its content type and keeps what is called one of `names`.
    ///
    /// # Errors
    /// [`Rejection::Unreadable`] when the body is not what its content type says.
    pub async fn read(
        parts: &Parts,
        body: Bytes,
        names: &'static [&'static str],
        options: &HttpOptions,
    ) -> Result<Self, Rejection> {
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("multipart/form-data") {
            Self::multipart(request(parts, body), names, options).await
        } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Self::urlencoded(request(parts, body), names).await
        } else {
            Ok(Self::default())
        }
    }

    async fn multipart(
        request: Request,
        names: &'static [&'static str],
        options: &HttpOptions,
    ) -> Result<Self, Rejection> {
        let unreadable = |reason: String| Rejection::Unreadable(format!("Invalid multipart body: {reason}"));
        let mut multipart = Multipart::from_request(request, &())
            .await
            .map_err(|_| Rejection::Unreadable("Missing boundary in multipart.".to_owned()))?;
        let mut form = Self::default();
        let mut parts = 0;
        while let Some(field) = multipart.next_field().await.map_err(|error| unreadable(error.body_text()))? {
            parts += 1;
            if parts > options.max_form_parts {
                let limit = options.max_form_parts;
                return Err(Rejection::Unreadable(format!(
                    "Too many parts. Maximum number of parts is {limit}."
                )));
            }
            if field.name().is_none() {
                let message = "The Content-Disposition header field \"name\" must be provided.";
                return Err(Rejection::Unreadable(message.to_owned()));
            }
            let known = names.iter().find(|name| field.name() == Some(**name));
            if let Some(name) = known {
                form.entries.push((name, entry(field, &unreadable).await?));
            } else {
                discard(field, &unreadable).await?;
            }
        }
        Ok(form)
    }

    async fn urlencoded(request: Request, names: &'static [&'static str]) -> Result<Self, Rejection> {
        let axum::Form(pairs) = axum::Form::<Vec<(String, String)>>::from_request(request, &())
            .await
            .map_err(|error| Rejection::Unreadable(format!("Invalid form body: {}", error.body_text())))?;
        let known = |name: &String| names.iter().find(|known| *known == name).copied();
        let entries = pairs.into_iter().filter_map(|(name, text)| Some((known(&name)?, Entry::Text(text))));
        Ok(Self { entries: entries.collect() })
    }
}

fn request(parts: &Parts, body: Bytes) -> Request {
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = parts.method.clone();
    *request.headers_mut() = parts.headers.clone();
    *request.extensions_mut() = parts.extensions.clone();
    request
}

/// A file has a file name (an empty one will do), a content type that is not text, or a picture for content:
/// libraries differ in which of them they send along with bytes.
async fn entry(field: Field<'_>, unreadable: &impl Fn(String) -> Rejection) -> Result<Entry, Rejection> {
    let named = field.file_name().is_some();
    let typed = field.content_type().is_some_and(|kind| !kind.to_ascii_lowercase().starts_with("text/"));
    let bytes = field.bytes().await.map_err(|error| unreadable(error.body_text()))?;
    if named || typed || Format::of(&bytes).is_some() {
        return Ok(Entry::File(bytes));
    }
    if bytes.len() > MAX_TEXT_BYTES {
        let limit = MAX_TEXT_BYTES / 1024;
        return Err(Rejection::Unreadable(format!("Part exceeded maximum size of {limit}KB.")));
    }
    Ok(Entry::Text(match std::str::from_utf8(&bytes) {
        Ok(text) => text.to_owned(),
        // Starlette's second try is Latin-1, where every byte is a character.
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }))
}

async fn discard(mut field: Field<'_>, unreadable: &impl Fn(String) -> Rejection) -> Result<(), Rejection> {
    while field.chunk().await.map_err(|error| unreadable(error.body_text()))?.is_some() {}
    Ok(())
}
