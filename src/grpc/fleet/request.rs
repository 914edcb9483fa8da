//! Requests of the fleet with everything left open that a message may leave out.

use std::time::Duration;

use crate::fleet::SessionId;
use crate::fleet::request::{CreateSession, SessionOptions};
use crate::fleet::spec::Mode;

/// A session of which only the name and the mode are said.
pub(super) fn of(id: SessionId, mode: Mode) -> CreateSession {
    CreateSession {
        id,
        mode,
        scene: None,
        stream: None,
        training: None,
        resources: None,
        human_demo: false,
        options: SessionOptions::default(),
        wait: Duration::ZERO,
    }
}
