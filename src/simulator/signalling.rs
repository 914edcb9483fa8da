//! The simulator's place in a WebRTC signalling relay. It has no WebRTC media: whoever offers a connection is told where
//! the pictures are instead, at once, and does not wait for ever.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::handle::Simulator;

/// What stands for the session's id in the relay's URL.
pub const SESSION: &str = "{session}";
/// Between two tries to join.
const PAUSE: Duration = Duration::from_secs(2);

/// Joins the relay as `isaac-sim` whenever a session is loaded, for ever. `{session}` in the URL is the session's id.
pub async fn join(simulator: Simulator, relay: String, stream_url: String) {
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
async fn answer(relay: &str, session: &str, stream_url: &str) -> String {
    let url = relay.replace(SESSION, session);
    let mut socket = match connect_async(url).await {
        Ok((socket, _)) => socket,
        Err(error) => return error.to_string(),
    };
    while let Some(message) = socket.next().await {
        let reply = match message {
            Ok(Message::Text(text)) => reply(text.as_str(), session, stream_url),
            Ok(_) => None,
            Err(error) => return error.to_string(),
        };
        if let Some(reply) = reply
            && let Err(error) = socket.send(Message::text(reply.to_string())).await
        {
            return error.to_string();
        }
    }
    "it ended".to_owned()
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
