//! The control websocket: commands in, what the robot says out. A peer that does not read loses messages, one that does
//! not answer pings loses its connection.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::InstanceState;
use super::answer::Refusal;
use super::session::fence as fence_of;
use crate::instance::contract::{Fenced, FromRobot, ToRobot};
use crate::simulator::{Ending, Heard, Said, Simulator, SimulatorError};

/// The longest command.
const MOST_BYTES: usize = 64 << 10;
/// A peer that takes nothing for so long is gone.
const SEND_LIMIT: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(10);
/// A peer of which nothing was heard for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// The same refusal is said no more often than this.
const SAME_REFUSAL: Duration = Duration::from_secs(1);
/// Close code: another session was granted this simulator.
const SUPERSEDED: u16 = 4409;
/// Close code: the session was deleted.
const NORMAL: u16 = 1000;

/// `GET /control/{id}?fence=N`.
pub async fn open(
    State(state): State<InstanceState>,
    Path(id): Path<String>,
    fence: Result<Query<Fenced>, QueryRejection>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Refusal> {
    let fence = fence_of(fence)?;
    let heard = state.simulator.listen();
    state.simulator.check(&id, fence).await?;
    let simulator = state.simulator;
    Ok(upgrade.max_message_size(MOST_BYTES).max_frame_size(MOST_BYTES).on_upgrade(move |socket| async move {
        let _client = simulator.client();
        let control = Control { simulator, id, fence, refused: None };
        control.converse(socket, heard).await;
    }))
}

struct Control {
    simulator: Simulator,
    id: String,
    fence: u64,
    refused: Option<(String, Instant)>,
}

/// The connection is over.
struct Over;

impl Control {
    async fn converse(mut self, mut socket: WebSocket, mut heard: tokio::sync::broadcast::Receiver<Heard>) {
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alive = Instant::now();
        loop {
            let step = tokio::select! {
                message = socket.recv() => match message {
                    Some(Ok(message)) => {
                        alive = Instant::now();
                        self.take(&mut socket, message).await
                    }
                    Some(Err(_)) | None => Err(Over),
                },
                message = heard.recv() => match message {
                    Ok(heard) if *heard.session == *self.id => pass_on(&mut socket, heard.said).await,
                    Ok(_) | Err(RecvError::Lagged(_)) => Ok(()),
                    Err(RecvError::Closed) => Err(Over),
                },
                _ = pings.tick() => {
                    if alive.elapsed() > SILENCE {
                        Err(Over)
                    } else {
                        send(&mut socket, Message::Ping(bytes::Bytes::new())).await
                    }
                }
            };
            if step.is_err() {
                return;
            }
        }
    }

    async fn take(&mut self, socket: &mut WebSocket, message: Message) -> Result<(), Over> {
        let read = match &message {
            Message::Text(text) => serde_json::from_str::<ToRobot>(text.as_str()),
            Message::Binary(bytes) => serde_json::from_slice::<ToRobot>(bytes),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(Over),
        };
        let outcome = match read {
            Ok(command) => self.simulator.command(&self.id, self.fence, command).await,
            Err(error) => Err(SimulatorError::Invalid(format!("not a command: {error}"))),
        };
        let Err(error) = outcome else { return Ok(()) };
        let message = error.to_string();
        let now = Instant::now();
        if self.refused.as_ref().is_some_and(|(same, at)| *same == message && now - *at < SAME_REFUSAL) {
            return Ok(());
        }
        self.refused = Some((message.clone(), now));
        pass_on(socket, Said::Robot(FromRobot::Error { message })).await
    }
}

async fn pass_on(socket: &mut WebSocket, said: Said) -> Result<(), Over> {
    match said {
        Said::Robot(message) => {
            let text = serde_json::to_string(&message).map_err(|_| Over)?;
            send(socket, Message::Text(Utf8Bytes::from(text))).await
        }
        Said::Ended(ending) => {
            let (code, reason) = match ending {
                Ending::Superseded(fence) => {
                    (SUPERSEDED, format!("another session was loaded under fence {fence}"))
                }
                Ending::Deleted => (NORMAL, "the session was deleted".to_owned()),
            };
            drop(send(socket, Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await);
            Err(Over)
        }
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), Over> {
    match timeout(SEND_LIMIT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Over),
    }
}
