//! Reads logs from the SQLite file beside the writer: readers of a write-ahead log wait for nobody.

use rusqlite::{Connection, params};

use super::{Log, StoreError};
use crate::fleet::event;
use crate::fleet::ids::SessionId;
use crate::fleet::rows::EventRow;

pub(super) struct SqliteLog(pub Connection);

impl SqliteLog {
    fn read(
        &self,
        session: &SessionId,
        after: i64,
        limit: i64,
    ) -> rusqlite::Result<Vec<(i64, i64, Vec<u8>)>> {
        let sql = "SELECT seq, at_ms, kind FROM events WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map(params![session.as_str(), after, limit], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        rows.collect()
    }
}

impl Log for SqliteLog {
    fn events(&mut self, session: &SessionId, after: i64, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        let failed = |problem: String| StoreError::Failed { doing: "read", problem };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.read(session, after, limit).map_err(|error| failed(error.to_string()))?;
        let events = rows.into_iter().map(|(seq, at_ms, kind)| {
            let kind =
                event::decode(&kind).map_err(|error| failed(format!("event {seq} of {session}: {error}")))?;
            Ok(EventRow { session: session.clone(), seq, at_ms, kind })
        });
        events.collect()
    }
}
