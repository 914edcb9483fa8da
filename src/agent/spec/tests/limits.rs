//! Limits: of processors, memory and disks.

use super::*;

fn quota(cpu_quota: i64, cpu_period: i64) -> Change {
    limit(move |limits| (limits.cpu_quota, limits.cpu_period) = (cpu_quota, cpu_period))
}

/// With so much memory asked for.
fn bytes(memory_bytes: i64, memory_limit: i64, memory_swap: i64) -> Change {
    inside(move |spec| {
        spec.memory_bytes = memory_bytes;
        let limits = spec.limits.get_or_insert_default();
        (limits.memory_limit, limits.memory_swap) = (memory_limit, memory_swap);
    })
}

fn cores(cpu_cores: i32, cpu_quota: i64, cpu_period: i64) -> Change {
    inside(move |spec| {
        spec.cpu_cores = cpu_cores;
        let limits = spec.limits.get_or_insert_default();
        (limits.cpu_quota, limits.cpu_period) = (cpu_quota, cpu_period);
    })
}

#[test]
fn every_limit_out_of_range_is_named() {
    let read = |bps: i64| limit(move |limits| limits.io_read_bps = bps);
    let write = |bps: i64| limit(move |limits| limits.io_write_bps = bps);
    const MIB: i64 = 1 << 20;
    refused(
        InstanceType::Container,
        vec![
            ("spec.limits.cpu_quota", "is -1; expected 0 or more", quota(-1, 0)),
            ("spec.limits.cpu_quota", "expected 0 or more", quota(i64::MIN, 0)),
            ("spec.limits.cpu_quota", "is 999; expected 0 or at least 1000", quota(999, 0)),
            ("spec.limits.cpu_quota", "expected at most 102400000", quota(i64::MAX, 0)),
            ("spec.limits.cpu_quota", "expected at most 1024000", quota(1_024_001, 1000)),
            ("spec.limits.cpu_period", "is -1; expected 0 or more", quota(0, -1)),
            ("spec.limits.cpu_period", "expected 0 or more", quota(0, i64::MIN)),
            ("spec.limits.cpu_period", "is 999; expected 0 or 1000 to 1000000", quota(0, 999)),
            ("spec.limits.cpu_period", "expected 0 or 1000", quota(5000, 1_000_001)),
            ("spec.limits.cpu_period", "expected 0 or 1000", quota(0, i64::MAX)),
            ("spec.limits.cpu_quota", "more than the 2 cores", cores(2, 200_001, 0)),
            ("spec.limits.cpu_quota", "more than the 2 cores", cores(2, 2001, 1000)),
            ("spec.limits.memory_limit", "is -1; expected 0 or more", bytes(0, -1, 0)),
            ("spec.limits.memory_limit", "expected 0 or more", bytes(0, i64::MIN, 0)),
            ("spec.limits.memory_limit", "expected 0 or 4194304", bytes(0, 1, 0)),
            ("spec.limits.memory_limit", "expected 0 or 4194304", bytes(0, i64::MAX, 0)),
            (
                "spec.limits.memory_limit",
                "expected at most spec.memory_bytes",
                bytes(8 * MIB, 8 * MIB + 1, 0),
            ),
            ("spec.limits.memory_swap", "is -1; expected 0 or more", bytes(8 * MIB, 0, -1)),
            ("spec.limits.memory_swap", "without a memory limit", bytes(0, 0, 8 * MIB)),
            (
                "spec.limits.memory_swap",
                "expected at least the memory limit, 8388608",
                bytes(8 * MIB, 0, 8 * MIB - 1),
            ),
            (
                "spec.limits.memory_swap",
                "expected at least the memory limit, 6291456",
                bytes(8 * MIB, 6 * MIB, 5 * MIB),
            ),
            ("spec.limits.io_read_bps", "is -1; expected 0 or more", read(-1)),
            ("spec.limits.io_read_bps", "expected 0 to 1000000000000000", read(i64::MAX)),
            ("spec.limits.io_write_bps", "expected 0 or more", write(i64::MIN)),
            ("spec.limits.io_write_bps", "expected 0 to 1000000000000000", write(1_000_000_000_000_001)),
        ],
    );
    for kind in [InstanceType::Vm, InstanceType::Microvm] {
        refused(
            kind,
            vec![
                (
                    "spec.limits.memory_limit",
                    "has the memory of spec.memory_bytes",
                    bytes(8 * MIB, 8 * MIB, 0),
                ),
                (
                    "spec.limits.memory_swap",
                    "has the memory of spec.memory_bytes",
                    bytes(8 * MIB, 0, 8 * MIB),
                ),
            ],
        );
    }
}

#[test]
fn limits_just_within_are_taken_and_none_is_none() {
    let specs = taken(
        InstanceType::Container,
        vec![
            limit(|_| {}),
            quota(1000, 0),
            quota(0, 1_000_000),
            quota(1_024_000_000, 1_000_000),
            cores(2, 200_000, 0),
            bytes(8 << 20, 8 << 20, 8 << 20),
            bytes(0, 4 << 20, i64::from(i32::MAX)),
            limit(|limits| (limits.io_read_bps, limits.io_write_bps) = (1, 1_000_000_000_000_000)),
        ],
    );
    assert_eq!(specs[0].limits, crate::agent::spec::Limits::default());
    assert_eq!((specs[2].limits.cpu_quota_us, specs[2].limits.cpu_period_us), (0, 1_000_000));
    assert_eq!((specs[6].limits.memory_bytes, specs[6].limits.memory_and_swap_bytes), (4 << 20, 0x7fff_ffff));
    assert_eq!((specs[7].limits.io_read_bps, specs[7].limits.io_write_bps), (1, 1_000_000_000_000_000));
}

#[test]
fn without_cores_it_gets_as_many_as_its_quota_fills() {
    let filled = |cpu_quota, cpu_period| {
        taken(InstanceType::Container, vec![quota(cpu_quota, cpu_period)])[0].cpu_cores
    };
    assert_eq!((filled(1000, 0), filled(100_000, 0), filled(100_001, 0)), (1, 1, 2));
    assert_eq!((filled(2500, 1000), filled(1_024_000_000, 1_000_000)), (3, 1024));
}
