//! What the process itself uses, read from `/proc/self`: the robust unit for benches and the first thing asked for
//! when a machine is slow. Where there is no `/proc`, the readings are absent, never zero.

use std::fs;

/// Kernel ticks a second in `/proc/self/stat`: USER_HZ, which is 100 on every Linux that Rust runs on (proc(5)).
const USER_HZ: f64 = 100.0;

/// One reading of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessReading {
    /// User and system time of all threads, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory in RAM now.
    pub resident_bytes: Option<u64>,
    /// The most memory ever in RAM.
    pub peak_resident_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
}

/// Reads the process as it is now.
#[must_use]
pub fn read() -> ProcessReading {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    ProcessReading {
        cpu_seconds: cpu_seconds(&stat),
        resident_bytes: status_number(&status, "VmRSS:").map(|kib| kib * 1024),
        peak_resident_bytes: status_number(&status, "VmHWM:").map(|kib| kib * 1024),
        threads: status_number(&status, "Threads:"),
        open_fds: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
    }
}

/// Memory of the machine, in MiB; absent where there is no `/proc`.
#[must_use]
pub fn machine_memory_mb() -> Option<i64> {
    let kib = status_number(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    i64::try_from(kib >> 10).ok()
}

/// Fields 14 and 15 of `/proc/self/stat`, counted after the command name, which may hold blanks and brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / USER_HZ)
}

fn status_number(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) c) R 1 7 7 0 -1 4194304 90 0 0 0 250 50 0 0 20 0 3 0 1000 0 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
    }

    #[test]
    fn the_machine_has_more_memory_than_this_process_uses() {
        let machine = machine_memory_mb().unwrap();
        let used = read().resident_bytes.unwrap() >> 20;
        assert!(machine > 64 && u64::try_from(machine).unwrap() > used, "{machine} MiB, {used} MiB used");
    }

    #[test]
    fn this_process_uses_memory_and_threads() {
        let reading = read();
        assert!(reading.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{reading:?}");
        assert!(reading.peak_resident_bytes >= reading.resident_bytes, "{reading:?}");
        assert!(reading.threads.is_some_and(|threads| threads >= 1), "{reading:?}");
    }
}
