//! Rows to columns and back. Names go into the file, not numbers, so that people can read it with `sqlite3`.

use std::collections::BTreeMap;

use prost::Message;
use rusqlite::Row;
use rusqlite::types::Type;

use crate::fleet::ids::{Fence, InstanceId, SessionId};
use crate::fleet::rows::{
    Condition, ControlRow, Endpoints, GpuRef, Holder, InstanceRow, Phase, Role, SessionRow,
};
use crate::fleet::spec::{Gang, Mode, Priority};
use crate::proto::neuro::ext::Controller;

/// What nobody asks the database about.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(btree_map = "string, string", tag = "2")]
    labels: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "3")]
    gpus: Vec<Gpu>,
    #[prost(uint64, tag = "4")]
    memory_mb: u64,
    #[prost(string, tag = "5")]
    control_ws_url: String,
    #[prost(string, tag = "6")]
    zmq_endpoint: String,
    #[prost(string, tag = "7")]
    rest_url: String,
    #[prost(string, tag = "8")]
    stream_url: String,
}

#[derive(Clone, PartialEq, Message)]
struct Gpu {
    #[prost(uint32, tag = "1")]
    index: u32,
    #[prost(string, tag = "2")]
    uuid: String,
    #[prost(string, tag = "3")]
    name: String,
}

/// A column that holds what it may not.
pub(super) fn odd(
    column: usize,
    problem: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, problem.into())
}

pub(super) const fn condition_name(condition: Condition) -> &'static str {
    match condition {
        Condition::Present => "present",
        Condition::Away => "away",
        Condition::Lost => "lost",
    }
}

pub(super) const fn priority_name(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
    }
}

fn named<T: Copy>(
    column: usize,
    row: &Row<'_>,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    let found = all.iter().find(|value| name(**value) == text);
    found.copied().ok_or_else(|| odd(column, format!("{text:?} is none of its names")))
}

fn instance_id(column: usize, row: &Row<'_>) -> rusqlite::Result<InstanceId> {
    row.get::<_, String>(column)?.parse().map_err(|error| odd(column, Box::new(error)))
}

pub(super) fn session_id(column: usize, row: &Row<'_>) -> rusqlite::Result<SessionId> {
    row.get::<_, String>(column)?.parse().map_err(|error| odd(column, Box::new(error)))
}

pub(super) fn detail(row: &InstanceRow) -> Vec<u8> {
    let gpus = row.gpus.iter();
    Detail {
        version: row.version.clone(),
        labels: row.labels.clone(),
        gpus: gpus
            .map(|gpu| Gpu { index: gpu.index, uuid: gpu.uuid.clone(), name: gpu.name.clone() })
            .collect(),
        memory_mb: row.memory_mb,
        control_ws_url: row.endpoints.control_ws_url.clone(),
        zmq_endpoint: row.endpoints.zmq_endpoint.clone(),
        rest_url: row.endpoints.rest_url.clone(),
        stream_url: row.endpoints.stream_url.clone(),
    }
    .encode_to_vec()
}

/// Columns of [`instance`], in its order.
pub(super) const INSTANCE: &str = "id, name, role, pool, node, condition, fence, session, env_index, since_ms, \
                                   drain_until_ms, registered_ms, detail";

pub(super) fn instance(row: &Row<'_>) -> rusqlite::Result<InstanceRow> {
    let bytes: Vec<u8> = row.get(12)?;
    let detail = Detail::decode(bytes.as_slice()).map_err(|error| odd(12, error))?;
    let holder = match row.get::<_, Option<String>>(7)? {
        None => None,
        Some(_) => {
            Some(Holder { session: session_id(7, row)?, env_index: row.get(8)?, since_ms: row.get(9)? })
        }
    };
    let gpus = detail.gpus.into_iter();
    Ok(InstanceRow {
        id: instance_id(0, row)?,
        name: row.get(1)?,
        role: named(2, row, &[Role::Simulator, Role::Trainer], Role::name)?,
        pool: row.get(3)?,
        node: row.get(4)?,
        version: detail.version,
        labels: detail.labels,
        gpus: gpus.map(|gpu| GpuRef { index: gpu.index, uuid: gpu.uuid, name: gpu.name }).collect(),
        memory_mb: detail.memory_mb,
        endpoints: Endpoints {
            control_ws_url: detail.control_ws_url,
            zmq_endpoint: detail.zmq_endpoint,
            rest_url: detail.rest_url,
            stream_url: detail.stream_url,
        },
        condition: named(5, row, &[Condition::Present, Condition::Away, Condition::Lost], condition_name)?,
        fence: Fence(row.get::<_, i64>(6)?.unsigned_abs()),
        holder,
        drain_until_ms: row.get(10)?,
        registered_ms: row.get(11)?,
    })
}

/// Columns of [`session`], in its order.
pub(super) const SESSION: &str = "id, owner, mode, phase, priority, created_ms, queued_ms, granted_ms, ended_ms, reason, \
                                  last_seq, training_id, restore_from, trainers, simulators, training_gpus, \
                                  training_memory_mb, requires, request_hash, spec";

pub(super) fn session(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    let phase: String = row.get(3)?;
    let requires: String = row.get(17)?;
    let hash: Vec<u8> = row.get(18)?;
    Ok(SessionRow {
        id: session_id(0, row)?,
        owner: row.get(1)?,
        mode: named(2, row, &[Mode::Manual, Mode::Training, Mode::Hybrid], Mode::name)?,
        phase: Phase::from_str_name(&phase).ok_or_else(|| odd(3, format!("{phase:?} is no phase")))?,
        priority: named(4, row, &[Priority::Low, Priority::Normal, Priority::High], priority_name)?,
        gang: Gang {
            trainers: row.get(13)?,
            simulators: row.get(14)?,
            training_gpus: row.get(15)?,
            training_memory_mb: row.get::<_, i64>(16)?.unsigned_abs(),
        },
        requires: serde_json::from_str(&requires).map_err(|error| odd(17, error))?,
        spec: row.get(19)?,
        request_hash: hash.try_into().map_err(|_| odd(18, "a hash has 32 bytes"))?,
        created_ms: row.get(5)?,
        queued_ms: row.get(6)?,
        granted_ms: row.get(7)?,
        ended_ms: row.get(8)?,
        reason: row.get(9)?,
        last_seq: row.get(10)?,
        training_id: row.get(11)?,
        restore_from: row.get(12)?,
    })
}

/// `session, instance, fence, holder, user, expires_ms`.
pub(super) fn control(row: &Row<'_>) -> rusqlite::Result<ControlRow> {
    let holder: i32 = row.get(3)?;
    Ok(ControlRow {
        session: session_id(0, row)?,
        instance: instance_id(1, row)?,
        fence: Fence(row.get::<_, i64>(2)?.unsigned_abs()),
        holder: Controller::try_from(holder).map_err(|error| odd(3, error))?,
        user: row.get(4)?,
        expires_ms: row.get(5)?,
    })
}

/// A number that SQLite can hold.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
