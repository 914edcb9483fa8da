//! Instances as processes of this machine. Each leads a process group of its own and writes to a file, so it outlives a
//! server that is killed; a record of it (`processes/ID.json` in the data folder) lets the next server find it again.

pub(super) mod log;
mod record;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::process::Signal;
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{info, warn};

use super::command::InstanceCommand;
use super::{Backend, Birth, Provided, Provision};
use crate::fleet::error::FleetError;
use crate::fleet::ids::InstanceId;
use crate::fleet::settings::Pool;
use record::{Record, Records};

/// How long a process is given between being asked to end and being made to.
const GRACE: Duration = Duration::from_secs(5);

/// One process, as it is now.
#[derive(Debug, Clone)]
struct Seat {
    record: Record,
    /// Set by its watcher when it is over.
    ended: Option<String>,
    over: Arc<Notify>,
}

#[derive(Debug)]
struct Inner {
    records: Records,
    logs: PathBuf,
    seats: Mutex<BTreeMap<InstanceId, Seat>>,
    changed: Notify,
}

/// `process`.
#[derive(Debug)]
pub struct ProcessBackend {
    command: InstanceCommand,
    inner: Arc<Inner>,
}

impl ProcessBackend {
    /// Takes over what an earlier server started for this pool and still runs. Needs a Tokio runtime.
    ///
    /// # Errors
    /// `Internal`, naming the folder, when `data` can not be written.
    pub fn open(pool: &Pool, command: InstanceCommand, data: &Path) -> Result<Self, FleetError> {
        let logs = data.join("instances");
        std::fs::create_dir_all(&logs)
            .map_err(|error| FleetError::Internal(format!("{}: {error}", logs.display())))?;
        let records = Records::open(&data.join("processes"))?;
        let mine = records.load()?.into_iter().filter(|record| record.pool == pool.name).collect::<Vec<_>>();
        let inner = Inner { records, logs, seats: Mutex::default(), changed: Notify::new() };
        let backend = Self { command, inner: Arc::new(inner) };
        for record in mine {
            backend.adopt(record);
        }
        Ok(backend)
    }

    fn adopt(&self, mut record: Record) {
        if record.pid == 0 {
            // Its server was killed between starting it and writing down its number.
            match record::find_by_environment(record.instance) {
                Some(mark) => record.set(mark),
                None => return self.inner.records.remove(record.instance),
            }
            self.inner.records.save_or_warn(&record);
        }
        let seat = Seat { record: record.clone(), ended: None, over: Arc::default() };
        self.inner.seats().insert(record.instance, seat);
        let inner = Arc::clone(&self.inner);
        if !record.is_running() {
            inner.over(&record, "ended while no server ran");
            return;
        }
        info!(instance = %record.instance, name = record.name, pid = record.pid, "still runs: taken over");
        tokio::spawn(async move {
            watch::until_gone(&record).await;
            record.sweep();
            inner.over(&record, "ended; its exit code went to a server before this one");
        });
    }

    fn spawn(&self, birth: Birth) -> Result<(), FleetError> {
        let argv = self.command.argv(&birth);
        let log = self.inner.logs.join(format!("{}.log", log::file_stem(&birth.name)));
        let mut record = Record::new(&birth, self.command.pool(), &log);
        let failed = |what: &str, error: &io::Error| {
            let program = argv.first().map(String::as_str).unwrap_or_default();
            FleetError::Unavailable {
                message: format!("{} was not started: {what} {program:?}: {error}", birth.name),
                retry_after: Duration::from_secs(5),
            }
        };
        let (out, err) = log::open(&log).map_err(|error| failed("log of", &error))?;
        self.inner.records.save(&record)?;
        let (program, arguments) = argv.split_first().ok_or_else(|| FleetError::internal("no program"))?;
        let spawned = Command::new(program)
            .args(arguments)
            .envs(self.command.env(&birth))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .kill_on_drop(false)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                self.inner.records.remove(record.instance);
                return Err(failed("running", &error));
            }
        };
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        record.set(record::Mark::of(pid));
        self.inner.records.save_or_warn(&record);
        info!(instance = %record.instance, name = record.name, pid, "started");
        let seat = Seat { record: record.clone(), ended: None, over: Arc::default() };
        self.inner.seats().insert(record.instance, seat);
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let how = match child.wait().await {
                Ok(status) => format!("ended with {status}"),
                Err(error) => format!("could not be waited for: {error}"),
            };
            record.sweep();
            inner.over(&record, &how);
        });
        Ok(())
    }

    async fn end(&self, instance: InstanceId) -> Result<(), FleetError> {
        let seat = self.inner.seats().get(&instance).cloned();
        let Some(seat) = seat else { return Ok(()) };
        for (signal, wait) in [(Signal::TERM, GRACE), (Signal::KILL, GRACE)] {
            let over = seat.over.notified();
            let ended = self.inner.seats().get(&instance).is_none_or(|seat| seat.ended.is_some());
            if ended {
                return Ok(());
            }
            seat.record.signal(signal);
            if timeout(wait, over).await.is_ok() {
                return Ok(());
            }
        }
        let record = &seat.record;
        Err(FleetError::Internal(format!("{} (process {}) does not end", record.name, record.pid)))
    }
}

impl Inner {
    fn seats(&self) -> std::sync::MutexGuard<'_, BTreeMap<InstanceId, Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(&self, record: &Record, how: &str) {
        let last = log::last_lines(&record.log);
        let reason = if last.is_empty() {
            format!("{} {how}", record.name)
        } else {
            format!("{} {how}; its last lines: {last}", record.name)
        };
        warn!(instance = %record.instance, name = record.name, pid = record.pid, reason, "process ended");
        self.records.remove(record.instance);
        if let Some(seat) = self.seats().get_mut(&record.instance) {
            seat.ended = Some(reason);
            seat.over.notify_waiters();
        }
        self.changed.notify_one();
    }
}

impl Backend for ProcessBackend {
    fn kind(&self) -> &'static str {
        "process"
    }

    fn start(&self, birth: Birth) -> BoxFuture<'_, Result<(), FleetError>> {
        async move { self.spawn(birth) }.boxed()
    }

    fn stop(&self, instance: InstanceId) -> BoxFuture<'_, Result<(), FleetError>> {
        self.end(instance).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Provided>, FleetError>> {
        let mut seats = self.inner.seats();
        let provided = seats.values().map(|seat| Provided {
            instance: seat.record.instance,
            name: seat.record.name.clone(),
            state: seat.ended.clone().map_or(Provision::Running, |reason| Provision::Ended { reason }),
        });
        let provided = provided.collect();
        seats.retain(|_, seat| seat.ended.is_none());
        std::future::ready(Ok(provided)).boxed()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        self.inner.changed.notified().boxed()
    }
}
