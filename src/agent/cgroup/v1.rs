//! Files of version 1. A controller is a tree of its own.

use super::{DeviceNumber, Readings, device, value};

/// What the files say, asked for by controller and name.
pub(super) fn readings(file: impl Fn(&str, &str) -> Option<String>) -> Readings {
    let number = |controller, name| {
        file(controller, name).and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    let memory = file("memory", "memory.stat").unwrap_or_default();
    let cache = value(&memory, "total_cache").saturating_sub(value(&memory, "total_shmem"));
    let disks = file("blkio", "blkio.throttle.io_service_bytes_recursive")
        .or_else(|| file("blkio", "blkio.throttle.io_service_bytes"));
    let mut found = Readings {
        cpu_time_ns: number("cpuacct", "cpuacct.usage"),
        cpu_throttled_periods: value(&file("cpu", "cpu.stat").unwrap_or_default(), "nr_throttled"),
        memory_used_bytes: number("memory", "memory.usage_in_bytes").saturating_sub(cache),
        memory_cache_bytes: cache,
        processes: u32::try_from(number("pids", "pids.current")).unwrap_or(u32::MAX),
        ..Readings::default()
    };
    for (at, read, bytes) in disks.iter().flat_map(|text| text.lines()).filter_map(line) {
        let disk = found.disks.entry(at).or_default();
        *(if read { &mut disk.0 } else { &mut disk.1 }) = bytes;
    }
    found
}

/// Processes that the group's limit killed.
pub(super) fn oom_kills(file: impl Fn(&str, &str) -> Option<String>) -> u64 {
    value(&file("memory", "memory.oom_control").unwrap_or_default(), "oom_kill")
}

/// `254:0 Write 8388608`. `Total` holds discards too: it is left out, as everything but reads and writes is.
fn line(text: &str) -> Option<(DeviceNumber, bool, u64)> {
    let mut words = text.split(' ');
    let (at, what, bytes) = (words.next()?, words.next()?, words.next()?);
    let read = match what {
        "Read" => true,
        "Write" => false,
        _ => return None,
    };
    Some((device(at)?, read, bytes.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(controller: &str, name: &str) -> Option<String> {
        let text = match (controller, name) {
            ("cpuacct", "cpuacct.usage") => "41234567\n",
            ("cpu", "cpu.stat") => "nr_periods 21\nnr_throttled 19\nthrottled_time 1612345678\n",
            ("memory", "memory.usage_in_bytes") => "9437184\n",
            ("memory", "memory.stat") => {
                "cache 1\nrss 2\ntotal_cache 8392704\ntotal_rss 225280\ntotal_shmem 4096\n"
            }
            ("memory", "memory.oom_control") => "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            ("pids", "pids.current") => "3\n",
            ("blkio", "blkio.throttle.io_service_bytes") => {
                "254:0 Read 4096\n254:0 Write 8388608\n254:0 Sync 8392704\n254:0 Async 0\n254:0 Discard 512\n\
                 254:0 Total 8393216\n7:3 Read 0\n7:3 Write 1024\nTotal 8394240\n"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[test]
    fn recorded_files_of_version_1_are_read() {
        let found = readings(recorded);
        assert_eq!((found.cpu_time_ns, found.cpu_throttled_periods, found.processes), (41_234_567, 19, 3));
        assert_eq!(found.memory_cache_bytes, 8_392_704 - 4096);
        assert_eq!(found.memory_used_bytes, 9_437_184 - 8_388_608);
        assert_eq!(
            found.disks.into_iter().collect::<Vec<_>>(),
            [((7, 3), (0, 1024)), ((254, 0), (4096, 8_388_608))]
        );
        assert_eq!(oom_kills(recorded), 1);
    }

    #[test]
    fn a_group_without_files_has_used_nothing() {
        assert_eq!(readings(|_, _| None), Readings::default());
    }
}
