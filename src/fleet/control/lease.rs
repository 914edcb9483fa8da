//! Who drives a robot now, as everybody who has to do with it sees it.

use crate::fleet::ids::{Fence, InstanceId};
use crate::fleet::rows::{ControlRow, Phase};
use crate::proto::neuro::ext::Controller;

/// The control lease in force, and what else decides whether a command passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The simulator that the environment runs on; `None` before one is granted.
    pub instance: Option<InstanceId>,
    /// Of the lease. Never falls while a session lives on one simulator.
    pub fence: Fence,
    /// Person, policy (or trainer), or nobody.
    pub holder: Controller,
    /// The person; empty otherwise.
    pub user: String,
    /// When it ends, Unix ms; 0 for never.
    pub expires_ms: i64,
    /// The seat that drives under it; `None` while its person is away.
    pub driver: Option<u64>,
    /// Whether what happens is recorded.
    pub recording: bool,
    /// Where the session is in its life.
    pub phase: Phase,
    /// The session is over.
    pub ended: bool,
}

impl Lease {
    /// Before anything is known.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            instance: None,
            fence: Fence(0),
            holder: Controller::Unspecified,
            user: String::new(),
            expires_ms: 0,
            driver: None,
            recording: false,
            phase: Phase::Unspecified,
            ended: false,
        }
    }

    /// Whether a person holds it at that time.
    #[must_use]
    pub fn is_human(&self, now_ms: i64) -> bool {
        self.holder == Controller::Human && !self.expired(now_ms)
    }

    /// Whether it has run out.
    #[must_use]
    pub const fn expired(&self, now_ms: i64) -> bool {
        self.expires_ms != 0 && self.expires_ms <= now_ms
    }

    /// Whether this seat drives at that time.
    #[must_use]
    pub fn is_driven_by(&self, seat: u64, now_ms: i64) -> bool {
        !self.ended && self.driver == Some(seat) && self.is_human(now_ms)
    }

    /// As clients read it: `manual`, `ai` or `none`.
    #[must_use]
    pub const fn mode(&self) -> &'static str {
        match self.holder {
            Controller::Human => "manual",
            Controller::Policy => "ai",
            Controller::None | Controller::Unspecified => "none",
        }
    }

    pub(super) fn take_over(&mut self, row: &ControlRow) {
        self.instance = Some(row.instance);
        self.fence = row.fence;
        self.holder = row.holder;
        self.user.clone_from(&row.user);
        self.expires_ms = row.expires_ms;
    }
}
