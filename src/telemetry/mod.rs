//! Logs, metrics and traces: one place that names every series, so a dashboard and its reader agree.
//!
//! Telemetry is below the policy: it knows durations, names and counts, never a request or a model.

pub mod agent;
pub mod fleet;
pub mod logs;
pub mod metrics;
pub mod process;
pub mod series;
pub mod traces;
