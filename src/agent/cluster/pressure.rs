//! Whether the node runs short of something, and since when that is so.

use std::path::Path;

use prost_types::Timestamp;

use crate::agent::audit::now_ms;
use crate::proto::hypervisor::v1::NodeCondition;

/// Free share of the memory or the disk under which the node is short of it.
const SHORT: f64 = 0.05;

/// What is known of the node's conditions; keeps when each last changed.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    last: Vec<(&'static str, bool, i64)>,
}

impl Conditions {
    /// Looks at the machine. Blocks for as long as reading two small files takes.
    pub(super) fn look(&mut self, data: &Path, draining: bool) -> Vec<NodeCondition> {
        let disk = rustix::fs::statvfs(data).ok().map(|disk| share(disk.f_bavail, disk.f_blocks));
        let memory = memory_free();
        let at_ms = now_ms();
        let ready =
            if draining { ("Draining", "takes no new instances") } else { ("AgentReady", "takes instances") };
        vec![
            self.condition("Ready", true, ready.0, ready.1.to_owned(), at_ms),
            self.pressure("DiskPressure", "the data folder's disk", disk, at_ms),
            self.pressure("MemoryPressure", "the memory", memory, at_ms),
        ]
    }

    fn pressure(&mut self, kind: &'static str, what: &str, free: Option<f64>, at_ms: i64) -> NodeCondition {
        let Some(free) = free else {
            let mut unknown =
                self.condition(kind, false, "Unreadable", format!("{what} cannot be read"), at_ms);
            "Unknown".clone_into(&mut unknown.status);
            return unknown;
        };
        let short = free < SHORT;
        let reason = if short { "LittleLeft" } else { "EnoughLeft" };
        self.condition(kind, short, reason, format!("{:.0} % of {what} is free", free * 100.0), at_ms)
    }

    fn condition(
        &mut self,
        kind: &'static str,
        holds: bool,
        reason: &str,
        message: String,
        at_ms: i64,
    ) -> NodeCondition {
        let since_ms = match self.last.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, last, since_ms)) => {
                if *last != holds {
                    (*last, *since_ms) = (holds, at_ms);
                }
                *since_ms
            }
            None => {
                self.last.push((kind, holds, at_ms));
                at_ms
            }
        };
        NodeCondition {
            r#type: kind.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: Some(Timestamp {
                seconds: since_ms.div_euclid(1000),
                nanos: i32::try_from(since_ms.rem_euclid(1000)).unwrap_or(0).saturating_mul(1_000_000),
            }),
        }
    }
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { part as f64 / of as f64 }
}

fn memory_free() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let number = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    Some(share(number("MemAvailable:")?, number("MemTotal:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_the_instant_of_its_last_change() {
        let mut conditions = Conditions::default();
        let mut at = |free, at_ms| {
            let condition = conditions.pressure("DiskPressure", "the disk", free, at_ms);
            (condition.status, condition.last_transition_time.unwrap().seconds)
        };
        assert_eq!(at(Some(0.5), 1000), ("False".into(), 1));
        assert_eq!(at(Some(0.4), 2000), ("False".into(), 1));
        assert_eq!(at(Some(0.01), 3000), ("True".into(), 3));
        assert_eq!(at(Some(0.02), 4000), ("True".into(), 3));
        assert_eq!(at(None, 5000), ("Unknown".into(), 5));
    }

    #[test]
    fn this_machine_has_all_three() {
        let folder = tempfile::tempdir().unwrap();
        let conditions = Conditions::default().look(folder.path(), false);
        let kinds: Vec<&str> = conditions.iter().map(|condition| condition.r#type.as_str()).collect();
        assert_eq!(kinds, ["Ready", "DiskPressure", "MemoryPressure"]);
        assert!(conditions.iter().all(|condition| condition.status != "Unknown"), "{conditions:?}");
    }
}
