//! Files of version 2: one tree for all controllers.

use super::{DeviceNumber, Readings, device, value};

/// What the files say, asked for by name.
pub(super) fn readings(file: impl Fn(&str) -> Option<String>) -> Readings {
    let number = |name| file(name).and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or_default();
    let memory = file("memory.stat").unwrap_or_default();
    let cpu = file("cpu.stat").unwrap_or_default();
    let cache = value(&memory, "file").saturating_sub(value(&memory, "shmem"));
    Readings {
        cpu_time_ns: value(&cpu, "usage_usec").saturating_mul(1000),
        cpu_throttled_periods: value(&cpu, "nr_throttled"),
        memory_used_bytes: number("memory.current").saturating_sub(cache),
        memory_cache_bytes: cache,
        processes: u32::try_from(number("pids.current")).unwrap_or(u32::MAX),
        disks: file("io.stat").iter().flat_map(|text| text.lines()).filter_map(line).collect(),
    }
}

/// Processes that the group's limit killed.
pub(super) fn oom_kills(file: impl Fn(&str) -> Option<String>) -> u64 {
    value(&file("memory.events").unwrap_or_default(), "oom_kill")
}

/// `254:0 rbytes=4096 wbytes=8388608 rios=1 wios=8 dbytes=0 dios=0`.
fn line(text: &str) -> Option<(DeviceNumber, (u64, u64))> {
    let (at, rest) = text.split_once(' ')?;
    let number = |key: &str| {
        rest.split(' ')
            .filter_map(|word| word.split_once('='))
            .find(|(name, _)| *name == key)
            .and_then(|(_, number)| number.parse().ok())
            .unwrap_or_default()
    };
    Some((device(at)?, (number("rbytes"), number("wbytes"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str) -> Option<String> {
        let text = match name {
            "cpu.stat" => {
                "usage_usec 41234\nuser_usec 30000\nsystem_usec 11234\nnr_periods 21\nnr_throttled 19\n\
                 throttled_usec 1612345\n"
            }
            "memory.current" => "9437184\n",
            "memory.stat" => "anon 225280\nfile 8392704\nkernel 100\nshmem 4096\n",
            "memory.events" => "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n",
            "pids.current" => "3\n",
            "io.stat" => "254:0 rbytes=4096 wbytes=8388608 rios=1 wios=8 dbytes=512 dios=1\n7:3 \n",
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[test]
    fn recorded_files_of_version_2_are_read() {
        let found = readings(recorded);
        assert_eq!((found.cpu_time_ns, found.cpu_throttled_periods, found.processes), (41_234_000, 19, 3));
        assert_eq!((found.memory_used_bytes, found.memory_cache_bytes), (1_048_576, 8_388_608));
        assert_eq!(
            found.disks.into_iter().collect::<Vec<_>>(),
            [((7, 3), (0, 0)), ((254, 0), (4096, 8_388_608))]
        );
        assert_eq!(oom_kills(recorded), 1);
    }

    #[test]
    fn a_group_without_files_has_used_nothing() {
        assert_eq!(readings(|_| None), Readings::default());
    }
}
