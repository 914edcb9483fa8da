//! One environment of a session, as those who drive it, watch it and write to it share it. Its [`keeper`](super::keeper)
//! decides who drives; its [`bridge`](super::bridge) talks to the simulator. Neither waits for the other.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Notify, broadcast, mpsc, watch};

use super::keeper::Ask;
use super::lease::Lease;
use super::outbox::{Outbox, Outgoing};
use crate::fleet::clock::now_ms;
use crate::fleet::ids::{Fence, InstanceId, SessionId};
use crate::instance::contract::{FromRobot, ToRobot};
use crate::telemetry::fleet::{CommandOutcome, commanded};

/// Messages of a robot that a reader may be behind before it skips.
const HEARD: usize = 256;

/// A message of a robot.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// As it came.
    pub text: Bytes,
    /// What it is; `None` for a kind that the contract does not know.
    pub message: Option<FromRobot>,
}

/// The connection to a robot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// Whether it is open.
    pub open: bool,
    /// Opened so often.
    pub times: u64,
    /// Why it is not.
    pub trouble: String,
}

/// See the module.
#[derive(Debug)]
pub struct Wheel {
    /// Whose.
    pub session: SessionId,
    /// Which environment.
    pub env: u32,
    pub(super) lease: watch::Sender<Lease>,
    pub(super) line: watch::Sender<Line>,
    pub(super) heard: broadcast::Sender<Arc<Heard>>,
    pub(super) asks: mpsc::Sender<Ask>,
    /// For the keeper: a seat became free, the line changed.
    pub(super) wake: Notify,
    /// For the bridge: something to write, or needed (no more).
    pub(super) work: Notify,
    outbox: Mutex<Outbox>,
    needs: AtomicUsize,
    last: Mutex<Option<ToRobot>>,
    last_ms: AtomicI64,
    sent: AtomicU64,
}

impl Wheel {
    pub(super) fn new(session: SessionId, env: u32, asks: mpsc::Sender<Ask>, per_s: u32) -> Self {
        Self {
            session,
            env,
            lease: watch::Sender::new(Lease::unknown()),
            line: watch::Sender::new(Line::default()),
            heard: broadcast::Sender::new(HEARD),
            asks,
            wake: Notify::new(),
            work: Notify::new(),
            outbox: Mutex::new(Outbox::new(per_s, Instant::now())),
            needs: AtomicUsize::new(0),
            last: Mutex::new(None),
            last_ms: AtomicI64::new(0),
            sent: AtomicU64::new(0),
        }
    }

    /// Hands a command to the bridge, under the lease that was checked.
    pub(super) fn put(&self, fence: Fence, command: ToRobot, by_hand: bool) {
        if by_hand {
            *locked(&self.last) = Some(command.clone());
            self.last_ms.store(now_ms(), Ordering::Relaxed);
        }
        let overtaken = locked(&self.outbox).put(Outgoing { fence, command });
        commanded(if overtaken { CommandOutcome::Dropped } else { CommandOutcome::Forwarded });
        self.work.notify_one();
    }

    /// As [`Outbox::take`], under the lease in force, for a robot: nothing when the lease is for another.
    pub(super) fn next(&self, robot: InstanceId) -> Result<Option<ToRobot>, std::time::Duration> {
        // The lease is read under the lock: a command of the lease before cannot slip through.
        let mut outbox = locked(&self.outbox);
        let (fence, instance) = {
            let lease = self.lease.borrow();
            (lease.fence, lease.instance)
        };
        if instance != Some(robot) {
            return Ok(None);
        }
        let next = outbox.take(fence, Instant::now());
        if matches!(next, Ok(Some(_))) {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        next
    }

    /// The last command of a person or of the policy.
    #[must_use]
    pub fn last_command(&self) -> Option<ToRobot> {
        locked(&self.last).clone()
    }

    pub(super) fn forget_command(&self) {
        *locked(&self.last) = None;
        locked(&self.outbox).clear();
    }

    pub(super) fn forget_waiting(&self) {
        locked(&self.outbox).clear();
    }

    pub(super) fn remember(&self, command: ToRobot) {
        *locked(&self.last) = Some(command);
    }

    /// When a person's last command came, Unix ms; 0 for never.
    #[must_use]
    pub fn last_command_ms(&self) -> i64 {
        self.last_ms.load(Ordering::Relaxed)
    }

    /// Commands written to the robot.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn needed(&self) -> bool {
        self.needs.load(Ordering::Acquire) > 0
    }
}

/// Keeps a robot's line open while it lives.
#[derive(Debug)]
pub struct Need(Arc<Wheel>);

impl Need {
    pub(super) fn of(wheel: &Arc<Wheel>) -> Self {
        wheel.needs.fetch_add(1, Ordering::AcqRel);
        wheel.work.notify_one();
        Self(Arc::clone(wheel))
    }
}

impl Drop for Need {
    fn drop(&mut self) {
        self.0.needs.fetch_sub(1, Ordering::AcqRel);
        self.0.work.notify_one();
        self.0.wake.notify_one();
    }
}

pub(super) fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
