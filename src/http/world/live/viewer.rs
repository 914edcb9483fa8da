//! One live viewer: what it wants, what it was sent, what it has shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::message::{self, Said, Wanted};
use crate::playback::{SeekTo, Session, View};
use crate::render::plan::FrameSet;
use crate::render::{Encoding, MAX_SCALE, ShotOptions};
use crate::scene::Scenario;

/// Sets sent and not yet acknowledged, at most.
const AHEAD: u64 = 2;
/// A viewer that does not take a message within this time is dropped.
const SEND_TIME: Duration = Duration::from_secs(20);
/// A ping goes out after this much silence.
const PING_AFTER: Duration = Duration::from_secs(20);
/// A viewer silent for this long, pongs included, is dropped.
const SILENCE: Duration = Duration::from_secs(90);
/// Between two sets of a playing clock whose instant has not moved on, or while a picture cannot be had.
const PAUSE: Duration = Duration::from_millis(15);
/// Between two tries for pictures that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Cameras at once, at most.
const MAX_CAMERAS: usize = 64;

/// Serves a viewer until either side ends it.
pub async fn serve(socket: WebSocket, session: Arc<Session>) {
    let _watching = session.watched();
    let (sender, receiver) = socket.split();
    let changes = session.watch();
    let mut viewer = Viewer {
        session,
        sender,
        receiver,
        changes,
        wanted: None,
        seq: 0,
        acknowledged: 0,
        shown: None,
        drawing: None,
        again_at: None,
        heard: Instant::now(),
    };
    // Whatever ended it, there is nobody left to tell.
    drop(viewer.run().await);
    if let Some(drawing) = viewer.drawing.take() {
        drawing.abort();
    }
}

/// The viewer has gone.
struct Gone;

/// What a set of pictures was made from; the same again need not be sent.
#[derive(Clone, PartialEq)]
struct Key {
    sequence_id: String,
    timestamp_us: i64,
    wanted: Wanted,
}

/// What a drawing task brings: the set, its scenario, and what it was made from.
struct Drawn {
    set: FrameSet,
    scenario: Arc<Scenario>,
    key: Key,
    is_playing: bool,
}

struct Viewer {
    session: Arc<Session>,
    sender: SplitSink<WebSocket, Message>,
    receiver: SplitStream<WebSocket>,
    changes: watch::Receiver<View>,
    wanted: Option<Wanted>,
    seq: u64,
    acknowledged: u64,
    shown: Option<Key>,
    drawing: Option<JoinHandle<Drawn>>,
    again_at: Option<tokio::time::Instant>,
    heard: Instant,
}

impl Viewer {
    async fn run(&mut self) -> Result<(), Gone> {
        let view = self.changes.borrow_and_update().clone();
        self.say(message::state(&view)).await?;
        loop {
            self.draw();
            let again = self.again_at;
            tokio::select! {
                incoming = timeout(PING_AFTER, self.receiver.next()) => match incoming {
                    Ok(Some(Ok(incoming))) => self.hear(incoming).await?,
                    Ok(_) => return Err(Gone),
                    Err(_) if self.heard.elapsed() > SILENCE => return Err(Gone),
                    Err(_) => self.send(Message::Ping(bytes::Bytes::new())).await?,
                },
                changed = self.changes.changed() => {
                    changed.map_err(|_| Gone)?;
                    let view = self.changes.borrow_and_update().clone();
                    self.say(message::state(&view)).await?;
                }
                drawn = finished(&mut self.drawing) => {
                    self.drawing = None;
                    if let Some(drawn) = drawn {
                        self.show(drawn).await?;
                    }
                }
                () = until(again) => self.again_at = None,
            }
        }
    }

