//! Pools: how many instances there are. Each pool has a keeper that holds idle ones ready, starts more when sessions
//! wait, stops those that nobody needed for a while, and takes away what was drained. It never stops one that a session
//! holds, and nobody who wants a ready one ever waits for it.

mod backoff;
mod check;
mod keeper;
mod members;
pub mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::backend::{self, Backend};
use super::books::Books;
use super::error::FleetError;
use super::link::Links;
use super::link::rest::{Polled, poll};
use super::rows::{Condition, Role};
use super::settings::Pool;
use super::view::{InstanceView, PoolView};

pub use super::backend::Launch;
pub use check::usual_pools;

/// What a keeper tells of its pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Standing {
    /// Being started.
    starting: u32,
    /// Ready and nobody's.
    idle: u32,
    /// How many more it may start.
    room: u32,
    /// Why the last start failed.
    trouble: String,
}

/// What keepers and callers share.
#[derive(Debug, Default)]
struct Board {
    /// Idle instances that waiting sessions need.
    wanted: BTreeMap<Role, AtomicU32>,
    /// Start none any more.
    closed: AtomicBool,
    wake: Notify,
}

#[derive(Debug)]
struct Kept {
    settings: Pool,
    role: Role,
    backend: Arc<dyn Backend>,
    standing: Mutex<Standing>,
    polled: Vec<(String, watch::Receiver<String>)>,
}

impl Kept {
    fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug)]
struct Inner {
    books: Books,
    links: Links,
    pools: Arc<Vec<Kept>>,
    board: Arc<Board>,
    /// Aborted with the last handle. Processes and jobs go on.
    _keepers: JoinSet<()>,
}

/// All pools. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pools {
    inner: Arc<Inner>,
}

impl Pools {
    /// Takes over what runs, and begins to keep the sizes. Needs a Tokio runtime.
    ///
    /// # Errors
    /// `Invalid`, naming pool and key; `Internal` when the data folder can not be used.
    pub fn start(settings: &[Pool], books: Books, links: Links, launch: Launch) -> Result<Self, FleetError> {
        let roles = check::pools(settings)?;
        let mut tasks = JoinSet::new();
        let mut pools = Vec::with_capacity(settings.len());
        for (settings, role) in settings.iter().cloned().zip(roles) {
            links.label_pool(&settings.name, settings.labels.clone());
            let backend = backend::of_pool(&settings, &launch)?;
            let mut polled = Vec::new();
            for (index, url) in settings.instances.iter().enumerate() {
                let (trouble, seen) = watch::channel(String::new());
                let name = format!("{}-{}", settings.name, index + 1);
                let one = Polled { url: url.clone(), pool: settings.name.clone(), name };
                tasks.spawn(poll(links.clone(), one, trouble));
                polled.push((url.clone(), seen));
            }
            pools.push(Kept { settings, role, backend, standing: Mutex::default(), polled });
        }
        let pools = Arc::new(pools);
        let wanted = [Role::Simulator, Role::Trainer].map(|role| (role, AtomicU32::new(0)));
        let board = Arc::new(Board { wanted: wanted.into(), ..Board::default() });
        for index in 0..pools.len() {
            let keeper = keeper::Keeper::new(
                index,
                Arc::clone(&pools),
                Arc::clone(&board),
                books.clone(),
                links.clone(),
            );
            tasks.spawn(keeper.run());
        }
        Ok(Self { inner: Arc::new(Inner { books, links, pools, board, _keepers: tasks }) })
    }

    /// What sessions in the queue lack: instances of a role beyond those that are idle now. Pools of that role grow, the
    /// first that can goes first; `0` when nobody waits any more. Returns at once.
    pub fn demand(&self, role: Role, missing: u32) {
        let wanted = if missing == 0 {
            0
        } else {
            let idle = self.inner.books.read(|tables| {
                let rows = tables.instances.values();
                rows.filter(|row| row.role == role && row.is_idle()).count()
            });
            missing.saturating_add(u32::try_from(idle).unwrap_or(u32::MAX))
        };
        let old = self.inner.board.wanted.get(&role).map(|slot| slot.swap(wanted, Ordering::Relaxed));
        if old != Some(wanted) {
            self.inner.board.wake.notify_waiters();
        }
    }

    /// Ends every instance that was started here, also held ones, and starts none from now on.
    pub async fn end_all(&self) {
        self.inner.board.closed.store(true, Ordering::Relaxed);
        let mut stops = JoinSet::new();
        for kept in self.inner.pools.iter() {
            for one in kept.backend.list().await.unwrap_or_default() {
                let backend = Arc::clone(&kept.backend);
                stops.spawn(async move {
                    if let Err(error) = backend.stop(one.instance).await {
                        tracing::warn!(instance = %one.instance, name = one.name, %error, "not ended");
                    }
                });
            }
        }
        while stops.join_next().await.is_some() {}
    }

    /// Every pool that is configured, in order, then those that instances name on their own.
    #[must_use]
    pub fn views(&self) -> Vec<PoolView> {
        let mut rows: BTreeMap<String, Vec<InstanceView>> = BTreeMap::new();
        for row in self.inner.books.read(|tables| tables.instances.values().cloned().collect::<Vec<_>>()) {
            let pulse = self.inner.links.pulse(row.id);
            rows.entry(row.pool.clone()).or_default().push(InstanceView { row, pulse });
        }
        let mut views: Vec<PoolView> =
            self.inner.pools.iter().map(|kept| view(kept, rows.remove(&kept.settings.name))).collect();
        for (name, instances) in rows {
            let role = instances.first().map_or(Role::Simulator, |one| one.row.role);
            let present = instances.iter().filter(|one| one.row.condition != Condition::Lost).count();
            let max = u32::try_from(present).unwrap_or(u32::MAX);
            let (backend, trouble) = ("attached".to_owned(), String::new());
            views.push(PoolView { name, backend, role, instances, starting: 0, warm: 0, max, trouble });
        }
        views
    }
}

fn view(kept: &Kept, instances: Option<Vec<InstanceView>>) -> PoolView {
    let mut standing = kept.standing();
    for (url, trouble) in &kept.polled {
        let trouble = trouble.borrow();
        if !trouble.is_empty() {
            let gap = if standing.trouble.is_empty() { "" } else { "; " };
            standing.trouble.push_str(&format!("{gap}{url}: {}", *trouble));
        }
    }
    let limits = plan::Limits::of(&kept.settings);
    let polled = u32::try_from(kept.polled.len()).unwrap_or(u32::MAX);
    PoolView {
        name: kept.settings.name.clone(),
        backend: kept.backend.kind().to_owned(),
        role: kept.role,
        instances: instances.unwrap_or_default(),
        starting: standing.starting,
        warm: limits.warm,
        max: if kept.backend.elastic() { limits.max } else { polled },
        trouble: standing.trouble,
    }
}
