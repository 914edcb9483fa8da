//! The simulator's place in a WebRTC signalling relay. It has no WebRTC media: whoever offers a connection is told where
//! the pictures are instead, at once, and does not wait for ever.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue};
use tokio_tungstenite::tungstenite::{self, Message};

use super::handle::Simulator;

/// What stands for the session's id in the relay's URL.
pub const SESSION: &str = "{session}";
/// Between two tries to join.
const PAUSE: Duration = Duration::from_secs(2);
/// A relay that is silent for so long, pings included, is gone.
const SILENCE: Duration = Duration::from_secs(90);

/// A relay, and what lets a simulator in.
#[derive(Clone)]
pub struct Relay {
    /// Where it is; [`SESSION`] in it stands for the session's id.
    pub url: String,
    /// The key of an instance; `None` where everybody may come.
    pub key: Option<String>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Relay").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Relay {
    fn request(&self, session: &str) -> tungstenite::Result<tungstenite::handshake::client::Request> {
        let mut request = self.url.replace(SESSION, session).into_client_request()?;
        if let Some(key) = &self.key {
            let mut value = HeaderValue::try_from(format!("Bearer {key}"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }
}

/// Joins the relay as `isaac-sim` whenever a session is loaded, for ever.
pub async fn join(simulator: Simulator, relay: Relay, stream_url: String) {
    let mut vitals = simulator.vitals();
    loop {
        let session = vitals.borrow_and_update().session.clone();
        if !session.is_empty() {
            let ended = async {
                // Until another session is loaded.
                while vitals.changed().await.is_ok() && vitals.borrow_and_update().session == session {}
            };
            let answering = answer(&relay, &session, &stream_url);
            tokio::select! {
                () = ended => continue,
                reason = answering => tracing::debug!(session, reason, "left the signalling relay"),
            }
        } else if vitals.changed().await.is_err() {
            return;
        } else {
            continue;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Answers offers until the connection ends; why it did.
async fn answer(relay: &Relay, session: &str, stream_url: &str) -> String {
    let connecting = async { connect_async(relay.request(session)?).await };
    let mut socket = match timeout(SILENCE, connecting).await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(error)) => return error.to_string(),
        Err(late) => return late.to_string(),
    };
    loop {
        let reply = match timeout(SILENCE, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => reply(text.as_str(), session, stream_url),
            Ok(Some(Ok(_))) => None,
            Ok(Some(Err(error))) => return error.to_string(),
            Ok(None) => return "it ended".to_owned(),
            Err(late) => return late.to_string(),
        };
        if let Some(reply) = reply
            && let Err(error) = socket.send(Message::text(reply.to_string())).await
        {
            return error.to_string();
        }
    }
}

/// To an offer: that there is no WebRTC here, and where the pictures are. A relay may have lost the message's `type`.
fn reply(text: &str, session: &str, stream_url: &str) -> Option<Value> {
    let message: Value = serde_json::from_str(text).ok()?;
    let offer = match message.get("type").and_then(Value::as_str) {
        Some(kind) => kind == "offer",
        None => message.get("sdp").is_some(),
    };
    offer.then(|| {
        json!({
            "type": "error",
            "sessionId": session,
            "code": "no_webrtc",
            "message": format!("this simulator has no WebRTC media: its pictures are MJPEG at {stream_url}/{session}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_along_and_is_not_shown() {
        let url = "ws://127.0.0.1:1/isaac-sim/{session}".to_owned();
        let relay = Relay { url, key: Some("s3cret".to_owned()) };
        let request = relay.request("s-1").unwrap();
        assert_eq!(request.uri(), "ws://127.0.0.1:1/isaac-sim/s-1");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer s3cret");
        assert!(!format!("{relay:?}{request:?}").contains("s3cret"));
        assert!(Relay { key: Some("a\nb".to_owned()), ..relay }.request("s-1").is_err());
    }

    #[test]
    fn an_offer_is_told_where_the_pictures_are_and_nothing_else_is_answered() {
        for offer in [r#"{"type":"offer","sessionId":"s","sdp":"v=0"}"#, r#"{"sessionId":"s","sdp":"v=0"}"#] {
            let reply = reply(offer, "s", "http://127.0.0.1:1/stream").unwrap();
            assert_eq!(reply["code"], "no_webrtc");
            assert!(reply["message"].as_str().unwrap().contains("http://127.0.0.1:1/stream/s"));
        }
        for other in [r#"{"type":"ready"}"#, r#"{"type":"answer","sdp":"v=0"}"#, "[]", "rubbish"] {
            assert!(reply(other, "s", "x").is_none(), "{other}");
        }
    }
}
