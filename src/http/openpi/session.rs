//! One openpi connection. Observations are answered strictly one at a time and in order; while the model works
//! the socket is still read, so pings are answered and a client that went away frees its place at once.
//!
//! An error is a text frame, as the stock client expects. What the client sent wrong, or a failed network, also
//! closes the connection with 1011, as openpi's server does; a refusal that passes (overload, a newer
//! observation, a late answer) does not, so the client may simply send the next observation.

use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::observation::{self, ObservationError};
use super::reply::{self, Served};
use crate::policy::request::{PredictError, PredictRequest, Prediction};
use crate::policy::service::{PolicyService, ServiceState};
use crate::telemetry::metrics;

/// How often a connection looks whether the server is stopping or the model has come.
const LOOK: Duration = Duration::from_millis(100);
/// Time for the other side to answer a close frame.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Messages above this many bytes are parsed on a blocking thread.
const PARSE_INLINE_BYTES: usize = 2 << 20;

/// Limits of openpi connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenpiOptions {
    /// Connections open at once; one more is answered 503.
    pub max_connections: usize,
    /// Largest message, in bytes; a few uncompressed camera pictures.
    pub max_message_bytes: usize,
    /// A client that does not take an answer within this time is dropped.
    pub send_timeout: Duration,
    /// A ping is sent after this much silence.
    pub ping_after: Duration,
    /// A client that is silent for this long, pongs included, is dropped.
    pub silence_limit: Duration,
}

impl Default for OpenpiOptions {
    fn default() -> Self {
        Self {
            max_connections: 256,
            max_message_bytes: 128 << 20,
            send_timeout: Duration::from_secs(20),
            ping_after: Duration::from_secs(20),
            silence_limit: Duration::from_secs(120),
        }
    }
}

