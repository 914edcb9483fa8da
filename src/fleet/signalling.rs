//! The relay that a browser and a simulator agree on a WebRTC connection through. What they say to each other is passed
//! on as it came, whatever it is; what is said to somebody who is not there yet is kept for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use super::books::Books;
use super::error::FleetError;
use super::ids::SessionId;
use super::rows::ended;

/// Messages kept for somebody who is not there, and messages that somebody who is may be behind.
pub const MOST_WAITING: usize = 64;
/// Longest message, in bytes.
pub const LONGEST_MESSAGE: usize = 64 << 10;

/// Which end of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A person's page.
    Browser,
    /// What makes the pictures.
    Simulator,
}

impl Side {
    /// As addresses and messages name it: `frontend`, `isaac-sim`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Browser => "frontend",
            Self::Simulator => "isaac-sim",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Browser => Self::Simulator,
            Self::Simulator => Self::Browser,
        }
    }
}

/// What reaches one end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// From the other end, as it came, or from the relay.
    Text(String),
    /// Another connection has taken this one's place.
    Replaced,
}

#[derive(Debug)]
struct Seat {
    id: u64,
    to: mpsc::Sender<Note>,
}

#[derive(Debug, Default)]
struct End {
    seat: Option<Seat>,
    /// Said by the other end while nobody was here.
    waiting: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Room {
    browser: End,
    simulator: End,
}

impl Room {
    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Browser => &mut self.browser,
            Side::Simulator => &mut self.simulator,
        }
    }

    fn holds(&self, side: Side, id: u64) -> bool {
        let end = match side {
            Side::Browser => &self.browser,
            Side::Simulator => &self.simulator,
        };
        end.seat.as_ref().is_some_and(|seat| seat.id == id)
    }
}

/// Every conversation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signalling(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    books: Books,
    rooms: Mutex<BTreeMap<SessionId, Room>>,
    next: AtomicU64,
}

impl Signalling {
    /// A relay for the sessions of these books.
    #[must_use]
    pub fn new(books: Books) -> Self {
        Self(Arc::new(Inner { books, rooms: Mutex::default(), next: AtomicU64::new(1) }))
    }

    /// Takes one end of a session's conversation; whoever had it before is told so and left out. The other end hears
    /// that this one is ready.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` for a session that is over.
    pub fn join(&self, session: &SessionId, side: Side) -> Result<Peer, FleetError> {
        self.alive(session)?;
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (to, inbox) = mpsc::channel(MOST_WAITING + 2);
        let mut rooms = self.rooms();
        let room = rooms.entry(session.clone()).or_default();
        let end = room.end(side);
        for text in end.waiting.drain(..) {
            // The queue is larger than what waits.
            to.try_send(Note::Text(text)).ok();
        }
        if let Some(before) = end.seat.replace(Seat { id, to }) {
            before.to.try_send(Note::Replaced).ok();
        }
        // What an older connection of this end said is of no use to the other end any more.
        let other = room.end(side.other());
        other.waiting.clear();
        let ready =
            json!({"type": "ready", "sessionId": session.as_str(), "clientType": side.name()}).to_string();
        // A full queue: the other end has enough to read.
        drop(pass(other, ready));
        drop(rooms);
        Ok(Peer { inbox, relay: self.clone(), session: session.clone(), side, id })
    }

    /// Whether a session is there and not over.
    ///
    /// # Errors
    /// `NotFound`; `Precondition`.
    pub fn alive(&self, session: &SessionId) -> Result<(), FleetError> {
        let phase = self.0.books.read(|tables| tables.sessions.get(session).map(|row| row.phase));
        let phase = phase.ok_or_else(|| FleetError::not_found("session", session))?;
        if ended(phase) {
            let phase = phase.as_str_name();
            return Err(FleetError::Precondition(format!("session {session} is over: {phase}")));
        }
        Ok(())
    }

    fn rooms(&self) -> MutexGuard<'_, BTreeMap<SessionId, Room>> {
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes a message to an end, or keeps it there.
fn pass(end: &mut End, text: String) -> Result<(), FleetError> {
    let full = || FleetError::Exhausted {
        message: format!("{MOST_WAITING} messages wait for the other end already"),
        retry_after: Duration::from_secs(1),
    };
    match &end.seat {
        Some(seat) => seat.to.try_send(Note::Text(text)).map_err(|_| full()),
        None if end.waiting.len() >= MOST_WAITING => Err(full()),
        None => {
            end.waiting.push_back(text);
            Ok(())
        }
    }
}

/// One end of a conversation, until it is dropped; then the other end is told.
#[derive(Debug)]
pub struct Peer {
    inbox: mpsc::Receiver<Note>,
    relay: Signalling,
    session: SessionId,
    side: Side,
    id: u64,
}

impl Peer {
    /// The next message for this end.
    pub async fn next(&mut self) -> Option<Note> {
        self.inbox.recv().await
    }

