//! Firecrackers that run, found by the id in their command line, and whether they can run here.

use std::collections::BTreeSet;
use std::process::Stdio;

use tokio::process::Command;

use super::FirecrackerDriver;
use crate::agent::driver::qemu::{canary, end, plan, processes};
use crate::agent::driver::{Ability, Orphan};
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::process::Process;

/// The id of a command line that is Firecracker's.
fn mine(arguments: &[String]) -> Option<&str> {
    let at = arguments.iter().position(|word| word == "--id")?;
    let firecracker = arguments.iter().any(|word| word == "--api-sock");
    arguments.get(at + 1).filter(|_| firecracker).map(String::as_str)
}

/// The one of this id; `None` when none runs.
pub(super) async fn with_id(name: &str) -> Option<Process> {
    processes().await.into_iter().find(|(_, words)| mine(words) == Some(name)).map(|(process, _)| process)
}

impl FirecrackerDriver {
    pub(super) async fn try_here(&self) -> Ability {
        let binary = &self.options.settings.firecracker.binary;
        let unusable = |detail: String| Ability { usable: false, detail, labels: Vec::new() };
        if binary.is_empty() {
            return unusable("firecracker.binary is not set".to_owned());
        }
        let version =
            Command::new(binary).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output().await;
        let version = match version {
            Ok(done) if done.status.success() => String::from_utf8_lossy(&done.stdout).into_owned(),
            Ok(done) => return unusable(format!("{binary} --version ended with {}", done.status)),
            Err(error) => return unusable(format!("{binary}: {error}")),
        };
        let (qemu, kvm) = (&self.options.settings.qemu.binary, plan::Accelerator::Kvm);
        if let Err(problem) = canary::sing(qemu, kvm, &self.options.data).await {
            return unusable(format!("Firecracker needs KVM: {problem}"));
        }
        let version = version.lines().next().unwrap_or_default().to_owned();
        Ability {
            usable: true,
            detail: format!("{version} with kvm"),
            labels: vec![("accelerator".to_owned(), "kvm".to_owned())],
        }
    }

    /// Those that carry the mark and are of no known instance.
    pub(super) async fn strays(&self, known: &BTreeSet<InstanceId>) -> Result<Vec<Orphan>, AgentError> {
        let prefix = format!("neuro-{}-", self.options.mark);
        let known: BTreeSet<String> = known.iter().map(|id| self.run_name(id)).collect();
        let all = processes().await;
        let mine = all.iter().filter_map(|(process, words)| {
            let name = mine(words).filter(|name| name.starts_with(&prefix) && !known.contains(*name))?;
            Some(Orphan { what: "process", name: format!("{} {name}", process.pid) })
        });
        Ok(mine.collect())
    }

    /// Ends one, if it is still what it was.
    pub(super) async fn end_stray(&self, orphan: &Orphan) -> Result<(), AgentError> {
        let Some((pid, name)) = orphan.name.split_once(' ') else { return Ok(()) };
        let Some(process) = pid.parse().ok().and_then(Process::of) else { return Ok(()) };
        let marked = name.starts_with(&format!("neuro-{}-", self.options.mark));
        if !marked || mine(&process.arguments()) != Some(name) {
            return Ok(());
        }
        end(process).await.map_err(|error| AgentError::internal(format!("end of {name}"), error))
    }
}
