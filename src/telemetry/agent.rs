//! What is counted of the node agent. Gauges of instances are read off the agent at a scrape; the rest is counted where it
//! happens.

use std::time::Duration;

use ::metrics::{counter, gauge, histogram};

use super::series;

/// An operation was carried out or refused. `operation` is `create`, `start`, `stop`, `restart` or `delete`; `outcome` is
/// `ok` or the kind of error.
pub fn operated(operation: &'static str, outcome: &'static str, took: Duration) {
    counter!(series::AGENT_OPERATIONS_TOTAL, "operation" => operation, "outcome" => outcome).increment(1);
    histogram!(series::AGENT_OPERATION_SECONDS, "operation" => operation).record(took);
}

/// One attached console; counted for as long as it lives.
#[derive(Debug)]
pub struct Attached(());

/// Counts a console in.
#[must_use]
pub fn attached() -> Attached {
    gauge!(series::AGENT_CONSOLES).increment(1.0);
    Attached(())
}

impl Drop for Attached {
    fn drop(&mut self) {
        gauge!(series::AGENT_CONSOLES).decrement(1.0);
    }
}

/// Instances in a state (`running`, `stopped`, ...) of a kind (`container`, ...) now.
pub fn set_instances(kind: &'static str, state: &'static str, count: usize) {
    gauge!(series::AGENT_INSTANCES, "kind" => kind, "state" => state).set(count as f64);
}

/// What became of the node's reports: `to` is `cluster` or `etcd`, `outcome` is `ok`, `refused` or `failed`.
pub fn reported(to: &'static str, outcome: &'static str) {
    counter!(series::AGENT_REPORTS_TOTAL, "to" => to, "outcome" => outcome).increment(1);
}

/// Touches every series of this file, so that a test of the page finds each of them.
#[cfg(test)]
pub(super) fn observe_everything_once() {
    operated("create", "ok", Duration::from_millis(4));
    drop(attached());
    set_instances("container", "running", 1);
    reported("cluster", "ok");
}
