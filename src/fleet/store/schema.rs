//! The tables of the SQLite file. `user_version` counts the shapes they have had; a file of an older shape is brought
//! forward step by step, a newer one is refused.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// What an empty file becomes, step by step: the file's version is how many of them it has seen.
const STEPS: [&str; 2] = [FIRST, OWNED_DEMONSTRATIONS];

const FIRST: &str = "
    CREATE TABLE instances (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, pool TEXT NOT NULL, node TEXT NOT NULL,
        condition TEXT NOT NULL, fence INTEGER NOT NULL, session TEXT, env_index INTEGER, since_ms INTEGER,
        drain_until_ms INTEGER, registered_ms INTEGER NOT NULL, detail BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, mode TEXT NOT NULL, phase TEXT NOT NULL, priority TEXT NOT NULL,
        created_ms INTEGER NOT NULL, queued_ms INTEGER NOT NULL, granted_ms INTEGER NOT NULL,
        ended_ms INTEGER NOT NULL, reason TEXT NOT NULL, last_seq INTEGER NOT NULL, training_id TEXT NOT NULL,
        restore_from TEXT NOT NULL, trainers INTEGER NOT NULL, simulators INTEGER NOT NULL,
        training_gpus INTEGER NOT NULL, training_memory_mb INTEGER NOT NULL, requires TEXT NOT NULL,
        request_hash BLOB NOT NULL, spec BLOB NOT NULL
    );
    CREATE TABLE events (
        session TEXT NOT NULL, seq INTEGER NOT NULL, at_ms INTEGER NOT NULL, kind BLOB NOT NULL,
        PRIMARY KEY (session, seq)
    ) WITHOUT ROWID;
    CREATE TABLE controls (
        session TEXT NOT NULL, instance TEXT NOT NULL, fence INTEGER NOT NULL, holder INTEGER NOT NULL,
        user TEXT NOT NULL, expires_ms INTEGER NOT NULL, PRIMARY KEY (session, instance)
    ) WITHOUT ROWID;
    CREATE TABLE quotas (
        owner TEXT PRIMARY KEY, max_sessions INTEGER NOT NULL, max_simulators INTEGER NOT NULL,
        max_training_gpus INTEGER NOT NULL, gpu_hours_per_month REAL NOT NULL, weight INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE usage (
        owner TEXT NOT NULL, month TEXT NOT NULL, gpu_seconds REAL NOT NULL, PRIMARY KEY (owner, month)
    ) WITHOUT ROWID;
    CREATE TABLE snapshots (
        id TEXT PRIMARY KEY, session TEXT NOT NULL, created_ms INTEGER NOT NULL, path TEXT NOT NULL,
        size_bytes INTEGER NOT NULL, manifest TEXT NOT NULL
    );
    CREATE TABLE demonstrations (id TEXT PRIMARY KEY, session TEXT NOT NULL, message BLOB NOT NULL);
    CREATE TABLE fleet (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
";

/// A demonstration belongs to the owner of its session. One that the session's log does not tell of may be that of an
/// earlier session of the same id, of whomever: it is nobody's.
const OWNED_DEMONSTRATIONS: &str = "
    ALTER TABLE demonstrations ADD COLUMN owner TEXT NOT NULL DEFAULT '';
    UPDATE demonstrations SET owner = coalesce((
        SELECT sessions.owner FROM sessions WHERE sessions.id = demonstrations.session AND EXISTS (
            SELECT 1 FROM events
            WHERE events.session = sessions.id AND instr(events.kind, CAST(demonstrations.id AS BLOB)) > 0
        )
    ), '');
";

/// Brings a file to the newest shape.
pub(super) fn bring_forward(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| StoreError::Failed { doing: "opened", problem: error.to_string() };
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let known = STEPS.len() as i64;
    if found > known {
        return Err(StoreError::Newer { path: path.display().to_string(), found, known });
    }
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'";
    let tables: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(failed)?;
    if found < 0 || (found == 0 && tables > 0) {
        let problem = format!("a SQLite file of another program: {tables} tables, version {found}");
        return Err(StoreError::Damaged { path: path.display().to_string(), problem });
    }
    let transaction = connection.transaction().map_err(failed)?;
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    if found < known {
        transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use rusqlite::params;

    use super::*;
    use crate::fleet::event::{self, EventKind};
    use crate::fleet::store::{SqliteStore, Store};
    use crate::proto::neuro::ext::Demonstration;

    #[test]
    fn a_file_of_the_first_shape_opens_and_its_demonstrations_have_the_owners_whose_logs_tell_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(FIRST).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        let session = "INSERT INTO sessions VALUES (?, 'ada', 'manual', 'RUNNING', 'normal', 1, 0, 1, 0, '', 1, '', '', \
                       0, 1, 0, 0, '{}', zeroblob(32), x'')";
        old.execute(session, ["s-1"]).unwrap();
        let demonstration = |id: &str| Demonstration { id: id.to_owned(), ..Demonstration::default() };
        for (id, session) in [("told", "s-1"), ("former", "s-1"), ("forgotten", "s-0")] {
            old.execute(
                "INSERT INTO demonstrations VALUES (?, ?, ?)",
                params![id, session, demonstration(id).encode_to_vec()],
            )
            .unwrap();
        }
        let told = event::encode(&EventKind::Demonstration(demonstration("told")));
        old.execute("INSERT INTO events VALUES ('s-1', 1, 1, ?)", params![told]).unwrap();
        drop(old);
        let tables = SqliteStore::open(&path).unwrap().load().unwrap();
        assert_eq!(tables.sessions.len(), 1);
        let owners = ["told", "former", "forgotten"].map(|id| tables.demonstrations[id].owner.as_str());
        assert_eq!(owners, ["ada", "", ""]);
        SqliteStore::open(&path).unwrap().load().unwrap();
    }
}
