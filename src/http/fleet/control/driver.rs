//! One control websocket: commands in, states out.

use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::message::{self, Said};
use crate::fleet::control::{Ears, Heard, Lease, Line, RobotStream};
use crate::fleet::rows::ended;
use crate::instance::contract::FromRobot;

/// A page that does not take a message within this time is dropped.
const SEND_TIME: Duration = Duration::from_secs(10);
/// Between pings.
const PING_EVERY: Duration = Duration::from_secs(30);
/// A page that is silent for so long, pongs included, is gone.
const SILENCE: Duration = Duration::from_secs(75);
/// The same refusal is repeated at most so often: commands come every 20 ms.
const REFUSE_EVERY: Duration = Duration::from_secs(1);
/// Malformed messages within [`ABUSE_WINDOW`] that close a connection.
const MOST_MALFORMED: u32 = 50;
const ABUSE_WINDOW: Duration = Duration::from_secs(10);
/// Messages a second, as a multiple of the commands a second that are passed on, that close a connection.
const FLOOD: u32 = 10;

/// Serves a page until either side ends it.
pub async fn serve(socket: WebSocket, stream: RobotStream, max_commands_per_s: u32) {
    let (sender, receiver) = socket.split();
    let driver = Driver {
        ears: stream.listen(),
        leases: stream.leases(),
        line: stream.line(),
        stream,
        sender,
        receiver,
        heard_at: Instant::now(),
        refused: None,
        malformed: Count::default(),
        messages: Count::default(),
        flood: max_commands_per_s.max(20).saturating_mul(FLOOD),
        told: String::new(),
    };
    driver.run().await;
}

/// Why a connection ends.
enum End {
    /// The page said goodbye.
    Goodbye,
    /// It went away without a word.
    Gone,
    /// We end it.
    Close(u16, &'static str),
}

/// Events in the running window.
#[derive(Default)]
struct Count {
    since: Option<Instant>,
    events: u32,
}

impl Count {
    fn one_more(&mut self, window: Duration) -> u32 {
        if self.since.is_none_or(|since| since.elapsed() > window) {
            self.since = Some(Instant::now());
            self.events = 0;
        }
        self.events += 1;
        self.events
    }
}

struct Driver {
    stream: RobotStream,
    ears: Ears,
    leases: watch::Receiver<Lease>,
    line: watch::Receiver<Line>,
    sender: SplitSink<WebSocket, Message>,
    receiver: SplitStream<WebSocket>,
    heard_at: Instant,
    refused: Option<(Instant, String)>,
    malformed: Count,
    messages: Count,
    flood: u32,
    /// The last word on who drives.
    told: String,
}

impl Driver {
    async fn run(mut self) {
        let end = match self.carry().await {
            Ok(()) => End::Gone,
            Err(end) => end,
        };
        match end {
            End::Goodbye => self.stream.leave(),
            End::Gone => {}
            End::Close(code, reason) => {
                let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
                // Whatever becomes of it, there is nobody left to tell.
                drop(timeout(SEND_TIME, self.sender.send(Message::Close(Some(frame)))).await);
            }
        }
    }

    async fn carry(&mut self) -> Result<(), End> {
        let lease = self.leases.borrow_and_update().clone();
        self.say(message::connected(self.stream.session(), &lease, self.stream.driving())).await?;
        let line = self.line.borrow_and_update().clone();
        self.say(message::line(&line)).await?;
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        loop {
            tokio::select! {
                incoming = self.receiver.next() => match incoming {
                    Some(Ok(incoming)) => self.hear(incoming).await?,
                    Some(Err(error)) if error.to_string().contains("too long") || error.to_string().contains("too big") => {
                        return Err(End::Close(close_code::SIZE, "messages have at most 64 KiB"));
                    }
                    _ => return Err(End::Gone),
                },
                heard = self.ears.next() => match heard {
                    Some(heard) => self.relay(&heard).await?,
                    None => return self.over().await,
                },
                changed = self.leases.changed() => {
                    if changed.is_err() {
                        return self.over().await;
                    }
                    self.tell_mode().await?;
                }
                changed = self.line.changed() => {
                    if changed.is_ok() {
                        let line = self.line.borrow_and_update().clone();
                        self.say(message::line(&line)).await?;
                    }
                }
                _ = ping.tick() => {
                    if self.heard_at.elapsed() > SILENCE {
                        return Err(End::Gone);
                    }
                    self.send(Message::Ping(bytes::Bytes::new())).await?;
                }
            }
        }
    }

