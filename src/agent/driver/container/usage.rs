//! What a container has used, out of its control group, its disk and its cable.

use super::rootfs::Rootfs;
use crate::agent::cgroup::{DeviceNumber, Group};
use crate::agent::driver::Usage;
use crate::agent::net;

/// Reads it. A container with a disk of its own writes twice: to its disk's device, and through that to the device that
/// holds its file; only the first is its doing, so `backing` is left out then. What it has on volumes there is left out too.
pub(super) fn usage(
    group: &Group,
    rootfs: &Rootfs,
    backing: Option<DeviceNumber>,
    cable: Option<&str>,
) -> Usage {
    let found = group.readings();
    let own = rootfs.device();
    let disks = found.disks.iter().filter(|(device, _)| own.is_none() || Some(**device) != backing);
    let (read, written) = disks.fold((0, 0), |(read, written), (_, (r, w))| (read + r, written + w));
    let network = cable.and_then(net::counters).unwrap_or_default();
    Usage {
        cpu_time_ns: found.cpu_time_ns,
        cpu_throttled_periods: found.cpu_throttled_periods,
        memory_used_bytes: found.memory_used_bytes,
        memory_cache_bytes: found.memory_cache_bytes,
        disk_used_bytes: rootfs.used_bytes().unwrap_or_default(),
        disk_read_bytes: read,
        disk_written_bytes: written,
        network_received_bytes: network.received_bytes,
        network_sent_bytes: network.sent_bytes,
        processes: found.processes,
    }
}
