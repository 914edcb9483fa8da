//! Every series the server exports, with unit and meaning: the table behind `/metrics` and docs/OPERATIONS.md.

use metrics::Unit;

/// From request to answer, by wire and outcome.
pub const REQUEST_SECONDS: &str = "neuro_request_seconds";
/// Requests answered, by wire and outcome.
pub const REQUESTS_TOTAL: &str = "neuro_requests_total";
/// Where the time of a request went, by stage.
pub const STAGE_SECONDS: &str = "neuro_stage_seconds";
/// Requests in the house.
pub const QUEUE_DEPTH: &str = "neuro_queue_depth";
/// Requests the model answered together.
pub const BATCH_SIZE: &str = "neuro_batch_size";
/// Actions answered from the picture cache.
pub const CACHE_HITS_TOTAL: &str = "neuro_cache_hits_total";
/// Pictures the cache did not know.
pub const CACHE_MISSES_TOTAL: &str = "neuro_cache_misses_total";
/// Always 1; its labels say which model and statistics are loaded.
pub const MODEL_INFO: &str = "neuro_model_info";
/// Models loaded since the start, by outcome.
pub const MODEL_LOADS_TOTAL: &str = "neuro_model_loads_total";
/// Lines written by the recorder.
pub const RECORDED_TOTAL: &str = "neuro_recorded_total";
/// Requests the recorder could not keep up with or could not write.
pub const RECORD_DROPPED_TOTAL: &str = "neuro_record_dropped_total";
/// Sessions of the fleet by phase.
pub const FLEET_SESSIONS: &str = "neuro_fleet_sessions";
/// Instances of the fleet by pool and condition.
pub const FLEET_INSTANCES: &str = "neuro_fleet_instances";
/// Sessions that wait for instances.
pub const FLEET_QUEUE_LENGTH: &str = "neuro_fleet_queue_length";
/// Gangs granted since the start, by mode.
pub const FLEET_GRANTS_TOTAL: &str = "neuro_fleet_grants_total";
/// From the request to its gang, by mode.
pub const FLEET_GRANT_SECONDS: &str = "neuro_fleet_grant_seconds";
/// Orders to instances, by order and outcome.
pub const FLEET_ORDERS_TOTAL: &str = "neuro_fleet_orders_total";
/// Open watches of session logs.
pub const FLEET_WATCHERS: &str = "neuro_fleet_watchers";
/// Commands to robots, by what became of them.
pub const FLEET_CONTROL_COMMANDS_TOTAL: &str = "neuro_fleet_control_commands_total";
/// Steps recorded while a person or the policy drove.
pub const FLEET_DEMONSTRATION_STEPS_TOTAL: &str = "neuro_fleet_demonstration_steps_total";
/// Events for Redis, by what became of them.
pub const FLEET_PUBLISHED_TOTAL: &str = "neuro_fleet_published_total";
/// Instances of the node agent by kind and state.
pub const AGENT_INSTANCES: &str = "neuro_agent_instances";
/// Operations of the node agent, by operation and outcome.
pub const AGENT_OPERATIONS_TOTAL: &str = "neuro_agent_operations_total";
/// From an operation's request to its answer, by operation.
pub const AGENT_OPERATION_SECONDS: &str = "neuro_agent_operation_seconds";
/// Attached consoles.
pub const AGENT_CONSOLES: &str = "neuro_agent_consoles";
/// Reports of the node, by where they went and what became of them.
pub const AGENT_REPORTS_TOTAL: &str = "neuro_agent_reports_total";
/// Processor time used by the process.
pub const PROCESS_CPU_SECONDS: &str = "process_cpu_seconds_total";
/// Memory of the process that is in RAM.
pub const PROCESS_RESIDENT_BYTES: &str = "process_resident_memory_bytes";
/// The most memory the process ever had in RAM.
pub const PROCESS_PEAK_BYTES: &str = "process_resident_memory_peak_bytes";
/// Threads of the process.
pub const PROCESS_THREADS: &str = "process_threads";
/// Open files and sockets of the process.
pub const PROCESS_OPEN_FDS: &str = "process_open_fds";

/// What kind of series it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bucket.
    Histogram,
}

