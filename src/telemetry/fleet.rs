//! What is counted of the fleet. Gauges of sessions and instances are read off the books at a scrape; the rest is
//! counted where it happens.

use std::time::Duration;

use ::metrics::{counter, gauge, histogram};

use super::series;

/// A gang was granted, so long after it was asked for.
pub fn granted(mode: &'static str, took: Duration) {
    counter!(series::FLEET_GRANTS_TOTAL, "mode" => mode).increment(1);
    histogram!(series::FLEET_GRANT_SECONDS, "mode" => mode).record(took);
}

/// What became of an order to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderOutcome {
    /// Done.
    Ok,
    /// The instance said no.
    Refused,
    /// The fence was overtaken.
    Stale,
    /// The instance is away.
    Away,
    /// No answer in time.
    Late,
}

impl OrderOutcome {
    /// The value of the `outcome` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Stale => "stale",
            Self::Away => "away",
            Self::Late => "late",
        }
    }
}

/// An order was answered, or was not. `order` is its name on the wire: `load`, `start`, `train`, ...
pub fn ordered(order: &'static str, outcome: OrderOutcome) {
    counter!(series::FLEET_ORDERS_TOTAL, "order" => order, "outcome" => outcome.as_str()).increment(1);
}

/// One open watch of a session's log; counted for as long as it lives.
#[derive(Debug)]
pub struct Watching(());

/// Counts a watch in.
#[must_use]
pub fn watching() -> Watching {
    gauge!(series::FLEET_WATCHERS).increment(1.0);
    Watching(())
}

impl Drop for Watching {
    fn drop(&mut self) {
        gauge!(series::FLEET_WATCHERS).decrement(1.0);
    }
}

/// What became of a command to a robot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    /// On its way to the instance.
    Forwarded,
    /// Too many: a newer one went instead.
    Dropped,
    /// Its sender does not drive.
    Refused,
}

impl CommandOutcome {
    /// The value of the `outcome` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
        }
    }
}

/// A command to a robot came in.
pub fn commanded(outcome: CommandOutcome) {
    counter!(series::FLEET_CONTROL_COMMANDS_TOTAL, "outcome" => outcome.as_str()).increment(1);
}

/// A step was written to a demonstration.
pub fn demonstrated() {
    counter!(series::FLEET_DEMONSTRATION_STEPS_TOTAL).increment(1);
}

/// Events written to Redis since the start, and those dropped because too many waited.
pub fn set_published(written: u64, dropped: u64) {
    counter!(series::FLEET_PUBLISHED_TOTAL, "outcome" => "written").absolute(written);
    counter!(series::FLEET_PUBLISHED_TOTAL, "outcome" => "dropped").absolute(dropped);
}

/// Shows what has not happened yet as 0 where the labels are known beforehand: a rate needs a first value.
pub fn show_zeros() {
    for outcome in [CommandOutcome::Forwarded, CommandOutcome::Dropped, CommandOutcome::Refused] {
        counter!(series::FLEET_CONTROL_COMMANDS_TOTAL, "outcome" => outcome.as_str()).increment(0);
    }
    counter!(series::FLEET_DEMONSTRATION_STEPS_TOTAL).increment(0);
    gauge!(series::FLEET_WATCHERS).increment(0.0);
}

/// Sessions in a phase (`queued`, `running`, ...) now.
pub fn set_sessions(phase: &'static str, count: usize) {
    gauge!(series::FLEET_SESSIONS, "phase" => phase).set(count as f64);
}

/// Instances of a pool in a condition now.
pub fn set_instances(pool: &str, condition: &'static str, count: usize) {
    gauge!(series::FLEET_INSTANCES, "pool" => pool.to_owned(), "condition" => condition).set(count as f64);
}

/// Sessions that wait now.
pub fn set_queue_length(count: usize) {
    gauge!(series::FLEET_QUEUE_LENGTH).set(count as f64);
}

/// Touches every series of this file, so that a test of the page finds each of them.
#[cfg(test)]
pub(super) fn observe_everything_once() {
    granted("manual", Duration::from_millis(4));
    ordered("load", OrderOutcome::Ok);
    drop(watching());
    commanded(CommandOutcome::Forwarded);
    demonstrated();
    set_published(1, 0);
    show_zeros();
    set_sessions("running", 1);
    set_instances("simulators", "idle", 4);
    set_queue_length(0);
}