/// Serves one connection until either side ends it. `robot_id` is the one of the upgrade request, for
/// observations that bring none.
pub async fn serve(
    socket: WebSocket,
    service: PolicyService,
    options: OpenpiOptions,
    robot_id: Option<String>,
) {
    let (sender, receiver) = socket.split();
    let mut session = Session {
        service,
        options,
        robot_id,
        sender,
        receiver,
        pending: None,
        heard: Instant::now(),
        pinged: Instant::now(),
        previous_total: None,
    };
    let end = session.run().await;
    tracing::debug!(?end, "openpi connection ended");
    session.close(end).await;
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client closed it, vanished, or does not take its answers.
    Gone,
    /// The text went out; close with this code and reason.
    Close(u16, &'static str),
}

/// A message that wants an answer.
enum Heard {
    /// One observation, in msgpack.
    Observation(Bytes),
    /// A text frame, to be refused in its turn.
    Text,
}

struct Session {
    service: PolicyService,
    options: OpenpiOptions,
    robot_id: Option<String>,
    sender: SplitSink<WebSocket, Message>,
    receiver: SplitStream<WebSocket>,
    pending: Option<Heard>,
    heard: Instant,
    pinged: Instant,
    previous_total: Option<Duration>,
}

impl Session {
    async fn run(&mut self) -> End {
        match self.greet().await {
            Ok(()) => {}
            Err(end) => return end,
        }
        loop {
            let message = match self.next().await {
                Ok(message) => message,
                Err(end) => return end,
            };
            let start = Instant::now();
            let answered = self.answer(message, start).await;
            if let Err(end) = answered {
                return end;
            }
            self.previous_total = Some(start.elapsed());
        }
    }

    /// Waits for the model and sends its metadata: a client that connects early waits instead of failing.
    async fn greet(&mut self) -> Result<(), End> {
        let model = loop {
            match (self.service.state(), self.service.model()) {
                (ServiceState::Failed(reason), _) => {
                    return Err(self.refuse(&format!("model_failed: {reason}")).await);
                }
                (ServiceState::Draining, _) => return Err(END_STOPPING),
                (_, Some(model)) => break model,
                (_, None) => self.listen_for(LOOK).await?,
            }
        };
        match reply::metadata(&model) {
            Ok(metadata) => self.send(Message::Binary(metadata.into())).await,
            Err(error) => Err(self.refuse(&error.to_string()).await),
        }
    }

    async fn answer(&mut self, message: Heard, start: Instant) -> Result<(), End> {
        let request = match self.parse(message).await {
            Ok(request) => request,
            Err(error) => {
                metrics::observe_request("openpi", "invalid_observation", start.elapsed());
                return Err(self.refuse(&format!("invalid_observation: {error}")).await);
            }
        };
        match self.predict(request).await? {
            Ok(prediction) => {
                let served = Served { total: start.elapsed(), previous_total: self.previous_total };
                match reply::answer(&prediction, served) {
                    Ok(answer) => self.send(Message::Binary(answer.into())).await,
                    Err(error) => Err(self.refuse(&error.to_string()).await),
                }
            }
            Err(error) => {
                let text = format!("{}: {error}", error.code());
                match error {
                    PredictError::Overloaded { .. }
                    | PredictError::Superseded(_)
                    | PredictError::DeadlineExceeded { .. }
                    | PredictError::Loading => self.send(Message::Text(text.into())).await,
                    PredictError::ShuttingDown => {
                        self.send(Message::Text(text.into())).await?;
                        Err(END_STOPPING)
                    }
                    _ => Err(self.refuse(&text).await),
                }
            }
        }
    }

    async fn parse(&self, message: Heard) -> Result<PredictRequest, ObservationError> {
        let Heard::Observation(message) = message else {
            return Err(ObservationError::NotADictionary("a text frame; it is a binary msgpack message"));
        };
        let limits = self.service.limits();
        let parsed = if message.len() <= PARSE_INLINE_BYTES {
            observation::parse(&message, &limits)
        } else {
            let parsed = tokio::task::spawn_blocking(move || observation::parse(&message, &limits)).await;
            parsed.unwrap_or(Err(ObservationError::NotADictionary("unreadable")))
        };
        parsed.map(|mut request| {
            request.robot_id = request.robot_id.or_else(|| self.robot_id.clone());
            request
        })
    }

    /// Runs the model and reads the socket meanwhile: one further observation is kept, then reading stops.
    async fn predict(&mut self, request: PredictRequest) -> Result<Result<Prediction, PredictError>, End> {
        let service = self.service.clone();
        let work = service.predict(request);
        tokio::pin!(work);
        loop {
            if self.pending.is_some() {
                return Ok(work.await);
            }
            tokio::select! {
                biased;
                answer = &mut work => return Ok(answer),
                heard = self.receiver.next() => self.pending = self.take(heard)?,
            }
        }
    }

    /// The next observation.
    async fn next(&mut self) -> Result<Heard, End> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(message) = self.pending.take() {
                return Ok(message);
            }
            tokio::select! {
                biased;
                heard = self.receiver.next() => self.pending = self.take(heard)?,
                _ = look.tick() => self.look().await?,
            }
        }
    }

    async fn look(&mut self) -> Result<(), End> {
        if self.service.state() == ServiceState::Draining {
            return Err(END_STOPPING);
        }
        let silent = self.heard.elapsed();
        if silent > self.options.silence_limit {
            return Err(End::Gone);
        }
        if silent > self.options.ping_after && self.pinged.elapsed() > self.options.ping_after {
            self.pinged = Instant::now();
            self.send(Message::Ping(Bytes::new())).await?;
        }
        Ok(())
    }

    async fn listen_for(&mut self, time: Duration) -> Result<(), End> {
        if self.pending.is_some() {
            tokio::time::sleep(time).await;
        } else if let Ok(heard) = timeout(time, self.receiver.next()).await {
            self.pending = self.take(heard)?;
        }
        Ok(())
    }

    /// What was heard, if it wants an answer.
    fn take(&mut self, heard: Option<Result<Message, axum::Error>>) -> Result<Option<Heard>, End> {
        self.heard = Instant::now();
        match heard {
            Some(Ok(Message::Binary(message))) => Ok(Some(Heard::Observation(message))),
            Some(Ok(Message::Text(_))) => Ok(Some(Heard::Text)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
            Some(Ok(Message::Close(_))) | None => Err(End::Gone),
            Some(Err(error)) => {
                tracing::debug!(%error, "openpi connection broke");
                let too_long = error.to_string().contains("too long");
                Err(if too_long { END_TOO_LONG } else { End::Gone })
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.options.send_timeout, self.sender.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    async fn refuse(&mut self, text: &str) -> End {
        match self.send(Message::Text(text.into())).await {
            Ok(()) => {
                End::Close(close_code::ERROR, "Internal server error. The reason is in the previous frame.")
            }
            Err(end) => end,
        }
    }

    /// Says goodbye and waits a moment for the other side, so that the last frame is not lost to a reset.
    async fn close(mut self, end: End) {
        let End::Close(code, reason) = end else { return };
        let frame = CloseFrame { code, reason: reason.into() };
        if self.send(Message::Close(Some(frame))).await.is_ok() {
            let rest = async { while let Some(Ok(_)) = self.receiver.next().await {} };
            let _late = timeout(CLOSE_GRACE, rest).await;
        }
    }
}

const END_TOO_LONG: End = End::Close(close_code::SIZE, "the message is longer than this server takes");
const END_STOPPING: End = End::Close(close_code::AWAY, "the server is shutting down");
