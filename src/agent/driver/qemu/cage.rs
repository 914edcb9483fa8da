//! What a QEMU can do to the machine if its guest takes it over: it has no capability that it does not need, and a control group
//! bounds its threads and its memory.

use std::io;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set, set_no_new_privs};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::agent::cgroup::{Group, Hierarchy, Layout};
use crate::agent::id::InstanceId;
use crate::agent::process::Process;

/// What QEMU takes besides a guest's memory: its own, translated code, and what waits for disks.
const OWN_BYTES: u64 = 768 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Cage {
    mark: String,
    hierarchy: Hierarchy,
    group: Group,
    pids: u32,
    memory_bytes: u64,
}

impl Cage {
    /// Of an instance: it has room for so many threads and for a guest of that size.
    pub(super) fn new(mark: &str, id: &InstanceId, pids: u32, guest_bytes: u64) -> Self {
        let hierarchy = Hierarchy::of_this_machine().unwrap_or_else(|error| {
            tracing::warn!(%error, "control groups");
            Hierarchy::default()
        });
        let group = hierarchy.group(&format!("neuro-{mark}/{id}"));
        // Tables for its memory grow with a guest.
        let memory_bytes = guest_bytes.saturating_add(guest_bytes / 4).saturating_add(OWN_BYTES);
        Self { mark: mark.to_owned(), hierarchy, group, pids, memory_bytes }
    }

    /// Puts a process into the group. A machine whose groups cannot be used runs it all the same, and it is said.
    pub(super) fn close(&self, process: Process) {
        let memory = match self.hierarchy.layout() {
            Layout::V2 => {
                for above in [String::new(), format!("neuro-{}", self.mark)] {
                    // What is not handed down is missed below.
                    drop(self.hierarchy.group(&above).write(
                        "memory",
                        "cgroup.subtree_control",
                        "+memory +pids",
                    ));
                }
                "memory.max"
            }
            Layout::V1 | Layout::Hybrid => "memory.limit_in_bytes",
        };
        let pid = process.pid.to_string();
        for (controller, file, text) in [
            ("pids", "pids.max", &self.pids.to_string()),
            ("memory", memory, &self.memory_bytes.to_string()),
            ("pids", "cgroup.procs", &pid),
            ("memory", "cgroup.procs", &pid),
        ] {
            if let Err(error) = self.group.write(controller, file, text) {
                tracing::warn!(%error, pid, file, "a QEMU is not bounded by its control group");
            }
        }
    }
}

/// Takes an instance's group away, when nothing of the instance runs.
pub(super) async fn remove(mark: &str, id: &InstanceId) -> io::Result<()> {
    let name = format!("neuro-{mark}/{id}");
    let work = move || {
        let group = Hierarchy::of_this_machine()?.group(&name);
        if group.exists() { group.end() } else { Ok(()) }
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Takes the agent's own group away where nothing is in it. Blocks.
pub(super) fn close(mark: &str) {
    if let Ok(hierarchy) = Hierarchy::of_this_machine() {
        hierarchy.group(&format!("neuro-{mark}")).remove_if_empty();
    }
}

/// Starts a program that has none but these capabilities and never gets another. A thread of its own gives the others up and
/// ends: what a thread has its child inherits, and no other thread of the agent loses anything.
pub(super) async fn spawn(mut command: Command, kept: CapabilitySet) -> io::Result<Child> {
    let runtime = Handle::current();
    let (done, outcome) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("qemu".to_owned()).spawn(move || {
        let _inside = runtime.enter();
        // Whoever waited is gone, and so is the child.
        drop(done.send(give_up(kept).and_then(|()| command.spawn())));
    })?;
    outcome.await.map_err(io::Error::other)?
}

/// Of the calling thread.
fn give_up(kept: CapabilitySet) -> io::Result<()> {
    for (_, capability) in CapabilitySet::all().difference(kept).iter_names() {
        match remove_capability_from_bounding_set(capability) {
            // A kernel that does not know it does not give it either.
            Ok(()) | Err(Errno::INVAL) => {}
            // Who may not give up has nothing to give.
            Err(Errno::PERM) if capabilities(None)?.permitted.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(set_no_new_privs(true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a status.
    fn bits(text: &str, key: &str) -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    }

    #[tokio::test]
    async fn a_program_has_what_it_is_left_and_its_parent_loses_nothing() {
        let mine = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let before = (bits(&mine(), "CapBnd:"), bits(&mine(), "NoNewPrivs:"));
        let mut command = Command::new("cat");
        command.arg("/proc/self/status").stdout(std::process::Stdio::piped());
        let child = spawn(command, CapabilitySet::NET_ADMIN).await.unwrap();
        let text = String::from_utf8(child.wait_with_output().await.unwrap().stdout).unwrap();
        let left = CapabilitySet::NET_ADMIN.bits();
        assert_eq!((bits(&text, "CapEff:") | left, bits(&text, "CapPrm:") | left), (left, left), "{text}");
        assert_eq!(
            (bits(&text, "CapInh:"), bits(&text, "CapAmb:"), bits(&text, "NoNewPrivs:")),
            (0, 0, 1),
            "{text}"
        );
        assert_eq!((bits(&mine(), "CapBnd:"), bits(&mine(), "NoNewPrivs:")), before);
        assert!(spawn(Command::new("/no/such"), CapabilitySet::empty()).await.is_err());
    }
}
