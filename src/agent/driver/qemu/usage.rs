//! What a machine has used: of QEMU's block layer, the guest's balloon, the tap, and the process of QEMU.

use serde_json::Value;

use crate::agent::driver::Usage;
use crate::agent::process::Stat;

/// Bytes that the guest read from and wrote to all its disks, out of `query-blockstats`.
#[must_use]
pub fn disk_bytes(answer: &Value) -> (u64, u64) {
    let devices = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let sum = |pointer: &str| {
        devices.iter().filter_map(|device| device.pointer(pointer)?.as_u64()).fold(0, u64::saturating_add)
    };
    (sum("/stats/rd_bytes"), sum("/stats/wr_bytes"))
}

/// Memory that the guest uses, and what of it are caches, out of the balloon's `guest-stats`; `None` before its driver has
/// reported.
#[must_use]
pub fn guest_memory(answer: &Value) -> Option<(u64, u64)> {
    // A driver that does not count something says all ones.
    let stat = |name: &str| answer.pointer("/stats")?.get(name)?.as_u64().filter(|bytes| *bytes != u64::MAX);
    answer.get("last-update").and_then(Value::as_u64).filter(|at| *at != 0)?;
    let (total, free) = (stat("stat-total-memory")?, stat("stat-free-memory")?);
    let taken = total.checked_sub(free)?;
    let cache = stat("stat-disk-caches").unwrap_or(0).min(taken);
    Some((taken - cache, cache))
}

/// What the kernel says of QEMU.
#[must_use]
pub fn of_process(stat: &Stat) -> Usage {
    Usage {
        cpu_time_ns: stat.cpu_time_ns,
        memory_used_bytes: stat.resident_bytes,
        processes: stat.threads,
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_of_all_disks_are_summed_and_odd_answers_count_for_nothing() {
        let answer = json!([
            {"device": "", "qdev": "block0", "stats": {"rd_bytes": 9_441_280, "wr_bytes": 4_194_304}},
            {"stats": {"rd_bytes": 10, "wr_bytes": -5}},
            {"stats": []},
            7,
        ]);
        assert_eq!(disk_bytes(&answer), (9_441_290, 4_194_304));
        assert_eq!(disk_bytes(&Value::Null), (0, 0));
    }

    #[test]
    fn memory_is_the_guests_own_figure_once_its_driver_reports() {
        let stats = |free: u64, cache: u64| {
            json!({"last-update": 1_700_000_000, "stats": {
                "stat-total-memory": 100_000, "stat-free-memory": free, "stat-disk-caches": cache,
            }})
        };
        assert_eq!(guest_memory(&stats(60_000, 10_000)), Some((30_000, 10_000)));
        assert_eq!(guest_memory(&stats(60_000, u64::MAX)), Some((40_000, 0)));
        assert_eq!(guest_memory(&stats(200_000, 0)), None, "more free than there is");
        assert_eq!(guest_memory(&json!({"last-update": 0, "stats": {}})), None);
    }
}
