//! Who is waiting for what: of one viewer, only the newest request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The requests under way, by viewer. Holds nothing of viewers that wait for nothing.
#[derive(Debug, Default)]
pub(super) struct Viewers {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    turns: u64,
    /// The turn, and what ends it when dropped.
    newest: HashMap<String, (u64, oneshot::Sender<()>)>,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Turn {
    viewer: String,
    number: u64,
    ended: oneshot::Receiver<()>,
    waiting: Arc<Mutex<Waiting>>,
}

fn locked(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Viewers {
    /// Ends the viewer's older request and begins a new one.
    pub(super) fn enter(&self, viewer: &str) -> Turn {
        let (end, ended) = oneshot::channel();
        let mut waiting = locked(&self.waiting);
        waiting.turns += 1;
        let number = waiting.turns;
        drop(waiting.newest.insert(viewer.to_owned(), (number, end)));
        drop(waiting);
        Turn { viewer: viewer.to_owned(), number, ended, waiting: Arc::clone(&self.waiting) }
    }
}

impl Turn {
    /// Returns when a newer request has begun.
    pub(super) async fn superseded(&mut self) {
        drop((&mut self.ended).await);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = locked(&self.waiting);
        if waiting.newest.get(&self.viewer).is_some_and(|(number, _)| *number == self.number) {
            waiting.newest.remove(&self.viewer);
        }
    }
}
