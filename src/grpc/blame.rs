//! Whose fault a message is that cannot be read: prost's transport says the server's, and it is its sender's.

use axum::http::{HeaderMap, HeaderValue, Response};
use tonic::body::Body;

/// How a message begins that prost cannot read; its transport calls that a fault of the server.
const UNREADABLE: &str = "failed to decode Protobuf message";

/// A message that cannot be read is its sender's fault, and the answer says so.
pub(super) fn blamed(mut response: Response<Body>) -> Response<Body> {
    if is_unreadable(response.headers()) {
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("3"));
    }
    response
}

fn is_unreadable(headers: &HeaderMap) -> bool {
    let internal = headers.get("grpc-status").is_some_and(|status| status == "13");
    let message = headers.get("grpc-message").map(HeaderValue::as_bytes).unwrap_or_default();
    internal && percent_encoding::percent_decode(message).decode_utf8_lossy().starts_with(UNREADABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreadable_messages_are_blamed_on_the_sender() {
        let answer = |status: &'static str, message: &'static str| {
            let mut response = Response::new(Body::empty());
            response.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
            response.headers_mut().insert("grpc-message", HeaderValue::from_static(message));
            blamed(response).headers()["grpc-status"].to_str().unwrap().to_owned()
        };
        assert_eq!(answer("13", "failed%20to%20decode%20Protobuf%20message:%20x"), "3");
        assert_eq!(answer("13", "the disk is full"), "13");
        assert_eq!(answer("5", "failed%20to%20decode%20Protobuf%20message:%20x"), "5");
    }
}