    async fn hear(&mut self, incoming: Message) -> Result<(), Gone> {
        self.heard = Instant::now();
        let text = match incoming {
            Message::Text(text) => text,
            Message::Close(_) => return Err(Gone),
            Message::Binary(_) => return self.say(message::error("messages are JSON text")).await,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        match serde_json::from_str::<Said>(&text) {
            Ok(Said::Ack { seq }) => self.acknowledged = self.acknowledged.max(seq.min(self.seq)),
            Ok(Said::View(wanted)) => match checked(wanted) {
                Ok(wanted) => {
                    self.forget_drawing();
                    self.wanted = Some(wanted);
                }
                Err(reason) => return self.say(message::error(&reason)).await,
            },
            // What is being drawn is finished first: aborting it at every step of a scrub would show nothing at all.
            Ok(Said::Show { timestamp_us }) => {
                self.again_at = None;
                self.shown = None;
                if let Err(error) = self.session.seek(SeekTo::Instant(timestamp_us)) {
                    return self.say(message::error(&error.to_string())).await;
                }
            }
            Err(error) => return self.say(message::error(&format!("not understood: {error}"))).await,
        }
        Ok(())
    }

    /// A newer wish: what is being drawn is of no use.
    fn forget_drawing(&mut self) {
        self.again_at = None;
        if let Some(drawing) = self.drawing.take() {
            drawing.abort();
        }
    }

    /// Starts drawing the instant the clock shows, when there is something new to show and the viewer keeps up.
    fn draw(&mut self) {
        if self.drawing.is_some() || self.again_at.is_some() || self.seq - self.acknowledged >= AHEAD {
            return;
        }
        let Some(wanted) = self.wanted.clone() else { return };
        let Ok(state) = self.session.now() else { return };
        let View { scenario: Some(scenario), planner, .. } = self.session.view() else { return };
        let key =
            Key { sequence_id: scenario.sequence_id.clone(), timestamp_us: state.current_time_us, wanted };
        if self.shown.as_ref() == Some(&key) {
            if state.is_playing {
                self.again_at = Some(tokio::time::Instant::now() + PAUSE);
            }
            return;
        }
        let options = ShotOptions {
            scale: key.wanted.scale,
            encoding: Encoding::Jpeg(key.wanted.quality),
            objects: key.wanted.objects,
            ..ShotOptions::default()
        };
        let is_playing = state.is_playing;
        // Aborting the task drops the pictures nobody else waits for.
        self.drawing = Some(tokio::spawn(async move {
            let set = planner.frames(None, &scenario, key.timestamp_us, &key.wanted.cameras, &options).await;
            Drawn { set, scenario, key, is_playing }
        }));
    }

    async fn show(&mut self, drawn: Drawn) -> Result<(), Gone> {
        let Drawn { set, scenario, key, is_playing } = drawn;
        let failed = set.images.iter().any(|(_, result)| result.is_err());
        self.seq += 1;
        let (seq, outlines) = (self.seq, key.wanted.overlay);
        let packed = tokio::task::spawn_blocking(move || {
            message::frame_set(seq, is_playing, &scenario, &set, outlines)
        });
        let packed = packed.await.map_err(|_| Gone)?;
        self.send(Message::Binary(packed)).await?;
        // A camera that failed is tried again, though nothing else has changed.
        self.shown = (!failed).then_some(key);
        if failed {
            self.again_at = Some(tokio::time::Instant::now() + RETRY);
        }
        Ok(())
    }

    async fn say(&mut self, text: String) -> Result<(), Gone> {
        self.send(Message::Text(Utf8Bytes::from(text))).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        match timeout(SEND_TIME, self.sender.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

fn checked(mut wanted: Wanted) -> Result<Wanted, String> {
    if !(wanted.scale > 0.0 && wanted.scale <= MAX_SCALE) {
        return Err(format!("scale is {}, expected more than 0 and at most {MAX_SCALE}", wanted.scale));
    }
    if !(1.0..=100.0).contains(&wanted.quality) {
        return Err(format!("quality is {}, expected 1 to 100", wanted.quality));
    }
    let mut seen = std::collections::HashSet::new();
    wanted.cameras.retain(|camera| seen.insert(camera.clone()));
    if wanted.cameras.len() > MAX_CAMERAS {
        return Err(format!("{} cameras are wanted, expected at most {MAX_CAMERAS}", wanted.cameras.len()));
    }
    Ok(wanted)
}

/// The task's result; never, while there is no task.
async fn finished(drawing: &mut Option<JoinHandle<Drawn>>) -> Option<Drawn> {
    match drawing {
        Some(task) => task.await.ok(),
        None => std::future::pending().await,
    }
}

/// Sleeps until then; for ever, when there is no then.
async fn until(then: Option<tokio::time::Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}
