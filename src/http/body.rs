//! Reading a request's body within a length and a time. Both are checked here and not in a layer, because the
//! answer's shape belongs to the wire.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::error::{Failure, Rejection};
use super::state::HttpOptions;

/// How long a body that is refused for its length is read on, so that its sender comes to read the answer.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// The whole body.
///
/// # Errors
/// 413 when it is longer than `max_body_bytes`, 408 when it is not there after `body_timeout`, 400 when the
/// connection ended within it.
pub async fn read(body: Body, headers: &HeaderMap, options: &HttpOptions) -> Result<Bytes, Failure> {
    let mut stream = body.into_data_stream();
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let result = match announced {
        Some(length) if length > options.max_body_bytes => Err(too_large(&format!("is {length}"), options)),
        _ => match tokio::time::timeout(options.body_timeout, collect(&mut stream, announced, options)).await
        {
            Ok(result) => result,
            Err(_) => return Err(too_slow(options)),
        },
    };
    if matches!(&result, Err(failure) if failure.status == StatusCode::PAYLOAD_TOO_LARGE) {
        // Hanging up on a sender in full flow resets the connection before it has read why.
        let discard = async {
            let mut left = options.max_body_bytes;
            while let Some(Ok(chunk)) = stream.next().await {
                match left.checked_sub(chunk.len()) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        drop(tokio::time::timeout(DISCARD_TIME.min(options.body_timeout), discard).await);
    }
    result
}

/// Bodies above this many bytes are taken apart on a blocking thread.
const INLINE_BYTES: usize = 1 << 20;

/// Takes a body of `length` bytes apart, off the async threads when it is long.
///
/// # Errors
/// What `parse` says, or 500 when it panicked.
pub async fn parsed<T: Send + 'static>(
    length: usize,
    parse: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
) -> Result<T, Rejection> {
    if length <= INLINE_BYTES {
        return parse();
    }
    tokio::task::spawn_blocking(parse).await.unwrap_or_else(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Err(Failure::new(status, "internal", error.to_string()).into())
    })
}

async fn collect(
    stream: &mut axum::body::BodyDataStream,
    announced: Option<usize>,
    options: &HttpOptions,
) -> Result<Bytes, Failure> {
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(0).min(1 << 20));
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| incomplete(&error.to_string()))?;
        if whole.len() + chunk.len() > options.max_body_bytes {
            return Err(too_large("goes on after", options));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

fn too_large(how: &str, options: &HttpOptions) -> Failure {
    let limit = options.max_body_bytes;
    let message = match how {
        "goes on after" => format!("the request body is longer than the limit of {limit} bytes"),
        how => format!("the request body {how} bytes long, the limit is {limit}"),
    };
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

fn too_slow(options: &HttpOptions) -> Failure {
    let message = format!("the request body was not complete after {} ms", options.body_timeout.as_millis());
    Failure::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
}

fn incomplete(reason: &str) -> Failure {
    Failure::new(
        StatusCode::BAD_REQUEST,
        "body_incomplete",
        format!("the request body ended early: {reason}"),
    )
}