    async fn hear(&mut self, incoming: Message) -> Result<(), End> {
        self.heard_at = Instant::now();
        let text = match incoming {
            Message::Text(text) => text,
            Message::Close(frame) => {
                // A page that is reloaded closes with 1001 and comes back.
                let goodbye = frame.is_some_and(|frame| frame.code == close_code::NORMAL);
                return Err(if goodbye { End::Goodbye } else { End::Gone });
            }
            Message::Binary(_) => return self.malformed("messages are JSON text").await,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        if self.messages.one_more(Duration::from_secs(1)) > self.flood {
            return Err(End::Close(close_code::POLICY, "too many messages"));
        }
        match message::read(&text) {
            Ok(Said::Command(command)) => match self.stream.send(command).await {
                Ok(()) => Ok(()),
                Err(error) => self.refuse(error.to_string()).await,
            },
            Ok(Said::Mode { manual: true, force, record, .. }) => match self.stream.take(force, record).await
            {
                Ok(()) => self.tell_mode().await,
                Err(error) => self.say(message::error(&error.to_string())).await,
            },
            Ok(Said::Mode { resume, .. }) => match self.stream.give_back(resume).await {
                Ok(id) if id.is_empty() => Ok(()),
                Ok(id) => self.say(message::recorded(&id)).await,
                Err(error) => self.say(message::error(&error.to_string())).await,
            },
            Ok(Said::Ping) => self.say(message::pong()).await,
            Err(why) => self.malformed(&why).await,
        }
    }

    async fn relay(&mut self, heard: &Heard) -> Result<(), End> {
        // Who drives is for the orchestrator to say.
        if matches!(heard.message, Some(FromRobot::Mode { .. })) {
            return Ok(());
        }
        match Utf8Bytes::try_from(heard.text.clone()) {
            Ok(text) => self.send(Message::Text(text)).await,
            Err(_) => Ok(()),
        }
    }

    /// Says who drives, when that or what comes with it has changed.
    async fn tell_mode(&mut self) -> Result<(), End> {
        let lease = self.leases.borrow_and_update().clone();
        let told = message::mode(&lease, self.stream.driving());
        // A renewal changes nothing that a page shows.
        if told == self.told {
            return Ok(());
        }
        self.refused = None;
        self.told.clone_from(&told);
        self.say(told).await
    }

    async fn malformed(&mut self, why: &str) -> Result<(), End> {
        if self.malformed.one_more(ABUSE_WINDOW) > MOST_MALFORMED {
            return Err(End::Close(close_code::POLICY, "too many messages that are none"));
        }
        self.say(message::error(why)).await
    }

    async fn refuse(&mut self, why: String) -> Result<(), End> {
        let told =
            self.refused.as_ref().is_some_and(|(at, told)| *told == why && at.elapsed() < REFUSE_EVERY);
        if told {
            return Ok(());
        }
        self.refused = Some((Instant::now(), why.clone()));
        self.say(message::error(&why)).await
    }

    async fn over(&mut self) -> Result<(), End> {
        let lease = self.leases.borrow().clone();
        if !ended(lease.phase) {
            return Err(End::Close(
                close_code::RESTART,
                "the orchestrator stops: come back with the same token",
            ));
        }
        self.say(message::ended(&lease)).await?;
        Err(End::Close(close_code::NORMAL, "the session is over"))
    }

    async fn say(&mut self, text: String) -> Result<(), End> {
        self.send(Message::Text(Utf8Bytes::from(text))).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(SEND_TIME, self.sender.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(End::Gone),
        }
    }
}
