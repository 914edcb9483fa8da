//! The end of a session's log, shared by all who watch it: an event is decoded once, and waking ten thousand readers
//! asks nothing of the store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::fleet::rows::EventRow;

/// Events kept in memory; a reader that is further behind reads the store.
const KEPT: usize = 512;

/// How far a log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Its last event.
    pub last_seq: i64,
    /// Whether no more will come.
    pub ended: bool,
}

/// The end of one session's log.
#[derive(Debug)]
pub struct Tail {
    rows: Mutex<VecDeque<EventRow>>,
    reach: watch::Sender<Reach>,
    watchers: AtomicUsize,
}

impl Tail {
    /// One that begins after `last_seq`.
    #[must_use]
    pub fn new(last_seq: i64, ended: bool) -> Self {
        Self {
            rows: Mutex::default(),
            reach: watch::Sender::new(Reach { last_seq, ended }),
            watchers: AtomicUsize::new(0),
        }
    }

    /// An event was written.
    pub fn push(&self, row: &EventRow) {
        {
            let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            if rows.back().is_some_and(|last| last.seq >= row.seq) {
                return;
            }
            // Only a dense run can be served from here.
            if rows.back().is_some_and(|last| last.seq + 1 != row.seq) {
                rows.clear();
            }
            if rows.len() == KEPT {
                rows.pop_front();
            }
            rows.push_back(row.clone());
        }
        self.reach.send_if_modified(|reach| {
            let grew = row.seq > reach.last_seq;
            reach.last_seq = reach.last_seq.max(row.seq);
            grew
        });
    }

    /// The session ended with this event.
    pub fn end(&self, last_seq: i64) {
        self.reach.send_modify(|reach| {
            reach.last_seq = reach.last_seq.max(last_seq);
            reach.ended = true;
        });
    }

    /// Up to `limit` events after `after`; `None` when they are older than what is kept here.
    #[must_use]
    pub fn after(&self, after: i64, limit: usize) -> Option<Vec<EventRow>> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let first = rows.front()?.seq;
        let skip = usize::try_from(after.checked_add(1)?.checked_sub(first)?).ok()?;
        Some(rows.iter().skip(skip).take(limit).cloned().collect())
    }

    /// How far it goes now, and a wake-up when it goes further.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Reach> {
        self.reach.subscribe()
    }

    /// Readers now: somebody looks at the session.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    /// Counts a reader in or out.
    pub fn count(&self, enters: bool) {
        if enters {
            self.watchers.fetch_add(1, Ordering::Relaxed);
        } else {
            self.watchers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::event::EventKind;
    use crate::proto::neuro::ext;

    fn row(seq: i64) -> EventRow {
        let kind = EventKind::Gap(ext::LogGap { upto: seq });
        EventRow { session: "s".parse().unwrap(), seq, at_ms: seq, kind }
    }

    fn seqs(rows: Option<Vec<EventRow>>) -> Option<Vec<i64>> {
        rows.map(|rows| rows.iter().map(|row| row.seq).collect())
    }

    #[test]
    fn a_reader_gets_what_follows_and_is_sent_to_the_store_for_what_is_older() {
        let tail = Tail::new(3, false);
        assert_eq!(tail.after(2, 9), None);
        for seq in 4..=8 {
            tail.push(&row(seq));
        }
        assert_eq!(seqs(tail.after(5, 2)), Some(vec![6, 7]));
        assert_eq!(seqs(tail.after(3, 9)), Some(vec![4, 5, 6, 7, 8]));
        assert_eq!(seqs(tail.after(8, 9)), Some(vec![]));
        assert_eq!(tail.after(2, 9), None);
    }

    #[test]
    fn what_is_kept_is_bounded_and_has_no_holes() {
        let tail = Tail::new(0, false);
        for seq in 1..=(KEPT as i64 + 10) {
            tail.push(&row(seq));
        }
        assert_eq!(tail.after(5, 1), None);
        assert_eq!(seqs(tail.after(10, 1)), Some(vec![11]));
        tail.push(&row(2000));
        assert_eq!(tail.after(100, 1), None);
        assert_eq!(seqs(tail.after(1999, 5)), Some(vec![2000]));
    }

    #[test]
    fn readers_wake_for_new_events_and_for_the_end() {
        let tail = Tail::new(1, false);
        let mut follow = tail.follow();
        tail.push(&row(1));
        assert!(!follow.has_changed().unwrap());
        tail.push(&row(2));
        assert!(follow.has_changed().unwrap());
        assert_eq!(*follow.borrow_and_update(), Reach { last_seq: 2, ended: false });
        tail.end(2);
        assert_eq!(*follow.borrow_and_update(), Reach { last_seq: 2, ended: true });
    }
}
