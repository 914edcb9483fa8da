//! Changes to statements. Within a group only the last state of a row is written.

use std::collections::HashSet;

use prost::Message;
use rusqlite::{Result, Transaction, named_params, params};

use super::codec::{condition_name, detail, priority_name, signed};
use crate::fleet::event;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::ledger::Change;
use crate::fleet::rows::{InstanceRow, SessionRow};

/// A row that a later change of the same group writes whole.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Instance(InstanceId),
    Session(&'a SessionId),
    Control(&'a SessionId, InstanceId),
    Quota(&'a str),
    Usage(&'a str, &'a str),
    Fleet(&'static str),
}

fn key(change: &Change) -> Option<Key<'_>> {
    match change {
        Change::Instance(row) => Some(Key::Instance(row.id)),
        Change::Session(row) => Some(Key::Session(&row.id)),
        Change::Control(row) => Some(Key::Control(&row.session, row.instance)),
        Change::Quota { owner, .. } => Some(Key::Quota(owner)),
        Change::Usage { owner, month, .. } => Some(Key::Usage(owner, month)),
        Change::Fleet { .. } => Some(Key::Fleet("drain_until_ms")),
        Change::Accounted { .. } => Some(Key::Fleet("accounted_ms")),
        _ => None,
    }
}

/// Writes a group.
pub(super) fn write(transaction: &Transaction<'_>, changes: &[Change]) -> Result<()> {
    let mut seen = HashSet::new();
    let last = changes.iter().rev().map(|change| {
        // Whatever was written before a row went away must not be skipped for what comes after it.
        if matches!(change, Change::InstanceGone(_) | Change::SessionGone(_) | Change::ControlGone(_)) {
            seen.clear();
        }
        (change, key(change).is_none_or(|key| seen.insert(key)))
    });
    let last: Vec<_> = last.filter(|(_, last)| *last).map(|(change, _)| change).collect();
    last.into_iter().rev().try_for_each(|change| one(transaction, change))
}

fn one(transaction: &Transaction<'_>, change: &Change) -> Result<()> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| transaction.prepare_cached(sql)?.execute(values);
    match change {
        Change::Instance(row) => return instance(transaction, row),
        Change::Session(row) => return session(transaction, row),
        Change::InstanceGone(id) => run("DELETE FROM instances WHERE id = ?", params![id.to_string()])?,
        Change::Event(row) => run(
            "INSERT INTO events (session, seq, at_ms, kind) VALUES (?, ?, ?, ?)",
            params![row.session.as_str(), row.seq, row.at_ms, event::encode(&row.kind)],
        )?,
        Change::EventsGone { session, upto } => {
            run("DELETE FROM events WHERE session = ? AND seq <= ?", params![session.as_str(), upto])?
        }
        Change::Control(row) => run(
            "INSERT OR REPLACE INTO controls (session, instance, fence, holder, user, expires_ms)
                VALUES (?, ?, ?, ?, ?, ?)",
            params![
                row.session.as_str(),
                row.instance.to_string(),
                signed(row.fence.0),
                i32::from(row.holder),
                row.user,
                row.expires_ms
            ],
        )?,
        Change::ControlGone(id) => run("DELETE FROM controls WHERE session = ?", params![id.as_str()])?,
        Change::SessionGone(id) => {
            run("DELETE FROM controls WHERE session = ?", params![id.as_str()])?;
            run("DELETE FROM events WHERE session = ?", params![id.as_str()])?;
            run("DELETE FROM sessions WHERE id = ?", params![id.as_str()])?
        }
        Change::Quota { owner, quota } => run(
            "INSERT OR REPLACE INTO quotas VALUES (?, ?, ?, ?, ?, ?)",
            params![
                owner,
                quota.max_sessions,
                quota.max_simulators,
                quota.max_training_gpus,
                quota.gpu_hours_per_month,
                quota.weight
            ],
        )?,
        Change::Usage { owner, month, gpu_seconds } => {
            run("INSERT OR REPLACE INTO usage VALUES (?, ?, ?)", params![owner, month, gpu_seconds])?
        }
        Change::Snapshot(row) => run(
            "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                row.session.as_str(),
                row.created_ms,
                row.path,
                signed(row.size_bytes),
                row.manifest
            ],
        )?,
        Change::Demonstration(row) => run(
            "INSERT OR REPLACE INTO demonstrations (id, session, message, owner) VALUES (?, ?, ?, ?)",
            params![row.demonstration.id, row.session.as_str(), row.demonstration.encode_to_vec(), row.owner],
        )?,
        Change::DemonstrationGone(id) => run("DELETE FROM demonstrations WHERE id = ?", params![id])?,
        Change::Fleet { drain_until_ms } => {
            run("INSERT OR REPLACE INTO fleet VALUES ('drain_until_ms', ?)", params![drain_until_ms])?
        }
        Change::Accounted { at_ms } => {
            run("INSERT OR REPLACE INTO fleet VALUES ('accounted_ms', ?)", params![at_ms])?
        }
    };
    Ok(())
}

fn instance(transaction: &Transaction<'_>, row: &InstanceRow) -> Result<()> {
    let sql =
        "INSERT OR REPLACE INTO instances (id, name, role, pool, node, condition, fence, session, env_index,
            since_ms, drain_until_ms, registered_ms, detail)
        VALUES (:id, :name, :role, :pool, :node, :condition, :fence, :session, :env_index, :since_ms,
            :drain_until_ms, :registered_ms, :detail)";
    let holder = row.holder.as_ref();
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":id": row.id.to_string(),
        ":name": row.name,
        ":role": row.role.name(),
        ":pool": row.pool,
        ":node": row.node,
        ":condition": condition_name(row.condition),
        ":fence": signed(row.fence.0),
        ":session": holder.map(|holder| holder.session.as_str()),
        ":env_index": holder.map(|holder| holder.env_index),
        ":since_ms": holder.map(|holder| holder.since_ms),
        ":drain_until_ms": row.drain_until_ms,
        ":registered_ms": row.registered_ms,
        ":detail": detail(row),
    })?;
    Ok(())
}

fn session(transaction: &Transaction<'_>, row: &SessionRow) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO sessions (id, owner, mode, phase, priority, created_ms, queued_ms, granted_ms,
            ended_ms, reason, last_seq, training_id, restore_from, trainers, simulators, training_gpus,
            training_memory_mb, requires, request_hash, spec)
        VALUES (:id, :owner, :mode, :phase, :priority, :created_ms, :queued_ms, :granted_ms, :ended_ms, :reason,
            :last_seq, :training_id, :restore_from, :trainers, :simulators, :training_gpus, :training_memory_mb,
            :requires, :request_hash, :spec)";
    let requires = serde_json::to_string(&row.requires).unwrap_or_else(|_| "{}".to_owned());
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":id": row.id.as_str(),
        ":owner": row.owner,
        ":mode": row.mode.name(),
        ":phase": row.phase.as_str_name(),
        ":priority": priority_name(row.priority),
        ":created_ms": row.created_ms,
        ":queued_ms": row.queued_ms,
        ":granted_ms": row.granted_ms,
        ":ended_ms": row.ended_ms,
        ":reason": row.reason,
        ":last_seq": row.last_seq,
        ":training_id": row.training_id,
        ":restore_from": row.restore_from,
        ":trainers": row.gang.trainers,
        ":simulators": row.gang.simulators,
        ":training_gpus": row.gang.training_gpus,
        ":training_memory_mb": signed(row.gang.training_memory_mb),
        ":requires": requires,
        ":request_hash": row.request_hash.as_slice(),
        ":spec": row.spec,
    })?;
    Ok(())
}