    /// Says something to the other end.
    ///
    /// # Errors
    /// `Invalid` for a message that is too long; `Exhausted` when too many wait; `Precondition` after being replaced.
    pub fn say(&self, text: String) -> Result<(), FleetError> {
        if text.len() > LONGEST_MESSAGE {
            let problem = format!("has {} bytes, at most {LONGEST_MESSAGE}", text.len());
            return Err(FleetError::invalid("message", problem));
        }
        let mut rooms = self.relay.rooms();
        let room = rooms.get_mut(&self.session);
        let Some(room) = room.filter(|room| room.holds(self.side, self.id)) else {
            let message = "another connection has taken this one's place".to_owned();
            return Err(FleetError::Precondition(message));
        };
        pass(room.end(self.side.other()), text)
    }

    /// Whether the session is still there.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.relay.alive(&self.session).is_ok()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut rooms = self.relay.rooms();
        let Some(room) = rooms.get_mut(&self.session) else { return };
        if !room.holds(self.side, self.id) {
            return;
        }
        room.end(self.side).seat = None;
        let other = room.end(self.side.other());
        other.waiting.clear();
        if other.seat.is_some() {
            let message = format!("the {} end has left", self.side.name());
            let session = self.session.as_str();
            let left =
                json!({"type": "error", "sessionId": session, "message": message, "code": "PEER_LEFT"});
            drop(pass(other, left.to_string()));
        } else {
            rooms.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::control::tests::fleet::Fleet;

    async fn text(peer: &mut Peer) -> String {
        match tokio::time::timeout(Duration::from_secs(2), peer.next()).await {
            Ok(Some(Note::Text(text))) => text,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn messages_pass_unchanged_and_wait_for_whoever_is_not_there_yet() {
        let fleet = Fleet::manual().await;
        let relay = Signalling::new(fleet.books.clone());
        let mut browser = relay.join(&fleet.session, Side::Browser).unwrap();
        let offer = "{ \"type\":\"offer\" , \"sdp\":\"v=0\\r\\n\", \"unknown\": [1, 2] }";
        browser.say(offer.to_owned()).unwrap();
        browser.say("not even JSON".to_owned()).unwrap();
        let mut simulator = relay.join(&fleet.session, Side::Simulator).unwrap();
        let ready = |side: &str| {
            format!(r#"{{"type":"ready","sessionId":"{}","clientType":"{side}"}}"#, fleet.session)
        };
        assert_eq!(text(&mut simulator).await, ready("frontend"));
        assert_eq!(text(&mut simulator).await, offer);
        assert_eq!(text(&mut simulator).await, "not even JSON");
        assert_eq!(text(&mut browser).await, ready("isaac-sim"));
        simulator.say("answer".to_owned()).unwrap();
        assert_eq!(text(&mut browser).await, "answer");
        drop(simulator);
        assert!(
            text(&mut browser).await.contains(r#""message":"the isaac-sim end has left","code":"PEER_LEFT""#)
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_newest_browser_wins_and_the_older_ones_offers_are_forgotten() {
        let fleet = Fleet::manual().await;
        let relay = Signalling::new(fleet.books.clone());
        let mut old = relay.join(&fleet.session, Side::Browser).unwrap();
        old.say("old offer".to_owned()).unwrap();
        let new = relay.join(&fleet.session, Side::Browser).unwrap();
        assert_eq!(old.next().await, Some(Note::Replaced));
        assert!(old.say("late".to_owned()).is_err());
        new.say("new offer".to_owned()).unwrap();
        let mut simulator = relay.join(&fleet.session, Side::Simulator).unwrap();
        assert!(text(&mut simulator).await.contains("ready"));
        assert_eq!(text(&mut simulator).await, "new offer");
        // The end that was replaced says nothing when it goes.
        drop(old);
        new.say("still here".to_owned()).unwrap();
        assert_eq!(text(&mut simulator).await, "still here");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_has_a_bound_and_a_message_too() {
        let fleet = Fleet::manual().await;
        let relay = Signalling::new(fleet.books.clone());
        let browser = relay.join(&fleet.session, Side::Browser).unwrap();
        let taken = (0..1000).take_while(|_| browser.say("candidate".to_owned()).is_ok()).count();
        assert_eq!(taken, MOST_WAITING - 1, "one place is the `ready`");
        let long = browser.say("x".repeat(LONGEST_MESSAGE + 1)).unwrap_err().to_string();
        assert!(long.contains("65537 bytes"), "{long}");
        drop(browser);
        assert!(relay.rooms().is_empty(), "a conversation nobody has is kept");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn there_is_no_conversation_about_a_session_that_is_not_there() {
        let fleet = Fleet::manual().await;
        let relay = Signalling::new(fleet.books.clone());
        let nowhere: SessionId = "nowhere".parse().unwrap();
        assert!(matches!(relay.join(&nowhere, Side::Browser), Err(FleetError::NotFound { .. })));
        let browser = relay.join(&fleet.session, Side::Browser).unwrap();
        assert!(browser.alive());
        fleet.close().await;
        assert!(!browser.alive());
        assert!(matches!(relay.join(&fleet.session, Side::Browser), Err(FleetError::Precondition(_))));
    }
}
