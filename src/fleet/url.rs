//! Addresses.

/// The `ws://` or `wss://` address of what has this `http://` or `https://` one, without a slash at its end.
#[must_use]
pub fn websocket(http: &str) -> String {
    let http = http.trim_end_matches('/');
    match http.split_once("://") {
        Some(("https" | "wss", rest)) => format!("wss://{rest}"),
        Some((_, rest)) => format!("ws://{rest}"),
        None => format!("ws://{http}"),
    }
}

#[cfg(test)]
mod tests {
    use super::websocket;

    #[test]
    fn the_scheme_changes_and_nothing_else() {
        assert_eq!(websocket("http://127.0.0.1:8010/"), "ws://127.0.0.1:8010");
        assert_eq!(websocket("https://http.example/http"), "wss://http.example/http");
        assert_eq!(websocket("wss://a"), "wss://a");
        assert_eq!(websocket("a:80"), "ws://a:80");
    }
}
