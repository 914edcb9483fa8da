//! What a virtual machine can be asked for. What it cannot do is refused by name: nothing that was asked for is left out in
//! silence.

use std::collections::BTreeSet;

use crate::agent::error::AgentError;
use crate::agent::options::Network;
use crate::agent::settings::QemuSettings;
use crate::agent::spec::{Kind, Limits, Spec};

/// Bytes of a command line that Linux takes on x86.
const KERNEL_LINE: usize = 2048 - 256;
/// Cores of a machine.
const CORES: u32 = 255;
/// Disks of a VM: PCI slots.
const VM_DISKS: usize = 16;
/// Disks of a microVM: virtio slots.
const MICROVM_DISKS: usize = 5;

/// Refuses what cannot be.
///
/// # Errors
/// `Invalid`, naming the field.
pub fn check(kind: Kind, settings: &QemuSettings, spec: &Spec) -> Result<(), AgentError> {
    let has_kernel = spec.kernel.is_some() || (kind == Kind::MicroVm && !settings.kernel.is_empty());
    if !has_kernel && kind == Kind::MicroVm {
        return Err(AgentError::invalid(
            "spec.kernel",
            "is empty; expected the name of a kernel in the image store (or set qemu.kernel)",
        ));
    }
    if !has_kernel && spec.image.is_empty() {
        return Err(AgentError::invalid(
            "spec.image",
            "is empty; expected the name of a disk, or spec.kernel",
        ));
    }
    if !has_kernel && spec.initrd.is_some() {
        return Err(AgentError::invalid("spec.initrd", "is set without spec.kernel"));
    }
    if !has_kernel && !spec.kernel_args.is_empty() {
        return Err(AgentError::invalid("spec.kernel_args", "is set without spec.kernel"));
    }
    if spec.kernel_args.len() > KERNEL_LINE || spec.kernel_args.chars().any(char::is_control) {
        let problem = format!("expected up to {KERNEL_LINE} bytes without control characters");
        return Err(AgentError::invalid("spec.kernel_args", problem));
    }
    if spec.cpu_cores > CORES {
        return Err(AgentError::invalid(
            "spec.cpu_cores",
            format!("is {}; expected at most {CORES}", spec.cpu_cores),
        ));
    }
    disks(kind, spec)?;
    foreign(kind, spec)
}

fn disks(kind: Kind, spec: &Spec) -> Result<(), AgentError> {
    let refuse = |problem: String| Err(AgentError::invalid("spec.disks", problem));
    let most = if kind == Kind::MicroVm { MICROVM_DISKS } else { VM_DISKS };
    if spec.disks.len() > most {
        return refuse(format!("has {}; expected at most {most}", spec.disks.len()));
    }
    let names: BTreeSet<&str> = spec.disks.iter().map(|disk| disk.name.as_str()).collect();
    if names.len() < spec.disks.len() {
        return refuse("has a name twice".to_owned());
    }
    if spec.disks.iter().filter(|disk| disk.boot).count() > 1 {
        return refuse("has more than one boot disk".to_owned());
    }
    for disk in &spec.disks {
        if i64::try_from(disk.size_bytes).is_err() {
            return refuse(format!("{:?} has size_bytes {}", disk.name, disk.size_bytes));
        }
    }
    Ok(())
}

/// What other kinds have.
fn foreign(kind: Kind, spec: &Spec) -> Result<(), AgentError> {
    let options = &spec.options;
    let limits = Limits { io_read_bps: 0, io_write_bps: 0, ..spec.limits.clone() };
    let unable = [
        ("spec.command", !spec.command.is_empty()),
        ("spec.args", !spec.args.is_empty()),
        ("spec.env", !spec.env.is_empty()),
        ("spec.volume_mounts", !spec.mounts.is_empty()),
        ("spec.limits (but for io_read_bps and io_write_bps)", limits != Limits::default()),
        ("hypervisor.io/cdi-devices", !options.cdi_devices.is_empty()),
        ("hypervisor.io/gpu-count", options.gpu_count > 0),
        ("hypervisor.io/shm-size", options.shm_bytes > 0),
        ("hypervisor.io/pids-limit", options.pids_limit > 0),
        ("hypervisor.io/runtime", !options.runtime.is_empty()),
        ("hypervisor.io/user", !options.user.is_empty()),
        ("hypervisor.io/read-only-root", options.read_only_root),
    ];
    if let Some((field, _)) = unable.into_iter().find(|(_, asked)| *asked) {
        return Err(AgentError::invalid(field, format!("is for containers, and this is a {}", kind.name())));
    }
    if options.network == Some(Network::Host) {
        let problem = format!("is \"host\"; a {} has none, cable or user", kind.name());
        return Err(AgentError::invalid("hypervisor.io/network", problem));
    }
    Ok(())
}
