//! What is written down of a process, so that the next server knows it: its number alone would not do, numbers are used
//! again. With the time it started, in ticks of this boot, it is one process and no other.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::fleet::backend::Birth;
use crate::fleet::backend::command::INSTANCE_VARIABLE;
use crate::fleet::error::FleetError;
use crate::fleet::ids::InstanceId;

/// One process among all that ever ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) pid: i32,
    pub(super) start_ticks: u64,
    pub(super) boot: String,
}

impl Mark {
    /// The process that has this number now.
    pub(super) fn of(pid: i32) -> Self {
        Self { pid, start_ticks: start_ticks(pid).unwrap_or_default(), boot: boot() }
    }
}

/// One file of `processes/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) instance: InstanceId,
    pub(super) name: String,
    pub(super) pool: String,
    pub(super) log: PathBuf,
    /// 0: about to be started.
    pub(super) pid: i32,
    start_ticks: u64,
    boot: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    instance: String,
    name: String,
    pool: String,
    log: PathBuf,
    pid: i32,
    start_ticks: u64,
    boot: String,
}

impl Record {
    /// Of one that is about to be started.
    pub(super) fn new(birth: &Birth, pool: &str, log: &Path) -> Self {
        let (name, pool, log) = (birth.name.clone(), pool.to_owned(), log.to_owned());
        Self { instance: birth.instance, name, pool, log, pid: 0, start_ticks: 0, boot: String::new() }
    }

    pub(super) fn set(&mut self, mark: Mark) {
        self.pid = mark.pid;
        self.start_ticks = mark.start_ticks;
        self.boot = mark.boot;
    }

    /// Whether the very process that was recorded runs. One that is over and not yet collected does not.
    pub(super) fn is_running(&self) -> bool {
        self.pid > 0 && self.boot == boot() && start_ticks(self.pid) == Some(self.start_ticks)
    }

    /// What it started itself goes with it. Only right after its end: later its number may be another's.
    pub(super) fn sweep(&self) {
        if let Some(group) = self.group()
            && kill_process_group(group, Signal::KILL).is_ok()
        {
            debug!(pid = self.pid, name = self.name, "ended what it left behind");
        }
    }

    /// Its process group, which it leads.
    fn group(&self) -> Option<Pid> {
        Pid::from_raw(self.pid).filter(|_| self.pid > 1 && self.boot == boot())
    }

    /// To the whole group, if it is still the one that was started.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = self.group().filter(|_| self.is_running())
            && let Err(error) = kill_process_group(group, signal)
        {
            warn!(pid = self.pid, name = self.name, %error, "could not be signalled");
        }
    }
}

/// The folder of records.
#[derive(Debug)]
pub(super) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(super) fn open(folder: &Path) -> Result<Self, FleetError> {
        fs::create_dir_all(folder).map_err(|error| trouble(folder, &error))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Files that can not be read are left alone and reported.
    pub(super) fn load(&self) -> Result<Vec<Record>, FleetError> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|error| trouble(&self.folder, &error))? {
            let path = entry.map_err(|error| trouble(&self.folder, &error))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                match read(&path) {
                    Ok(record) => records.push(record),
                    Err(error) => warn!(path = %path.display(), error, "not a process record"),
                }
            }
        }
        Ok(records)
    }

    /// Whole or not at all.
    pub(super) fn save(&self, record: &Record) -> Result<(), FleetError> {
        let written = Written {
            instance: record.instance.to_string(),
            name: record.name.clone(),
            pool: record.pool.clone(),
            log: record.log.clone(),
            pid: record.pid,
            start_ticks: record.start_ticks,
            boot: record.boot.clone(),
        };
        let text = serde_json::to_vec_pretty(&written).map_err(FleetError::internal)?;
        let path = self.path(record.instance);
        let draft = path.with_extension("new");
        let write = || {
            let mut file = fs::File::create(&draft)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(|error| trouble(&path, &error))
    }

    pub(super) fn save_or_warn(&self, record: &Record) {
        if let Err(error) = self.save(record) {
            warn!(instance = %record.instance, %error, "process not written down: a restart will look for it");
        }
    }

    pub(super) fn remove(&self, instance: InstanceId) {
        let path = self.path(instance);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            warn!(path = %path.display(), %error, "process record stays");
        }
    }

    fn path(&self, instance: InstanceId) -> PathBuf {
        self.folder.join(format!("{instance}.json"))
    }
}

fn read(path: &Path) -> Result<Record, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let written: Written = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let instance = written.instance.parse().map_err(|error: FleetError| error.to_string())?;
    let Written { name, pool, log, pid, start_ticks, boot, .. } = written;
    Ok(Record { instance, name, pool, log, pid, start_ticks, boot })
}

fn trouble(path: &Path, error: &std::io::Error) -> FleetError {
    FleetError::Internal(format!("{}: {error}", path.display()))
}

/// When a process started, in clock ticks since this boot: field 22 of `/proc/PID/stat`. `None` when it does not run.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold spaces and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The process that was started for an instance, by its environment.
pub(super) fn find_by_environment(instance: InstanceId) -> Option<Mark> {
    let wanted = format!("{INSTANCE_VARIABLE}={instance}");
    let mut found = None;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let leads =
            || fs::read_to_string(entry.path().join("stat")).ok().is_some_and(|stat| leads_group(&stat, pid));
        if environment.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()) && leads() {
            found = Some(Mark::of(pid));
        }
    }
    found.filter(|mark| mark.start_ticks != 0)
}

/// Whether a `/proc/PID/stat` is of a leader of its process group.
fn leads_group(stat: &str, pid: i32) -> bool {
    let group =
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(2)?.parse::<i32>().ok());
    group == Some(pid)
}
