//! What the driver of every session needs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::driver::Driver;
use super::live::Live;
use super::memo::Memos;
use crate::fleet::books::Books;
use crate::fleet::ids::SessionId;
use crate::fleet::link::Links;
use crate::fleet::rows::ended;
use crate::fleet::settings::FleetSettings;
use crate::fleet::snapshot::root::SnapshotRoot;

/// Wishes that may wait for a driver.
const WISHES: usize = 64;

/// What the driver of every session needs.
#[derive(Debug)]
pub struct House {
    /// Who has what.
    pub books: Books,
    /// The ways to instances.
    pub links: Links,
    /// The settings.
    pub settings: FleetSettings,
    /// What is remembered of sessions.
    pub memos: Memos,
    /// Where snapshots lie.
    pub snapshots: SnapshotRoot,
    /// Where trainers keep checkpoints: a folder a session.
    pub checkpoints: PathBuf,
    lives: Mutex<HashMap<SessionId, Arc<Live>>>,
    drivers: Mutex<JoinSet<()>>,
}

impl House {
    /// One in which nobody lives yet.
    #[must_use]
    pub fn new(
        books: Books,
        links: Links,
        settings: FleetSettings,
        memos: Memos,
        snapshots: SnapshotRoot,
        checkpoints: PathBuf,
    ) -> Self {
        Self {
            books,
            links,
            settings,
            memos,
            snapshots,
            checkpoints,
            lives: Mutex::default(),
            drivers: Mutex::default(),
        }
    }

    /// What is in memory of a session; its driver is started when it needs one. `None` for one that nobody knows.
    #[must_use]
    pub fn live(self: &Arc<Self>, session: &SessionId) -> Option<Arc<Live>> {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = lives.get(session).filter(|live| !live.wishes.is_closed()) {
            return Some(Arc::clone(live));
        }
        let (phase, last_seq) =
            self.books.read(|tables| tables.sessions.get(session).map(|row| (row.phase, row.last_seq)))?;
        // Without a driver it has ended; unless it was made again meanwhile, what is in memory is still right.
        if let Some(live) = lives.get(session).filter(|_| ended(phase)) {
            return Some(Arc::clone(live));
        }
        let (wishes, heard) = mpsc::channel(WISHES);
        let memo = self.memos.load(session);
        let live = Arc::new(Live::new(session.clone(), last_seq, ended(phase), memo, wishes));
        lives.insert(session.clone(), Arc::clone(&live));
        if !ended(phase) {
            let driver = Driver::new(Arc::clone(self), Arc::clone(&live), heard).run();
            let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
            while drivers.try_join_next().is_some() {}
            drivers.spawn(driver);
        }
        Some(live)
    }

    /// What is in memory of a session, if anything is.
    #[must_use]
    pub fn known(&self, session: &SessionId) -> Option<Arc<Live>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).get(session).map(Arc::clone)
    }

    /// Lets a session's memory go; who watches it still holds it.
    pub fn forget(&self, session: &SessionId) {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
    }

    /// Ends every driver where it stands; the next start takes up what they left.
    pub async fn end_drivers(&self) {
        let mut drivers = std::mem::take(&mut *self.drivers.lock().unwrap_or_else(PoisonError::into_inner));
        drivers.shutdown().await;
    }

    /// How long an instance may take to load a scene.
    #[must_use]
    pub fn load_limit(&self) -> Duration {
        seconds(self.settings.sessions.load_limit_s).unwrap_or(Duration::from_secs(60))
    }
}

/// A setting in seconds; `None` for 0, which is no limit.
#[must_use]
pub fn seconds(setting: f64) -> Option<Duration> {
    if setting > 0.0 { Duration::try_from_secs_f64(setting).ok() } else { None }
}
