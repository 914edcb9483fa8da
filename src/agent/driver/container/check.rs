//! What a container cannot be, said before anything is made.

use std::path::{Component, Path};

use super::config;
use crate::agent::error::AgentError;
use crate::agent::options::Network;
use crate::agent::settings::ContainerSettings;
use crate::agent::spec::Spec;
use crate::agent::volume::Volumes;

/// What a file system needs for itself.
const SMALLEST_DISK_BYTES: u64 = 16 << 20;
/// What a runtime needs to start anything.
const SMALLEST_MEMORY_BYTES: u64 = 8 << 20;
/// The kernel's bounds.
const PERIOD_US: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
const SMALLEST_QUOTA_US: u64 = 1_000;

pub(super) fn check(spec: &Spec, settings: &ContainerSettings) -> Result<(), AgentError> {
    let refuse = |field: &str, problem: String| Err(AgentError::invalid(field, problem));
    for (field, given) in [("kernel", spec.kernel.is_some()), ("initrd", spec.initrd.is_some())] {
        if given {
            return refuse(
                &format!("spec.{field}"),
                "is for VMs and microVMs; a container has the host's kernel".to_owned(),
            );
        }
    }
    match spec.disks.as_slice() {
        [] => {}
        [disk] if disk.size_bytes == 0 || disk.size_bytes >= SMALLEST_DISK_BYTES => {}
        [disk] => {
            return refuse(
                "spec.disks[0].size_bytes",
                format!(
                    "is {}; a container's disk has at least {SMALLEST_DISK_BYTES} bytes, or 0 for no quota",
                    disk.size_bytes
                ),
            );
        }
        more => return refuse("spec.disks", format!("are {}; a container has one, and volumes", more.len())),
    }
    let memory = if spec.limits.memory_bytes == 0 { spec.memory_bytes } else { spec.limits.memory_bytes };
    if memory != 0 && memory < SMALLEST_MEMORY_BYTES {
        return refuse(
            "spec.memory_bytes",
            format!("is {memory}; a container needs at least {SMALLEST_MEMORY_BYTES}"),
        );
    }
    let swap = spec.limits.memory_and_swap_bytes;
    if swap != 0 && swap < memory {
        return refuse(
            "spec.limits.memory_swap",
            format!("is {swap}; memory and swap together are at least the memory, {memory}"),
        );
    }
    let (quota, period) = (spec.limits.cpu_quota_us, spec.limits.cpu_period_us);
    if period != 0 && !PERIOD_US.contains(&period) {
        return refuse(
            "spec.limits.cpu_period",
            format!("is {period} us; expected 1000 to 1000000, or 0 for 100000"),
        );
    }
    if quota != 0 && quota < SMALLEST_QUOTA_US {
        return refuse(
            "spec.limits.cpu_quota",
            format!("is {quota} us; expected at least {SMALLEST_QUOTA_US}, or 0 for whole cores"),
        );
    }
    if config::network(spec) == Network::User {
        return refuse(
            "annotations",
            "hypervisor.io/network is \"user\", which is for VMs; expected none, host or cable".to_owned(),
        );
    }
    let runtime = &spec.options.runtime;
    if !runtime.is_empty() && !settings.runtimes.contains(runtime) {
        return refuse(
            "annotations",
            format!("hypervisor.io/runtime is {runtime:?}; expected one of {:?}", settings.runtimes),
        );
    }
    let user = &spec.options.user;
    if !user
        .split(':')
        .all(|part| part.is_empty() == user.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        || user.split(':').count() > 2
    {
        return refuse("annotations", format!("hypervisor.io/user is {user:?}; expected UID or UID:GID"));
    }
    mounts(spec)?;
    texts(spec)
}

fn mounts(spec: &Spec) -> Result<(), AgentError> {
    for (at, mount) in spec.mounts.iter().enumerate() {
        Volumes::check("spec.volume_mounts.name", &mount.volume)?;
        let path = Path::new(&mount.path);
        let plain = path.is_absolute()
            && !mount.path.contains('\0')
            && path.components().skip(1).all(|step| matches!(step, Component::Normal(_)))
            && path.components().count() > 1;
        let kernel = ["/proc", "/sys", "/dev"].iter().any(|folder| path.starts_with(folder));
        if !plain || kernel {
            return Err(AgentError::invalid(
                "spec.volume_mounts.mount_path",
                format!(
                    "is {:?}; expected an absolute path without .. that is not in /proc, /sys or /dev",
                    mount.path
                ),
            ));
        }
        if spec.mounts.iter().take(at).any(|other| Path::new(&other.path) == path) {
            return Err(AgentError::invalid(
                "spec.volume_mounts.mount_path",
                format!("{:?} is given twice", mount.path),
            ));
        }
    }
    Ok(())
}

/// The kernel's texts end at a zero byte: one within would hide what follows.
fn texts(spec: &Spec) -> Result<(), AgentError> {
    for (field, list) in [("command", &spec.command), ("args", &spec.args)] {
        if let Some(text) = list.iter().find(|text| text.contains('\0')) {
            return Err(AgentError::invalid(format!("spec.{field}"), format!("{text:?} holds a zero byte")));
        }
    }
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(AgentError::invalid(
                "spec.env",
                format!("{name:?}: expected a name without = and no zero bytes"),
            ));
        }
    }
    Ok(())
}
