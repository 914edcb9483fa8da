//! Pictures of the session: drawn only while somebody watches, encoded once for all who do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::error::SimulatorError;
use super::handle::Simulator;
use crate::instance::contract;
use crate::render::builtin::Builtin;

/// Width, height and pictures a second where none are asked for.
const USUAL: [i32; 3] = [640, 480, 15];
/// The most of each.
const MOST: [i32; 3] = [1920, 1080, 60];
/// The least of each.
const LEAST: [i32; 3] = [64, 48, 1];

/// Takes pictures of a simulator. Clones share them.
#[derive(Debug, Clone)]
pub struct Camera {
    simulator: Simulator,
    renderer: Builtin,
    feeds: Arc<Mutex<HashMap<String, Weak<Feed>>>>,
}

/// Somebody who watches a session. While there is one, pictures are taken.
#[derive(Debug)]
pub struct Viewer {
    pictures: watch::Receiver<Option<Bytes>>,
    /// Nothing was looked at yet.
    fresh: bool,
    _feed: Arc<Feed>,
}

#[derive(Debug)]
struct Feed {
    pictures: watch::Receiver<Option<Bytes>>,
}

impl Viewer {
    /// The next JPEG file; one that is there already counts the first time. `None`: there will be no more.
    pub async fn next(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.fresh) {
            let there = self.pictures.borrow_and_update().clone();
            if there.is_some() {
                return there;
            }
        }
        loop {
            self.pictures.changed().await.ok()?;
            let next = self.pictures.borrow_and_update().clone();
            if next.is_some() {
                return next;
            }
        }
    }
}

impl Camera {
    /// Of a simulator.
    #[must_use]
    pub fn new(simulator: Simulator, renderer: Builtin) -> Self {
        Self { simulator, renderer, feeds: Arc::default() }
    }

    /// Begins to watch a session.
    ///
    /// # Errors
    /// When it is not here.
    pub fn watch(&self, session: &str) -> Result<Viewer, SimulatorError> {
        if self.simulator.vitals().borrow().session != session {
            return Err(SimulatorError::NotFound(session.to_owned()));
        }
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|_, feed| feed.strong_count() > 0);
        let running = feeds.get(session).and_then(Weak::upgrade);
        // A feed whose session ended takes no more pictures.
        if let Some(feed) = running.filter(|feed| feed.pictures.has_changed().is_ok()) {
            return Ok(Viewer { pictures: feed.pictures.clone(), fresh: true, _feed: feed });
        }
        let (taken, pictures) = watch::channel(None);
        let feed = Arc::new(Feed { pictures: pictures.clone() });
        let watched = Arc::downgrade(&feed);
        feeds.insert(session.to_owned(), Weak::clone(&watched));
        drop(tokio::spawn(self.clone().film(session.to_owned(), taken, watched)));
        Ok(Viewer { pictures, fresh: true, _feed: feed })
    }

    async fn film(self, session: String, taken: watch::Sender<Option<Bytes>>, watched: Weak<Feed>) {
        let mut due = Instant::now();
        while watched.strong_count() > 0 {
            let [width, height, fps] = wanted(&self.simulator.vitals().borrow().stream);
            let Ok(scenery) = self.simulator.scenery(&session).await else { return };
            let shot = scenery.shot([width, height]);
            match self.renderer.stage(scenery, shot).await {
                Ok(frame) => drop(taken.send_replace(Some(frame.bytes))),
                Err(error) => {
                    tracing::warn!(session, %error, "no picture");
                    return;
                }
            }
            due = (due + Duration::from_secs(1) / fps.max(1)).max(Instant::now());
            sleep_until(due).await;
        }
    }
}

/// Width, height and pictures a second, within bounds; even sides.
fn wanted(stream: &contract::Stream) -> [u32; 3] {
    let asked = [stream.width, stream.height, stream.fps];
    std::array::from_fn(|i| {
        let value = if asked[i] <= 0 { USUAL[i] } else { asked[i].clamp(LEAST[i], MOST[i]) };
        u32::try_from(value).unwrap_or(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_usual_where_none_are_asked_for_and_bounded() {
        assert_eq!(wanted(&contract::Stream::default()), [640, 480, 15]);
        let huge = contract::Stream { width: 1 << 30, height: 1, fps: 500, ..contract::Stream::default() };
        assert_eq!(wanted(&huge), [1920, 48, 60]);
    }
}
