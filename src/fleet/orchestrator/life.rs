//! When somebody last cared about a session: what idleness is measured from.

use std::time::Duration;

use super::Orchestrator;
use crate::fleet::rows::SessionRow;
use crate::fleet::session::house::seconds;
use crate::fleet::session::live::Live;
use crate::fleet::spec::Mode;

/// The limits of a mode; `None` for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) idle: Option<Duration>,
    pub(super) most: Option<Duration>,
}

impl Orchestrator {
    pub(super) fn life_of(&self, mode: Mode) -> Life {
        let settings = &self.fleet_settings().sessions;
        let (idle, most) = match mode {
            Mode::Manual => (settings.manual_idle_s, settings.manual_max_s),
            Mode::Training => (settings.training_idle_s, settings.training_max_s),
            Mode::Hybrid => (settings.hybrid_idle_s, settings.hybrid_max_s),
        };
        Life { idle: seconds(idle), most: seconds(most) }
    }

    /// When somebody last cared, Unix ms. Training lives by its progress, a manual session by people: their commands,
    /// connections, calls and watchers; a hybrid one by both.
    pub(super) fn last_life_ms(&self, row: &SessionRow, live: &Live, now_ms: i64) -> i64 {
        let begun = row.granted_ms.max(row.created_ms);
        let progress = if row.mode.trains() { live.progress_ms() } else { 0 };
        if row.mode == Mode::Training {
            return begun.max(progress);
        }
        begun.max(progress).max(self.last_person_ms(row, live, now_ms))
    }

    fn last_person_ms(&self, row: &SessionRow, live: &Live, now_ms: i64) -> i64 {
        let presence = self.controls().presence(&row.id);
        if presence.connections > 0 || live.tail.watchers() > 0 {
            return now_ms;
        }
        let pulses = self.books().read(|tables| tables.members(&row.id));
        let commanded = pulses.iter().filter_map(|member| self.links().pulse(member.instance)).map(|pulse| {
            if pulse.heartbeat.client_connected { now_ms } else { pulse.heartbeat.last_command_ms }
        });
        let commanded = commanded.max().unwrap_or(0).min(now_ms);
        live.touched_ms().max(presence.last_command_ms).max(commanded)
    }
}
