//! The orchestrator's one websocket to a simulator: opened when somebody needs it, opened again when the simulator comes
//! back or is replaced, closed when nobody needs it any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::look::{Place, Robot};
use super::wheel::{Heard, Wheel};
use crate::fleet::books::Books;
use crate::instance::contract::FromRobot;

/// Longest message of a simulator, in bytes.
const LONGEST_MESSAGE: usize = 1 << 20;
/// For the handshake.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// A simulator that does not take a message within this time is given up.
const SEND_TIME: Duration = Duration::from_secs(2);
/// How often the books are asked whether the simulator is still the same.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A ping goes out after so much silence, and a line that stays silent for three is broken.
const PING_AFTER: Duration = Duration::from_secs(5);
/// A line that nobody needs stays open for so long: pages reload.
const LINGER: Duration = Duration::from_secs(2);
/// Waits between tries grow up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Runs until the session has ended.
pub(super) async fn run(wheel: Arc<Wheel>, books: Books) {
    let mut wait = Duration::from_millis(50);
    loop {
        if wheel.lease.borrow().ended {
            return;
        }
        if !wheel.needed() {
            tokio::select! {
                () = wheel.work.notified() => {}
                () = sleep(Duration::from_secs(1)) => {}
            }
            continue;
        }
        let Some(robot) = target(&wheel, &books) else {
            // What was meant for a robot that is away is of no use to one that comes back.
            wheel.forget_waiting();
            sleep(LOOK_EVERY).await;
            continue;
        };
        match connect(&wheel, &robot).await {
            Ok(socket) => {
                let opened = Instant::now();
                open(&wheel, true, String::new());
                let why = pump(&wheel, &books, &robot, socket).await;
                open(&wheel, false, why);
                if opened.elapsed() > Duration::from_secs(1) {
                    wait = Duration::from_millis(50);
                }
            }
            Err(trouble) => open(&wheel, false, trouble),
        }
        if wheel.needed() {
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

fn open(wheel: &Wheel, open: bool, trouble: String) {
    let changed = wheel.line.send_if_modified(|line| {
        let changed = line.open != open || line.trouble != trouble;
        line.times += u64::from(open && !line.open);
        line.open = open;
        line.trouble.clone_from(&trouble);
        changed
    });
    if changed {
        wheel.wake.notify_one();
    }
}

fn target(wheel: &Wheel, books: &Books) -> Option<Robot> {
    let place = Place::of(books, &wheel.session, wheel.env)?;
    let active = place.active();
    place.robot.filter(|robot| active && robot.present && !robot.endpoints.control_ws_url.is_empty())
}

async fn connect(wheel: &Wheel, robot: &Robot) -> Result<Socket, String> {
    let base = robot.endpoints.control_ws_url.trim_end_matches('/');
    let url = format!("{base}/{}?fence={}", wheel.session, robot.fence);
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE));
    let connecting = connect_async_with_config(url.as_str(), Some(config), true);
    match timeout(CONNECT_TIME, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(format!("{}: {error}", robot.name)),
        Err(_) => Err(format!("{}: no answer within {} s", robot.name, CONNECT_TIME.as_secs())),
    }
}

/// Carries both ways; says why it stopped.
async fn pump(wheel: &Wheel, books: &Books, robot: &Robot, socket: Socket) -> String {
    let (mut to, mut from) = socket.split();
    let mut heard_at = Instant::now();
    let mut pinged = false;
    let mut idle_since: Option<Instant> = None;
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let hold = match wheel.next(robot.id) {
            Ok(Some(command)) => {
                let Ok(text) = serde_json::to_string(&command) else { continue };
                match timeout(SEND_TIME, to.send(Message::text(text))).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return format!("{}: {error}", robot.name),
                    Err(_) => return format!("{} takes no commands", robot.name),
                }
            }
            Ok(None) => Duration::from_secs(3600),
            Err(hold) => hold,
        };
        tokio::select! {
            biased;
            () = wheel.work.notified() => {}
            message = from.next() => {
                heard_at = Instant::now();
                pinged = false;
                match message {
                    Some(Ok(Message::Text(text))) => hear(wheel, Bytes::from(text)),
                    Some(Ok(Message::Close(frame))) => {
                        let reason = frame.map(|frame| format!("{} {}", u16::from(frame.code), frame.reason));
                        return format!("{} closed: {}", robot.name, reason.unwrap_or_default());
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return format!("{}: {error}", robot.name),
                    None => return format!("{} went away", robot.name),
                }
            }
            _ = look.tick() => {
                let same = target(wheel, books).is_some_and(|now| now.id == robot.id && now.fence == robot.fence);
                if wheel.lease.borrow().ended || !same {
                    drop(timeout(SEND_TIME, to.close()).await);
                    return format!("{} is not the session's any more", robot.name);
                }
                if wheel.needed() {
                    idle_since = None;
                } else if idle_since.get_or_insert_with(Instant::now).elapsed() > LINGER {
                    drop(timeout(SEND_TIME, to.close()).await);
                    return String::new();
                }
                if heard_at.elapsed() > PING_AFTER * 3 {
                    return format!("{} is silent", robot.name);
                }
                if heard_at.elapsed() > PING_AFTER && !pinged {
                    pinged = true;
                    if !matches!(timeout(SEND_TIME, to.send(Message::Ping(Bytes::new()))).await, Ok(Ok(()))) {
                        return format!("{} takes no messages", robot.name);
                    }
                }
            }
            () = sleep(hold) => {}
        }
    }
}

fn hear(wheel: &Wheel, text: Bytes) {
    let message = serde_json::from_slice::<FromRobot>(&text).ok();
    // Nobody listening is no fault.
    drop(wheel.heard.send(Arc::new(Heard { text, message })));
}
