//! What carries the agent's mark and belongs to no instance: after a crash between a step and its record, or when somebody
//! took an instance's folder away by hand.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rustix::process::Signal;

use super::{blocking, mounts};
use crate::agent::cgroup::{Group, Hierarchy};
use crate::agent::driver::Orphan;
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::net::{self, Cables};
use crate::agent::process::{self, Process};

/// All of it. Shims come first: when they are swept, what they hold becomes free.
pub(super) fn find(
    mark: &str,
    data: &Path,
    hierarchy: &Hierarchy,
    cables: &Cables,
    known: &BTreeSet<InstanceId>,
) -> Vec<Orphan> {
    let belongs = |id: &str| known.iter().any(|known| known.as_str() == id);
    let orphan = |what: &'static str, name: String| Orphan { what, name };
    let mut found = Vec::new();
    for (process, words) in process::with_arguments(&["shim", "--mark", mark]) {
        let id =
            words.iter().skip_while(|word| *word != "--id").nth(1).map(String::as_str).unwrap_or_default();
        if !belongs(id) {
            found.push(orphan("process", format!("{} {} shim of {id}", process.pid, process.start_ticks)));
        }
    }
    let mut groups = BTreeSet::new();
    for tree in hierarchy.trees() {
        let entries = fs::read_dir(tree.join(format!("neuro-{mark}"))).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        groups.extend(
            folders.filter_map(|entry| entry.file_name().into_string().ok()).filter(|id| !belongs(id)),
        );
    }
    found.extend(groups.into_iter().map(|id| orphan("cgroup", id)));
    let instances = data.join("instances");
    for point in mounts::below(&instances) {
        let id = point.strip_prefix(&instances).ok().and_then(|rest| rest.iter().next()?.to_str());
        if !id.is_some_and(belongs) {
            found.push(orphan("mount", point.display().to_string()));
        }
    }
    let devices = net::marked(mark).into_iter().filter(|(_, id)| !belongs(id));
    found.extend(devices.map(|(device, _)| orphan("network device", device)));
    found.extend(cables.holders().into_iter().filter(|id| !belongs(id)).map(|id| orphan("cable lease", id)));
    found
}

/// Takes one away. What is gone already is no error.
pub(super) async fn sweep(
    orphan: &Orphan,
    mark: &str,
    data: &Path,
    hierarchy: &Hierarchy,
    cables: &Cables,
) -> Result<(), AgentError> {
    match orphan.what {
        "process" => {
            let mut words = orphan.name.split(' ');
            let process = words.next().zip(words.next()).and_then(|(pid, started)| {
                Some(Process { pid: pid.parse().ok()?, start_ticks: started.parse().ok()? })
            });
            match process.map(|process| process.signal(Signal::KILL)) {
                Some(Err(error)) => Err(AgentError::internal("ending a shim", error)),
                _ => Ok(()),
            }
        }
        "cgroup" => {
            if orphan.name.contains('/') || orphan.name.starts_with("..") {
                return Err(AgentError::Internal(format!(
                    "control group {:?} is none of this agent's",
                    orphan.name
                )));
            }
            let group = hierarchy.group(&format!("neuro-{mark}/{}", orphan.name));
            blocking(move || remove(&group)).await
        }
        "mount" => {
            let point = Path::new(&orphan.name);
            if !point.starts_with(data.join("instances")) {
                return Err(AgentError::Internal(format!("mount {:?} is none of this agent's", orphan.name)));
            }
            mounts::clear(point).map_err(|error| AgentError::Internal(error.to_string()))
        }
        "network device" => net::remove(&orphan.name).await,
        "cable lease" => cables.release(&orphan.name),
        other => Err(AgentError::Internal(format!("containers have no {other}"))),
    }
}

/// Kills who is in a group, and takes it away.
pub(super) fn remove(group: &Group) -> Result<(), AgentError> {
    group.end().map_err(|error| AgentError::Internal(error.to_string()))
}
