//! The words for enums in JSON, both ways.

use crate::fleet::FleetError;
use crate::fleet::rows::{Condition, InstanceRow, Phase};
use crate::fleet::spec::{Mode, Priority};
use crate::proto::neuro::ext::Controller;

/// Every phase and its word.
pub const PHASES: [(Phase, &str); 12] = [
    (Phase::Queued, "queued"),
    (Phase::Allocating, "allocating"),
    (Phase::Starting, "starting"),
    (Phase::Ready, "ready"),
    (Phase::Running, "running"),
    (Phase::Paused, "paused"),
    (Phase::Recovering, "recovering"),
    (Phase::Stopping, "stopping"),
    (Phase::Stopped, "stopped"),
    (Phase::Completed, "completed"),
    (Phase::Failed, "failed"),
    (Phase::Preempted, "preempted"),
];

/// `queued`, `running`, ...; `unknown` for the wire's zero.
#[must_use]
pub fn phase(phase: Phase) -> &'static str {
    PHASES.iter().find(|(known, _)| *known == phase).map_or("unknown", |(_, word)| word)
}

/// A phase as it came over the wire.
#[must_use]
pub fn phase_number(number: i32) -> &'static str {
    phase(Phase::try_from(number).unwrap_or_default())
}

/// Reads a phase.
///
/// # Errors
/// When it is none; the message lists them.
pub fn read_phase(field: &str, word: &str) -> Result<Phase, FleetError> {
    one_of(field, word, &PHASES)
}

/// Reads a mode.
///
/// # Errors
/// When it is none; the message lists them.
pub fn read_mode(field: &str, word: &str) -> Result<Mode, FleetError> {
    let modes = [Mode::Manual, Mode::Training, Mode::Hybrid].map(|mode| (mode, mode.name()));
    one_of(field, word, &modes)
}

const PRIORITIES: [(Priority, &str); 3] =
    [(Priority::Low, "low"), (Priority::Normal, "normal"), (Priority::High, "high")];

/// `low`, `normal`, `high`.
#[must_use]
pub fn priority(priority: Priority) -> &'static str {
    PRIORITIES.iter().find(|(known, _)| *known == priority).map_or("normal", |(_, word)| word)
}

/// Reads a priority.
///
/// # Errors
/// When it is none; the message lists them.
pub fn read_priority(field: &str, word: &str) -> Result<Priority, FleetError> {
    one_of(field, word, &PRIORITIES)
}

/// `policy`, `human` or `none`.
#[must_use]
pub const fn controller(controller: Controller) -> &'static str {
    match controller {
        Controller::Policy => "policy",
        Controller::Human => "human",
        Controller::None | Controller::Unspecified => "none",
    }
}

/// A controller as it came over the wire.
#[must_use]
pub fn controller_number(number: i32) -> &'static str {
    controller(Controller::try_from(number).unwrap_or_default())
}

/// What an instance does in one word: `idle`, `busy`, `draining`, `away` or `lost`.
#[must_use]
pub const fn state(row: &InstanceRow) -> &'static str {
    match row.condition {
        Condition::Away => "away",
        Condition::Lost => "lost",
        Condition::Present if row.drain_until_ms.is_some() => "draining",
        Condition::Present if row.holder.is_some() => "busy",
        Condition::Present => "idle",
    }
}

/// The member of `known` that `word` names, in any case.
fn one_of<T: Copy>(field: &str, word: &str, known: &[(T, &str)]) -> Result<T, FleetError> {
    let found = known.iter().find(|(_, name)| name.eq_ignore_ascii_case(word));
    found.map(|(value, _)| *value).ok_or_else(|| {
        let shown: String = word.chars().take(40).collect();
        let names: Vec<&str> = known.iter().map(|(_, name)| *name).collect();
        FleetError::invalid(field, format!("{shown:?} is not one of {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_of_the_wire_has_a_word_that_reads_back() {
        for number in 1.. {
            let Ok(known) = Phase::try_from(number) else { break };
            assert_eq!(read_phase("phase", phase(known)), Ok(known));
            assert_eq!(phase(known), known.as_str_name().to_lowercase());
        }
        assert_eq!(phase_number(0), "unknown");
    }

    #[test]
    fn a_word_that_is_none_is_named_with_those_that_are() {
        let error = read_mode("mode", "autopilot").unwrap_err().to_string();
        assert_eq!(error, "mode \"autopilot\" is not one of manual, training, hybrid");
    }
}
