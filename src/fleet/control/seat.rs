//! Who sits at a robot: a connection that watches, and may drive.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use sha2::{Digest, Sha256};

use super::token::Claims;

/// What tells a person who comes back from another one: the hash of the token they came with.
pub type SeatKey = [u8; 32];

/// Who opens a stream to a robot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The person.
    pub user: String,
    /// Of the token; `None` for those who came without.
    pub key: Option<SeatKey>,
    /// Whether they may drive at all.
    pub may_drive: bool,
}

impl Who {
    /// The holder of a verified token.
    #[must_use]
    pub fn with_token(claims: &Claims, token: &str) -> Self {
        Self { user: claims.user.clone(), key: Some(key_of(token)), may_drive: claims.may_drive() }
    }

    /// Somebody known by other means: an API key, this machine.
    #[must_use]
    pub fn named(user: &str) -> Self {
        Self { user: user.to_owned(), key: None, may_drive: true }
    }

    /// The same, watching only.
    #[must_use]
    pub fn watching(mut self) -> Self {
        self.may_drive = false;
        self
    }
}

/// A token's name that is not the token.
#[must_use]
pub fn key_of(token: &str) -> SeatKey {
    Sha256::digest(token).into()
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A connection's own end of its seat; the seat is free when this is dropped.
#[derive(Debug)]
pub struct SeatLife {
    /// Unique in this process.
    pub id: u64,
    /// The person said goodbye: do not wait for them to come back.
    pub left: Arc<AtomicBool>,
    /// Whether the person wants the robot as soon as it is free.
    pub wants: Arc<AtomicBool>,
}

/// The keeper's end.
#[derive(Debug)]
pub(super) struct Seat {
    pub id: u64,
    pub who: Who,
    pub left: Arc<AtomicBool>,
    pub wants: Arc<AtomicBool>,
    life: Weak<SeatLife>,
}

impl Seat {
    /// Both ends of a new one.
    pub fn new(who: Who, wants: bool) -> (Self, Arc<SeatLife>) {
        let life = Arc::new(SeatLife {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            left: Arc::new(AtomicBool::new(false)),
            wants: Arc::new(AtomicBool::new(wants)),
        });
        let (left, wants) = (Arc::clone(&life.left), Arc::clone(&life.wants));
        (Self { id: life.id, who, left, wants, life: Arc::downgrade(&life) }, life)
    }

    pub fn taken(&self) -> bool {
        self.life.strong_count() > 0
    }

    pub fn wants(&self) -> bool {
        self.who.may_drive && self.wants.load(Ordering::Relaxed)
    }

    pub fn said_goodbye(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }
}
