//! A data folder with machines in it. Whatever a test left running ends with it; one that did not fail must have left
//! nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::Shelf;
use crate::agent::cgroup::Hierarchy;
use crate::agent::driver::Ground;
use crate::agent::driver::qemu::{QemuDriver, QemuOptions};
use crate::agent::id::InstanceId;
use crate::agent::net;
use crate::agent::process::{self, Process};
use crate::agent::settings::AgentSettings;
use crate::agent::spec::{Kind, Spec};

/// See the module.
pub(super) struct Yard(TempDir);

impl Yard {
    /// When machines may be started. Says so when not.
    pub(super) fn open() -> Option<Self> {
        if std::env::var("NEURO_TEST_AGENT").is_ok_and(|value| value == "1") {
            return Some(Self(TempDir::new().expect("a folder")));
        }
        println!("skipped: starts machines; NEURO_TEST_AGENT=1 runs it");
        None
    }

    pub(super) fn data(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn mark(&self) -> String {
        mark(self.data())
    }

    pub(super) fn driver(&self, kind: Kind) -> QemuDriver {
        driver(kind, self.data())
    }

    pub(super) fn ground(&self, id: &str, spec: Spec) -> Ground {
        ground(self.data(), id, spec)
    }

    /// Machines that run, whoever started them.
    fn machines(&self) -> Vec<Process> {
        let prefix = format!("neuro-{}-", mark(self.data()));
        let mine =
            |words: &[String]| words.windows(2).any(|two| two[0] == "-name" && two[1].starts_with(&prefix));
        process::all().into_iter().filter(|(_, words)| mine(words)).map(|(process, _)| process).collect()
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        let left = self.machines();
        for machine in &left {
            drop(machine.signal(Signal::KILL));
            while machine.runs() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let group =
            Hierarchy::of_this_machine().expect("mounts").group(&format!("neuro-{}", mark(self.data())));
        group.remove_if_empty();
        if std::thread::panicking() {
            drop(group.end());
        } else {
            assert!(!group.exists(), "control groups that nobody took away");
            assert_eq!(left, [], "machines that nobody ended");
            assert_eq!(net::marked(&mark(self.data())), [], "network devices that nobody took away");
        }
    }
}

/// Of a folder, for whoever has its path: an agent that was killed and the next one.
fn mark(data: &Path) -> String {
    let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn driver(kind: Kind, data: &Path) -> QemuDriver {
    let mut settings = AgentSettings::default();
    settings.qemu.accelerator = "tcg".to_owned();
    let images = Arc::new(Shelf(data.to_owned()));
    QemuDriver::new(kind, QemuOptions { settings, mark: mark(data), data: data.to_owned(), images })
}

pub(super) fn ground(data: &Path, id: &str, spec: Spec) -> Ground {
    let id: InstanceId = id.parse().expect("an id");
    let (folder, sockets) = (data.join("instances").join(id.as_str()), data.join("run").join(id.short()));
    Ground { id, spec: Arc::new(spec), folder, sockets, devices: Vec::new() }
}
