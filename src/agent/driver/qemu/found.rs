//! QEMUs that run, found by the name in their command line, and what is said of this machine.

use std::collections::BTreeSet;

use super::cage;
use super::canary::Finding;
use super::live::end;
use crate::agent::driver::{Ability, Orphan};
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::process::{self, Process};
use crate::agent::spec::Kind;

/// The word after an option.
fn value<'a>(arguments: &'a [String], option: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|word| word == option)?;
    arguments.get(at + 1).map(String::as_str)
}

/// Processes with their command lines; not those of containers, where anybody may have any. It takes a while.
pub(in crate::agent::driver) async fn all() -> Vec<(Process, Vec<String>)> {
    let here = || {
        let world = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let mine = world("self");
        let mut found = process::all();
        found.retain(|(process, _)| world(&process.pid.to_string()) == mine);
        found
    };
    tokio::task::spawn_blocking(here).await.unwrap_or_default()
}

/// The QEMUs of this name: one, or none.
pub(super) async fn named(name: &str) -> Vec<Process> {
    let mut found = all().await;
    found.retain(|(_, words)| value(words, "-name") == Some(name));
    found.into_iter().map(|(process, _)| process).collect()
}

/// Those that carry a mark and are of no known instance.
pub(super) async fn orphans(kind: Kind, mark: &str, known: &BTreeSet<InstanceId>) -> Vec<Orphan> {
    let prefix = format!("neuro-{mark}-");
    let mut found = Vec::new();
    for (process, words) in all().await {
        let Some(id) = value(&words, "-name").and_then(|name| name.strip_prefix(&prefix)) else { continue };
        let micro = value(&words, "-machine").is_some_and(|machine| machine.starts_with("microvm"));
        if micro == (kind == Kind::MicroVm) && !known.iter().any(|other| other.as_str() == id) {
            found.push(Orphan { what: "process", name: format!("{} {prefix}{id}", process.pid) });
        }
    }
    found
}

/// Ends one, if it is still what it was.
pub(super) async fn sweep(mark: &str, orphan: &Orphan) -> Result<(), AgentError> {
    let Some((pid, name)) = orphan.name.split_once(' ') else { return Ok(()) };
    let id = name.strip_prefix(&format!("neuro-{mark}-")).and_then(|id| id.parse::<InstanceId>().ok());
    let Some(id) = id.filter(|_| orphan.what == "process") else { return Ok(()) };
    let Some(process) = pid.parse().ok().and_then(Process::of) else { return Ok(()) };
    if value(&process.arguments(), "-name") != Some(name) {
        return Ok(());
    }
    let failed = |error: std::io::Error| AgentError::internal(format!("end of {name}"), error);
    end(process).await.map_err(failed)?;
    cage::remove(mark, &id).await.map_err(failed)
}

/// What was found out, in words.
pub(super) fn ability(kind: Kind, finding: &Finding) -> Ability {
    let reason = if finding.reason.is_empty() { String::new() } else { format!(" ({})", finding.reason) };
    match finding.accelerator {
        Some(accelerator) if kind == Kind::Vm || finding.microvm => Ability {
            usable: true,
            detail: format!("QEMU {} with {}{reason}", finding.version, accelerator.name()),
            labels: vec![("accelerator".to_owned(), accelerator.name().to_owned())],
        },
        Some(_) => Ability {
            usable: false,
            detail: format!("QEMU {} has no microvm machine", finding.version),
            labels: Vec::new(),
        },
        None => Ability { usable: false, detail: finding.reason.clone(), labels: Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::driver::qemu::plan::Accelerator;

    #[test]
    fn what_a_node_says_of_itself_names_the_accelerator_and_why_not_the_other() {
        let finding = Finding {
            accelerator: Some(Accelerator::Tcg),
            reason: "kvm is not usable: there is no /dev/kvm".to_owned(),
            version: "7.2.22".to_owned(),
            microvm: false,
            circumstances: String::new(),
        };
        let vm = ability(Kind::Vm, &finding);
        assert!(vm.usable && vm.detail == "QEMU 7.2.22 with tcg (kvm is not usable: there is no /dev/kvm)");
        assert_eq!(vm.labels, [("accelerator".to_owned(), "tcg".to_owned())]);
        assert!(!ability(Kind::MicroVm, &finding).usable);
    }

    #[tokio::test]
    async fn a_process_that_only_has_the_number_of_an_orphan_is_left_alone() {
        let mut child = tokio::process::Command::new("sleep").arg("60").spawn().unwrap();
        let orphan = Orphan { what: "process", name: format!("{} neuro-0badcafe-x", child.id().unwrap()) };
        sweep("0badcafe", &orphan).await.unwrap();
        assert!(child.try_wait().unwrap().is_none(), "it goes on");
        child.kill().await.unwrap();
    }
}
