//! What is in memory of a session: the end of its log, when somebody last cared, what its trainer last said.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::memo::Memo;
use super::wish::Wish;
use crate::fleet::clock::now_ms;
use crate::fleet::ids::SessionId;
use crate::fleet::orchestrator::tail::Tail;
use crate::proto::neuro::ext;

/// What is in memory of one session.
#[derive(Debug)]
pub struct Live {
    /// Its id.
    pub id: SessionId,
    /// The end of its log.
    pub tail: Tail,
    /// Look again: its members or its phase changed.
    pub poke: Notify,
    /// What its driver is asked.
    pub wishes: mpsc::Sender<Wish>,
    memo: Mutex<Memo>,
    touched_ms: AtomicI64,
    progress_ms: AtomicI64,
}

impl Live {
    /// One that was just touched.
    #[must_use]
    pub fn new(id: SessionId, last_seq: i64, ended: bool, memo: Memo, wishes: mpsc::Sender<Wish>) -> Self {
        Self {
            id,
            tail: Tail::new(last_seq, ended),
            poke: Notify::new(),
            wishes,
            memo: Mutex::new(memo),
            touched_ms: AtomicI64::new(now_ms()),
            progress_ms: AtomicI64::new(now_ms()),
        }
    }

    /// Somebody cares.
    pub fn touch(&self) {
        self.touched_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// When somebody last cared, Unix ms.
    #[must_use]
    pub fn touched_ms(&self) -> i64 {
        self.touched_ms.load(Ordering::Relaxed)
    }

    /// When training last went on, Unix ms.
    #[must_use]
    pub fn progress_ms(&self) -> i64 {
        self.progress_ms.load(Ordering::Relaxed)
    }

    /// The trainer said how far it is.
    pub fn set_progress(&self, progress: ext::Progress) {
        self.progress_ms.store(now_ms(), Ordering::Relaxed);
        self.edit(|memo| memo.progress = Some(progress));
    }

    /// Looks at the memo.
    pub fn memo<R>(&self, look: impl FnOnce(&Memo) -> R) -> R {
        look(&self.memo.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the memo in memory; the driver saves it.
    pub fn edit<R>(&self, change: impl FnOnce(&mut Memo) -> R) -> R {
        change(&mut self.memo.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
