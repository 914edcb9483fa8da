//! The simulator's end: a REP socket that no client can wedge.
//!
//! Each connection has a task that reads, waits for its answer and writes; the handler belongs to one task of its own. A
//! client that does not read, vanishes or sends rubbish holds up itself alone.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::client::StepError;
use super::message::{Answer, Request};
use crate::instance::zmtp::{Wire, WireError};

/// An action is a few numbers.
const LONGEST_REQUEST_BYTES: usize = 1 << 20;
const MOST_CLIENTS: usize = 64;
/// Between two tries to accept when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What answers: one request at a time, in the order they came.
pub trait Handler: Send + 'static {
    /// Answers one request; [`Answer::Refused`] for what cannot be done. May take its time (a person drives).
    fn answer(&mut self, request: Request) -> impl Future<Output = Answer> + Send;
}

struct Asked {
    request: Request,
    reply: oneshot::Sender<Answer>,
}

/// A bound socket; it closes when this is dropped.
#[derive(Debug)]
pub struct StepServer {
    endpoint: String,
    tasks: [JoinHandle<()>; 2],
}

impl StepServer {
    /// Binds `endpoint` (`tcp://HOST:PORT`; port 0 takes a free one) and answers until dropped.
    ///
    /// # Errors
    /// When the endpoint is malformed or cannot be listened on.
    pub async fn bind(endpoint: &str, handler: impl Handler) -> Result<Self, StepError> {
        let address = super::client::address(endpoint)?;
        let address = address.strip_prefix("*:").map_or(address.to_owned(), |port| format!("0.0.0.0:{port}"));
        let bind = |source: io::Error| StepError::Bind { endpoint: endpoint.to_owned(), source };
        let listener = TcpListener::bind(&address).await.map_err(bind)?;
        let endpoint = format!("tcp://{}", listener.local_addr().map_err(bind)?);
        let (asks, asked) = mpsc::channel(MOST_CLIENTS);
        Ok(Self {
            endpoint,
            tasks: [tokio::spawn(work(handler, asked)), tokio::spawn(accept(listener, asks))],
        })
    }

    /// Where it really listens: `tcp://127.0.0.1:40123`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl Drop for StepServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn work(mut handler: impl Handler, mut asked: mpsc::Receiver<Asked>) {
    while let Some(Asked { request, reply }) = asked.recv().await {
        // A client that is gone does not get its step done.
        if !reply.is_closed() {
            drop(reply.send(handler.answer(request).await));
        }
    }
}

async fn accept(listener: TcpListener, asks: mpsc::Sender<Asked>) {
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((_, peer)) if clients.len() >= MOST_CLIENTS => {
                tracing::warn!(%peer, "refused a step client: {MOST_CLIENTS} are connected");
            }
            Ok((stream, peer)) => {
                clients.spawn(serve(stream, peer, asks.clone()));
            }
            Err(error) => {
                tracing::warn!("cannot accept a step client: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, asks: mpsc::Sender<Asked>) {
    match converse(stream, &asks).await {
        Ok(()) | Err(WireError::Closed) => {}
        Err(error) => tracing::debug!(%peer, "a step client went: {error}"),
    }
}

async fn converse(stream: TcpStream, asks: &mpsc::Sender<Asked>) -> Result<(), WireError> {
    let mut wire = Wire::handshake(stream, "REP", &["REQ", "DEALER"], LONGEST_REQUEST_BYTES).await?;
    let mut text = Vec::with_capacity(512);
    loop {
        let mut frames = wire.receive().await?;
        let body = split_envelope(&mut frames);
        let answer = match body
            .as_deref()
            .ok_or_else(|| "expected one frame of JSON".to_owned())
            .and_then(Request::parse)
        {
            Ok(request) => {
                let (reply, answer) = oneshot::channel();
                if asks.send(Asked { request, reply }).await.is_err() {
                    return Ok(());
                }
                match answer.await {
                    Ok(answer) => answer,
                    Err(_) => return Ok(()),
                }
            }
            Err(error) => Answer::Refused { error },
        };
        text.clear();
        if let Err(error) = serde_json::to_writer(&mut text, &answer) {
            text = format!("{{\"error\":\"the answer cannot be written: {}\"}}", error.classify() as u8)
                .into_bytes();
        }
        wire.send(&frames, &text).await?;
    }
}

/// Leaves the envelope (up to and with the empty frame) in `frames` and takes the one body frame, if it is one.
fn split_envelope(frames: &mut Vec<Bytes>) -> Option<Bytes> {
    let bodies = match frames.iter().position(Bytes::is_empty) {
        Some(delimiter) => frames.split_off(delimiter + 1),
        None => std::mem::take(frames),
    };
    let [body]: [Bytes; 1] = bodies.try_into().ok()?;
    Some(body)
}
