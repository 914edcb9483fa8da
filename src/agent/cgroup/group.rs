//! One group in every tree it lies in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Hierarchy, Layout, Readings, v1, v2};

/// See the module.
#[derive(Debug, Clone)]
pub struct Group {
    layout: Layout,
    controllers: BTreeMap<String, PathBuf>,
    unified: Option<PathBuf>,
    named: Vec<PathBuf>,
}

impl Group {
    pub(super) fn new(hierarchy: &Hierarchy, name: &str) -> Self {
        Self {
            layout: hierarchy.layout(),
            controllers: hierarchy
                .controllers
                .iter()
                .map(|(controller, tree)| (controller.clone(), tree.join(name)))
                .collect(),
            unified: hierarchy.unified.as_ref().map(|tree| tree.join(name)),
            named: hierarchy.named.iter().map(|tree| tree.join(name)).collect(),
        }
    }

    /// What it has used.
    #[must_use]
    pub fn readings(&self) -> Readings {
        match self.layout {
            Layout::V2 => v2::readings(|name| self.second(name)),
            Layout::V1 | Layout::Hybrid => v1::readings(|controller, name| self.first(controller, name)),
        }
    }

    /// Processes that its memory limit killed.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        match self.layout {
            Layout::V2 => v2::oom_kills(|name| self.second(name)),
            Layout::V1 | Layout::Hybrid => v1::oom_kills(|controller, name| self.first(controller, name)),
        }
    }

    /// It lies in some tree.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.folders().iter().any(|folder| folder.is_dir())
    }

    /// Who is in it, in any tree.
    #[must_use]
    pub fn processes(&self) -> BTreeSet<i32> {
        self.folders()
            .iter()
            .filter_map(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok())
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .collect()
    }

    /// Kills everybody in it, once.
    pub fn kill(&self) {
        if let Some(unified) = &self.unified {
            fs::write(unified.join("cgroup.kill"), "1").ok();
        }
        for pid in self.processes().into_iter().filter_map(Pid::from_raw) {
            pidfd_open(pid, PidfdFlags::empty())
                .and_then(|process| pidfd_send_signal(process, Signal::KILL))
                .ok();
        }
    }

    /// Takes it away with the groups that its processes made in it. It must be empty of processes.
    ///
    /// # Errors
    /// The kernel keeps one of its folders.
    pub fn remove(&self) -> io::Result<()> {
        self.folders().into_iter().try_for_each(remove)
    }

    /// Kills who is in it, and takes it away; the kernel lets go of it some time after its last process. Blocks.
    ///
    /// # Errors
    /// The kernel keeps it for a second.
    pub fn end(&self) -> io::Result<()> {
        let mut outcome = Ok(());
        for _ in 0..100 {
            self.kill();
            outcome = self.remove();
            if outcome.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        outcome
    }

    /// Takes it away where neither a process nor another group is in it.
    pub fn remove_if_empty(&self) {
        for folder in self.folders() {
            fs::remove_dir(folder).ok();
        }
    }

    /// Writes to a file of one controller, making the group when it is not there.
    ///
    /// # Errors
    /// The machine has no such controller, or the kernel refuses the text.
    pub fn write(&self, controller: &str, name: &str, text: &str) -> io::Result<()> {
        let folder = self.controllers.get(controller).or(self.unified.as_ref()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no control group controller {controller}"))
        })?;
        fs::create_dir_all(folder)?;
        fs::write(folder.join(name), text)
    }

    fn folders(&self) -> BTreeSet<PathBuf> {
        self.controllers.values().chain(&self.unified).chain(&self.named).cloned().collect()
    }

    fn first(&self, controller: &str, name: &str) -> Option<String> {
        fs::read_to_string(self.controllers.get(controller)?.join(name)).ok()
    }

    fn second(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.unified.as_ref()?.join(name)).ok()
    }
}

/// The deepest first, as the kernel wants it.
fn remove(folder: PathBuf) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove(entry.path())?;
    }
    match fs::remove_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io::Error::new(error.kind(), format!("control group {}: {error}", folder.display())))
        }
        _ => Ok(()),
    }
}
