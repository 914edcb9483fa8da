//! The stream itself: made, kept, made anew.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Request, Status, Streaming};

use super::{Holding, Presence, Pulse};
use crate::proto::neuro::ext::instance_message::M;
use crate::proto::neuro::ext::instance_service_client::InstanceServiceClient;
use crate::proto::neuro::ext::{self, InstanceMessage, Order, order};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// From Hello to Accepted.
const WELCOME_LIMIT: Duration = Duration::from_secs(10);
const USUAL_BEAT_MS: i32 = 5_000;
/// Answers kept for an orchestrator that is away; older ones are of orders it forgot.
const MOST_KEPT: usize = 256;

pub(super) struct Keeper {
    pub endpoint: Endpoint,
    pub key: Option<MetadataValue<Ascii>>,
    pub hello: ext::Hello,
    pub pulse: Pulse,
    pub said: mpsc::Receiver<InstanceMessage>,
    pub orders: mpsc::Sender<Order>,
    pub holding: watch::Receiver<Holding>,
    pub presence: watch::Sender<Presence>,
}

/// What waits to be said.
#[derive(Default)]
struct Kept {
    messages: VecDeque<InstanceMessage>,
    /// The session it is of, and the end.
    end: Option<(String, InstanceMessage)>,
}

impl Kept {
    fn put(&mut self, message: InstanceMessage, session: &str) {
        match &message.m {
            Some(M::TrainingEnd(_)) => self.end = Some((session.to_owned(), message)),
            Some(M::Progress(_)) => {
                self.messages.retain(|kept| !matches!(kept.m, Some(M::Progress(_))));
                self.messages.push_back(message);
            }
            _ => self.messages.push_back(message),
        }
        while self.messages.len() > MOST_KEPT {
            self.messages.pop_front();
        }
    }
}

/// Ends when the attachment is dropped.
pub(super) async fn keep(mut keeper: Keeper) {
    let mut kept = Kept::default();
    let mut pause = FIRST_PAUSE;
    let mut last_said = String::new();
    while !keeper.orders.is_closed() {
        let outcome = keeper.once(&mut kept).await;
        let was_here = *keeper.presence.borrow() == Presence::Here;
        if was_here {
            keeper.presence.send_replace(Presence::AwaySince(Instant::now()));
            pause = FIRST_PAUSE;
            last_said.clear();
        }
        let why = match outcome {
            Ok(()) => "it ended the stream".to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        };
        // Every second for hours would fill a disk: a reason is said once.
        if why != last_said {
            tracing::warn!("not attached to the orchestrator: {why}; trying again");
            last_said = why;
        }
        keeper.listen_for(pause, &mut kept).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Keeper {
    /// Waits, and takes what is said meanwhile.
    async fn listen_for(&mut self, pause: Duration, kept: &mut Kept) {
        let over = sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                Some(message) = self.said.recv() => {
                    let session = self.holding.borrow().session.clone();
                    kept.put(message, &session);
                }
            }
        }
    }

    /// One stream from beginning to end.
    async fn once(&mut self, kept: &mut Kept) -> Result<(), Status> {
        let lost = |error: tonic::transport::Error| Status::unavailable(reason(&error));
        let channel = self.endpoint.connect().await.map_err(lost)?;
        let (out, messages) = mpsc::channel(super::WAITING);
        let holding = self.holding.borrow_and_update().clone();
        let hello = ext::Hello {
            holding_session: holding.session,
            holding_fence: holding.fence,
            ..self.hello.clone()
        };
        send(&out, M::Hello(hello)).await?;
        let mut request = Request::new(ReceiverStream::new(messages));
        if let Some(key) = &self.key {
            request.metadata_mut().insert("authorization", key.clone());
        }
        let slow = |_| Status::deadline_exceeded(format!("no welcome within {} s", WELCOME_LIMIT.as_secs()));
        let mut client = InstanceServiceClient::new(channel);
        let mut orders = timeout(WELCOME_LIMIT, client.attach(request)).await.map_err(slow)??.into_inner();
        let welcome = timeout(WELCOME_LIMIT, orders.message()).await.map_err(slow)??;
        let Some(Order { o: Some(order::O::Accepted(accepted)), .. }) = welcome else {
            return Err(Status::failed_precondition("the orchestrator's first order is not Accepted"));
        };
        tracing::info!(
            interval_ms = accepted.interval_ms,
            lease_ms = accepted.lease_ms,
            "attached to the orchestrator"
        );
        self.presence.send_replace(Presence::Here);
        if let Some((session, end)) = kept.end.take() {
            // One that somebody else has by now is no news of this instance.
            if session == self.holding.borrow().session {
                send_whole(&out, end.clone()).await?;
                kept.end = Some((session, end));
            }
        }
        while let Some(message) = kept.messages.pop_front() {
            send_whole(&out, message).await?;
        }
        self.attend(&out, &mut orders, accepted.interval_ms, kept).await
    }

    async fn attend(
        &mut self,
        out: &mpsc::Sender<InstanceMessage>,
        orders: &mut Streaming<Order>,
        interval_ms: i32,
        kept: &mut Kept,
    ) -> Result<(), Status> {
        let every = if interval_ms > 0 { interval_ms } else { USUAL_BEAT_MS }.clamp(20, 60_000);
        let mut beat = interval(Duration::from_millis(every.unsigned_abs().into()));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seq = 0_i64;
        loop {
            tokio::select! {
                order = orders.message() => {
                    let Some(order) = order? else { return Ok(()) };
                    if self.orders.send(order).await.is_err() {
                        return Ok(());
                    }
                }
                Some(message) = self.said.recv() => {
                    let session = self.holding.borrow().session.clone();
                    if matches!(message.m, Some(M::TrainingEnd(_))) {
                        kept.put(message.clone(), &session);
                    }
                    if let Err(unsent) = out.send(message).await {
                        kept.put(unsent.0, &session);
                        return Err(Status::unavailable("the stream is closed"));
                    }
                }
                _ = beat.tick() => {
                    seq += 1;
                    let session_id = self.holding.borrow().session.clone();
                    send(out, M::Heartbeat(ext::Heartbeat { seq, session_id, ..(self.pulse)() })).await?;
                }
            }
        }
    }
}

async fn send(out: &mpsc::Sender<InstanceMessage>, message: M) -> Result<(), Status> {
    send_whole(out, InstanceMessage { m: Some(message) }).await
}

async fn send_whole(out: &mpsc::Sender<InstanceMessage>, message: InstanceMessage) -> Result<(), Status> {
    out.send(message).await.map_err(|_| Status::unavailable("the stream is closed"))
}

/// tonic's own text is `transport error`; what happened is below it.
fn reason(error: &tonic::transport::Error) -> String {
    let mut text = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        text = cause.to_string();
        below = cause.source();
    }
    text
}