/// One exported series.
#[derive(Debug, Clone, Copy)]
pub struct Series {
    /// Its name on `/metrics`.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The unit of its values.
    pub unit: Unit,
    /// Label names.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

const fn series(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Series {
    Series { name, kind, unit, labels, help }
}

/// All of them, sorted by subject.
pub const ALL: &[Series] = &[
    series(
        REQUEST_SECONDS,
        Kind::Histogram,
        Unit::Seconds,
        &["wire", "outcome"],
        "From the parsed request to its answer",
    ),
    series(REQUESTS_TOTAL, Kind::Counter, Unit::Count, &["wire", "outcome"], "Requests answered"),
    series(
        STAGE_SECONDS,
        Kind::Histogram,
        Unit::Seconds,
        &["stage"],
        "Time a request spent in one stage: queue, decode, resize, tactile, vision, decoder, total",
    ),
    series(QUEUE_DEPTH, Kind::Gauge, Unit::Count, &[], "Requests in the house, waiting or being computed"),
    series(BATCH_SIZE, Kind::Histogram, Unit::Count, &[], "Requests the model answered together"),
    series(CACHE_HITS_TOTAL, Kind::Counter, Unit::Count, &[], "Actions answered from the picture cache"),
    series(CACHE_MISSES_TOTAL, Kind::Counter, Unit::Count, &[], "Pictures the cache did not know"),
    series(
        MODEL_INFO,
        Kind::Gauge,
        Unit::Count,
        &["model", "weights", "stats", "backend", "device", "dtype"],
        "1 for the loaded model, 0 for those it replaced",
    ),
    series(MODEL_LOADS_TOTAL, Kind::Counter, Unit::Count, &["outcome"], "Model loads and hot swaps"),
    series(RECORDED_TOTAL, Kind::Counter, Unit::Count, &[], "Requests written by the recorder"),
    series(
        RECORD_DROPPED_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["reason"],
        "Requests the recorder left out: its queue was full, or writing failed",
    ),
    series(
        FLEET_SESSIONS,
        Kind::Gauge,
        Unit::Count,
        &["phase"],
        "Sessions in each phase, ended ones that are kept included",
    ),
    series(
        FLEET_INSTANCES,
        Kind::Gauge,
        Unit::Count,
        &["pool", "condition"],
        "Instances of each pool: idle, busy, draining, away, lost or starting",
    ),
    series(FLEET_QUEUE_LENGTH, Kind::Gauge, Unit::Count, &[], "Sessions that wait for instances"),
    series(FLEET_GRANTS_TOTAL, Kind::Counter, Unit::Count, &["mode"], "Gangs granted"),
    series(
        FLEET_GRANT_SECONDS,
        Kind::Histogram,
        Unit::Seconds,
        &["mode"],
        "From the request for a session to its gang, the wait in the queue included",
    ),
    series(
        FLEET_ORDERS_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["order", "outcome"],
        "Orders to instances: ok, refused, stale, away or late",
    ),
    series(FLEET_WATCHERS, Kind::Gauge, Unit::Count, &[], "Open watches of session logs, on every wire"),
    series(
        FLEET_CONTROL_COMMANDS_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["outcome"],
        "Commands to robots: forwarded, dropped (too many) or refused (not the driver)",
    ),
    series(
        FLEET_DEMONSTRATION_STEPS_TOTAL,
        Kind::Counter,
        Unit::Count,
        &[],
        "Steps recorded while a person or the policy drove",
    ),
    series(
        FLEET_PUBLISHED_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["outcome"],
        "Events for Redis: written, or dropped (too many waited)",
    ),
    series(
        AGENT_INSTANCES,
        Kind::Gauge,
        Unit::Count,
        &["kind", "state"],
        "Instances of the node agent: pending, creating, running, stopped, failed or deleting",
    ),
    series(
        AGENT_OPERATIONS_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["operation", "outcome"],
        "Operations of the node agent: create, start, stop, restart or delete",
    ),
    series(
        AGENT_OPERATION_SECONDS,
        Kind::Histogram,
        Unit::Seconds,
        &["operation"],
        "From an operation's request to its answer, a graceful end included",
    ),
    series(AGENT_CONSOLES, Kind::Gauge, Unit::Count, &[], "Attached consoles, in both profiles"),
    series(
        AGENT_REPORTS_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["to", "outcome"],
        "Reports of the node to the cluster service or to etcd: ok, refused or failed",
    ),
    series(
        PROCESS_CPU_SECONDS,
        Kind::Gauge,
        Unit::Seconds,
        &[],
        "Processor time of the process, user and system",
    ),
    series(PROCESS_RESIDENT_BYTES, Kind::Gauge, Unit::Bytes, &[], "Memory of the process that is in RAM"),
    series(PROCESS_PEAK_BYTES, Kind::Gauge, Unit::Bytes, &[], "The most memory the process ever had in RAM"),
    series(PROCESS_THREADS, Kind::Gauge, Unit::Count, &[], "Threads of the process"),
    series(PROCESS_OPEN_FDS, Kind::Gauge, Unit::Count, &[], "Open files and sockets of the process"),
];

/// Upper bounds for durations, in seconds: 100 us to about 2 minutes, a factor of about 1.8 apart, so both a
/// tabletop model on a GPU and a full-size one on two cores land in the middle.
pub const DURATION_BUCKETS_S: &[f64] = &[
    0.0001, 0.0002, 0.0004, 0.0007, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075,
    0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0,
];

/// Upper bounds for batch sizes.
pub const BATCH_BUCKETS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0];
