//! The books in one SQLite file, in write-ahead mode, synced to the disk at every commit.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prost::Message;
use rusqlite::{Connection, OpenFlags, Row};

use super::log::SqliteLog;
use super::{Log, Store, StoreError, codec, schema, write};
use crate::fleet::ledger::{Change, Tables};
use crate::fleet::rows::{DemonstrationRow, Quota, SnapshotRow};
use crate::proto::neuro::ext::Demonstration;

/// How long another program may hold the file, a backup for instance.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an orchestrator that ends may hold the file.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    /// Locked for as long as the store is open.
    _lock: File,
}

fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| StoreError::Failed { doing, problem: error.to_string() }
}

/// Locks the file beside the store, which an orchestrator that is just ending may still hold for a moment.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let failed = |error: std::io::Error| {
        let problem = format!("{}: {error}", Path::new(&name).display());
        StoreError::Failed { doing: "opened", problem }
    };
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(failed)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { path: path.display().to_string() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

impl SqliteStore {
    /// Opens the file, or makes it. One orchestrator at a time: a second one is refused.
    ///
    /// # Errors
    /// When it cannot be opened, is no file of ours, was written by a newer version, or is in use.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let name = || path.display().to_string();
        let lock = lock(path)?;
        let mut connection = Connection::open(path)
            .map_err(|error| StoreError::Damaged { path: name(), problem: error.to_string() })?;
        connection.busy_timeout(PATIENCE).map_err(failed("opened"))?;
        let damaged =
            |error: rusqlite::Error| StoreError::Damaged { path: name(), problem: error.to_string() };
        connection.pragma_update(None, "journal_mode", "WAL").map_err(damaged)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed("opened"))?;
        connection.set_prepared_statement_cache_capacity(64);
        schema::bring_forward(&mut connection, path)?;
        Ok(Self { connection, path: path.to_owned(), _lock: lock })
    }

    fn each(
        &self,
        sql: &str,
        mut put: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let damaged = |error: rusqlite::Error| StoreError::Damaged {
            path: self.path.display().to_string(),
            problem: error.to_string(),
        };
        let mut statement = self.connection.prepare(sql).map_err(damaged)?;
        let mut rows = statement.query([]).map_err(damaged)?;
        while let Some(row) = rows.next().map_err(damaged)? {
            put(row).map_err(damaged)?;
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Tables, StoreError> {
        let mut changes = Vec::new();
        self.each(&format!("SELECT {} FROM sessions", codec::SESSION), |row| {
            changes.push(Change::Session(codec::session(row)?));
            Ok(())
        })?;
        self.each(&format!("SELECT {} FROM instances", codec::INSTANCE), |row| {
            changes.push(Change::Instance(codec::instance(row)?));
            Ok(())
        })?;
        self.each("SELECT session, instance, fence, holder, user, expires_ms FROM controls", |row| {
            changes.push(Change::Control(codec::control(row)?));
            Ok(())
        })?;
        let quotas =
            "SELECT owner, max_sessions, max_simulators, max_training_gpus, gpu_hours_per_month, weight
            FROM quotas";
        self.each(quotas, |row| {
            let quota = Quota {
                max_sessions: row.get(1)?,
                max_simulators: row.get(2)?,
                max_training_gpus: row.get(3)?,
                gpu_hours_per_month: row.get(4)?,
                weight: row.get(5)?,
            };
            changes.push(Change::Quota { owner: row.get(0)?, quota });
            Ok(())
        })?;
        self.each("SELECT owner, month, gpu_seconds FROM usage", |row| {
            changes.push(Change::Usage { owner: row.get(0)?, month: row.get(1)?, gpu_seconds: row.get(2)? });
            Ok(())
        })?;
        self.each("SELECT id, session, created_ms, path, size_bytes, manifest FROM snapshots", |row| {
            changes.push(Change::Snapshot(SnapshotRow {
                id: row.get(0)?,
                session: codec::session_id(1, row)?,
                created_ms: row.get(2)?,
                path: row.get(3)?,
                size_bytes: row.get::<_, i64>(4)?.unsigned_abs(),
                manifest: row.get(5)?,
            }));
            Ok(())
        })?;
        self.each("SELECT session, message, owner FROM demonstrations", |row| {
            let bytes: Vec<u8> = row.get(1)?;
            let demonstration =
                Demonstration::decode(bytes.as_slice()).map_err(|error| codec::odd(1, error))?;
            changes.push(Change::Demonstration(DemonstrationRow {
                session: codec::session_id(0, row)?,
                owner: row.get(2)?,
                demonstration,
            }));
            Ok(())
        })?;
        self.each("SELECT name, value FROM fleet", |row| {
            match row.get::<_, String>(0)?.as_str() {
                "drain_until_ms" => changes.push(Change::Fleet { drain_until_ms: row.get(1)? }),
                "accounted_ms" => changes.push(Change::Accounted { at_ms: row.get(1)? }),
                _ => {}
            }
            Ok(())
        })?;
        let mut tables = Tables::default();
        changes.iter().for_each(|change| tables.apply(change));
        Ok(tables)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction().map_err(failed("written"))?;
        write::write(&transaction, changes).map_err(failed("written"))?;
        transaction.commit().map_err(failed("written"))
    }

    fn log(&self) -> Result<Box<dyn Log>, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(failed("opened"))?;
        connection.busy_timeout(PATIENCE).map_err(failed("opened"))?;
        Ok(Box::new(SqliteLog(connection)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::fleet::books::Books;
    use crate::fleet::error::FleetError;
    use crate::fleet::ledger::{Command, LedgerOptions};
    use crate::fleet::rows::Quota;

    /// A disk of so many pages.
    struct Small {
        store: SqliteStore,
        pages: Arc<AtomicU32>,
    }

    impl Store for Small {
        fn load(&mut self) -> Result<Tables, StoreError> {
            self.store.load()
        }

        fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
            let pages = self.pages.load(Ordering::SeqCst);
            self.store.connection.pragma_update(None, "max_page_count", pages).unwrap();
            self.store.commit(changes)
        }

        fn log(&self) -> Result<Box<dyn Log>, StoreError> {
            self.store.log()
        }
    }

    fn set(owner: &str) -> Command {
        let quota = Quota { max_sessions: 3, ..Quota::default() };
        Command::SetQuota { owner: owner.repeat(400), quota }
    }

    #[tokio::test]
    async fn a_full_disk_refuses_commands_and_is_forgotten_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.db");
        let pages = Arc::new(AtomicU32::new(1 << 20));
        let small = Small { store: SqliteStore::open(&path).unwrap(), pages: Arc::clone(&pages) };
        let (books, mut notices) = Books::open(Box::new(small), LedgerOptions::default()).unwrap();
        books.apply(set("before-")).await.unwrap();
        // SQLite goes no lower than what is used already: not one page more.
        pages.store(1, Ordering::SeqCst);
        let mut refused = Vec::new();
        for number in 0..20 {
            let owner = format!("full-{number}-");
            if let Err(error) = books.apply(set(&owner)).await {
                refused.push((owner.repeat(400), error));
            }
        }
        let (_, error) = refused.first().expect("20 long names fit into no page");
        assert!(matches!(error, FleetError::Unavailable { .. }), "{error:?}");
        assert!(
            error.to_string().contains("the books cannot be written: database or disk is full"),
            "{error}"
        );
        assert_eq!(books.trouble().as_ref(), Some(error));
        books.read(|tables| {
            assert!(
                refused.iter().all(|(owner, _)| !tables.quotas.contains_key(owner)),
                "seen, but not written"
            );
        });
        pages.store(1 << 20, Ordering::SeqCst);
        books.apply(set("after-")).await.unwrap();
        assert_eq!(books.trouble(), None);
        let seen = books.read(|tables| tables.quotas.clone());
        books.close().await;
        assert_eq!(SqliteStore::open(&path).unwrap().load().unwrap().quotas, seen);
        assert!(notices.recv().await.is_none());
    }
}
