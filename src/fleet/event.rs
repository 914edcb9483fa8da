//! What happens to a session, in order. A log entry is written in the same transaction as what it tells of.

use prost::Message;

use super::error::FleetError;
use super::rows::EventRow;
use crate::proto::neuro::ext::{self, session_event::Kind};

/// What happened; as it goes over the wire.
pub type EventKind = Kind;

/// The wire's form of a log entry.
#[must_use]
pub fn to_wire(row: &EventRow) -> ext::SessionEvent {
    ext::SessionEvent { seq: row.seq, at_ms: row.at_ms, kind: Some(row.kind.clone()) }
}

/// What the store keeps of a kind.
#[must_use]
pub fn encode(kind: &EventKind) -> Vec<u8> {
    ext::SessionEvent { seq: 0, at_ms: 0, kind: Some(kind.clone()) }.encode_to_vec()
}

/// What the store kept.
///
/// # Errors
/// When the bytes are no event: the store is damaged.
pub fn decode(bytes: &[u8]) -> Result<EventKind, FleetError> {
    let event = ext::SessionEvent::decode(bytes).map_err(FleetError::internal)?;
    event.kind.ok_or_else(|| FleetError::Internal("an event in the store has no kind".to_owned()))
}
