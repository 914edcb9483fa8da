//! The trainer's end: asks, waits as long as it was told to, and never wedges.
//!
//! A REQ socket hangs for ever after one lost reply. This one is a DEALER with an empty delimiter and one request under way;
//! after a timeout or a lost connection it connects anew, so a late reply reaches nobody.

use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::message::{Begun, Request, Spec, Stepped, read};
use crate::instance::zmtp::{Wire, WireError};

/// Observations may carry pictures.
const LONGEST_ANSWER_BYTES: usize = 64 << 20;

/// What goes wrong between a trainer and a simulator.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Not `tcp://HOST:PORT`.
    #[error("endpoint {endpoint:?} is not tcp://HOST:PORT")]
    Endpoint {
        /// As given.
        endpoint: String,
    },
    /// Nobody can listen there.
    #[error("cannot listen on {endpoint}: {source}")]
    Bind {
        /// Where.
        endpoint: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection failed or ended.
    #[error("{endpoint}: {source}")]
    Lost {
        /// Where.
        endpoint: String,
        /// Why.
        source: WireError,
    },
    /// No answer in time.
    #[error("{endpoint} did not answer within {limit_ms} ms")]
    Timeout {
        /// Where.
        endpoint: String,
        /// How long it was waited.
        limit_ms: u128,
    },
    /// The answer is not what the protocol says.
    #[error("{endpoint} answered what cannot be read: {problem}")]
    Malformed {
        /// Where.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The simulator says no.
    #[error("{endpoint} refused: {message}")]
    Refused {
        /// Where.
        endpoint: String,
        /// Its words.
        message: String,
    },
}

/// `HOST:PORT` of `tcp://HOST:PORT`.
pub(super) fn address(endpoint: &str) -> Result<&str, StepError> {
    endpoint
        .strip_prefix("tcp://")
        .filter(|address| {
            address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        })
        .ok_or_else(|| StepError::Endpoint { endpoint: endpoint.chars().take(200).collect() })
}

/// One environment's socket. It connects when first asked something.
#[derive(Debug)]
pub struct StepClient {
    endpoint: String,
    wire: Option<Wire>,
}

impl StepClient {
    /// Takes `tcp://HOST:PORT`; connects later.
    ///
    /// # Errors
    /// When that is malformed.
    pub fn new(endpoint: &str) -> Result<Self, StepError> {
        address(endpoint)?;
        Ok(Self { endpoint: endpoint.to_owned(), wire: None })
    }

    /// As it was given.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Begins an episode.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub async fn reset(&mut self, seed: Option<u64>, limit: Duration) -> Result<Begun, StepError> {
        self.ask(&Request::Reset { seed }, limit).await
    }

    /// Does one step. After an error the step may or may not have been done: reset.
    ///
    /// # Errors
    /// When there is no answer in time, the connection ends, or the simulator refuses.
    pub async fn step(
        &mut self,
        action: Vec<f64>,
        timestamp_s: Option<f64>,
        limit: Duration,
    ) -> Result<Stepped, StepError> {
        self.ask(&Request::Step { action, timestamp: timestamp_s }, limit).await
    }

    /// Asks for sizes.
    ///
    /// # Errors
    /// As [`Self::step`]; simulators that do not know the command refuse.
    pub async fn spec(&mut self, limit: Duration) -> Result<Spec, StepError> {
        self.ask(&Request::Spec, limit).await
    }

    /// Says that the environment is not needed any more.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub async fn close(&mut self, limit: Duration) -> Result<(), StepError> {
        self.ask::<serde_json::Value>(&Request::Close, limit).await.map(drop)
    }

    async fn ask<T: DeserializeOwned>(&mut self, request: &Request, limit: Duration) -> Result<T, StepError> {
        // Taken out, and put back only with its answer read: whoever drops this future drops the connection, and with it
        // the answer that would have come.
        let wire = self.wire.take();
        let Ok(exchanged) = timeout(limit, self.exchange(wire, request)).await else {
            return Err(StepError::Timeout { endpoint: self.endpoint.clone(), limit_ms: limit.as_millis() });
        };
        let (wire, frames) =
            exchanged.map_err(|source| StepError::Lost { endpoint: self.endpoint.clone(), source })?;
        let malformed = |problem: String| StepError::Malformed { endpoint: self.endpoint.clone(), problem };
        let [delimiter, body]: [Bytes; 2] = frames.try_into().map_err(|frames: Vec<Bytes>| {
            malformed(format!("{} frames; expected an empty one and one of JSON", frames.len()))
        })?;
        if !delimiter.is_empty() {
            return Err(malformed("the first frame is not empty".to_owned()));
        }
        let answer = read(&body).map_err(|error| malformed(error.to_string()))?;
        self.wire = Some(wire);
        answer.map_err(|message| StepError::Refused { endpoint: self.endpoint.clone(), message })
    }

    async fn exchange(&self, wire: Option<Wire>, request: &Request) -> Result<(Wire, Vec<Bytes>), WireError> {
        let text = serde_json::to_vec(request).map_err(std::io::Error::from)?;
        if let Some(wire) = wire {
            let old = round_trip(wire, &text).await;
            // The simulator may have been started anew since; only a step must not be asked for twice.
            if old.is_ok() || matches!(request, Request::Step { .. }) {
                return old;
            }
        }
        round_trip(self.connect().await?, &text).await
    }

    async fn connect(&self) -> Result<Wire, WireError> {
        let stream = TcpStream::connect(self.endpoint.trim_start_matches("tcp://")).await?;
        Wire::handshake(stream, "DEALER", &["REP", "ROUTER"], LONGEST_ANSWER_BYTES).await
    }
}

async fn round_trip(mut wire: Wire, text: &[u8]) -> Result<(Wire, Vec<Bytes>), WireError> {
    wire.send(&[Bytes::new()], text).await?;
    let frames = wire.receive().await?;
    Ok((wire, frames))
}
