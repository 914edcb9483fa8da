//! What instances take of the machine, and what only VMs have.

use super::check::{MOST_CORES, natural, wrong};
use super::text::{image_name, is_component, no_controls, shown};
use super::{Disk, Kind, Limits};
use crate::agent::error::AgentError;
use crate::agent::settings::AgentSettings;
use crate::proto::hypervisor::v1::InstanceSpec;

/// The kernel's usual period.
pub(super) const USUAL_PERIOD_US: i64 = 100_000;
/// Periods that the kernel takes, in microseconds.
const PERIODS_US: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
/// Shortest quota that the kernel takes, in microseconds.
const LEAST_QUOTA_US: u64 = 1_000;
/// Most bytes a second: what QEMU takes, and more than there is.
const MOST_BPS: u64 = 1_000_000_000_000_000;
/// Least memory that anything runs in.
const LEAST_MEMORY_BYTES: u64 = 4 << 20;
/// Most memory.
const MOST_MEMORY_BYTES: u64 = 1 << 46;
/// Most disks.
const MOST_DISKS: usize = 16;
/// Smallest and largest disk.
const DISK_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 50);
/// Longest kernel command line that x86 takes, less what the agent adds.
const LONGEST_ARGS: usize = 1536;

fn memory_bytes(field: &str, number: i64) -> Result<u64, AgentError> {
    let bytes = natural(field, number)?;
    if bytes != 0 && !(LEAST_MEMORY_BYTES..=MOST_MEMORY_BYTES).contains(&bytes) {
        let problem = format!("is {bytes}; expected 0 or {LEAST_MEMORY_BYTES} to {MOST_MEMORY_BYTES}");
        return Err(AgentError::invalid(field, problem));
    }
    Ok(bytes)
}

pub(super) fn memory(asked: &InstanceSpec, kind: Kind, settings: &AgentSettings) -> Result<u64, AgentError> {
    let bytes = memory_bytes("spec.memory_bytes", asked.memory_bytes)?;
    Ok(if bytes == 0 && kind != Kind::Container { settings.limits.memory_bytes } else { bytes })
}

/// The boot disk first. Disks without a name are called `disk0`, `disk1`, ...
pub(super) fn disks(asked: &InstanceSpec) -> Result<Vec<Disk>, AgentError> {
    if asked.disks.len() > MOST_DISKS {
        let problem = format!("has {} entries; expected at most {MOST_DISKS}", asked.disks.len());
        return Err(AgentError::invalid("spec.disks", problem));
    }
    let mut disks: Vec<Disk> = Vec::new();
    for (place, disk) in asked.disks.iter().enumerate() {
        let field = |name: &str| format!("spec.disks[{place}].{name}");
        let name = if disk.name.is_empty() { format!("disk{place}") } else { disk.name.clone() };
        if !is_component(&name) {
            let expected = "expected a letter or digit and then up to 62 of A-Za-z0-9_.-";
            let problem = format!("is {}; {expected}", shown(&name));
            return Err(AgentError::invalid(field("name"), problem));
        }
        if disks.iter().any(|other| other.name == name) {
            return Err(AgentError::invalid(field("name"), format!("is {name:?}, as that of another disk")));
        }
        if !["", "ssd", "hdd"].contains(&disk.r#type.as_str()) {
            let problem = format!("is {}; expected ssd, hdd or nothing", shown(&disk.r#type));
            return Err(AgentError::invalid(field("type"), problem));
        }
        let size_bytes = natural(&field("size_bytes"), disk.size_bytes)?;
        if size_bytes != 0 && !DISK_BYTES.contains(&size_bytes) {
            let (least, most) = (DISK_BYTES.start(), DISK_BYTES.end());
            let problem = format!("is {size_bytes}; expected 0 or {least} to {most}");
            return Err(AgentError::invalid(field("size_bytes"), problem));
        }
        if disk.boot && disks.iter().any(|other| other.boot) {
            return Err(AgentError::invalid(field("boot"), "is set, as that of another disk; expected one"));
        }
        disks.push(Disk { name, size_bytes, boot: disk.boot });
    }
    disks.sort_by_key(|disk| !disk.boot);
    if let Some(first) = disks.first_mut() {
        first.boot = true;
    }
    Ok(disks)
}

fn for_machines(field: &str, kind: Kind) -> Result<(), AgentError> {
    if kind == Kind::Container {
        return Err(AgentError::invalid(field, "is set; it is for VMs and microVMs, this is a container"));
    }
    Ok(())
}

/// A kernel or initrd.
pub(super) fn part(field: &str, name: &str, kind: Kind) -> Result<Option<String>, AgentError> {
    if name.is_empty() {
        return Ok(None);
    }
    for_machines(field, kind)?;
    image_name(name).map_err(wrong(field))?;
    Ok(Some(name.to_owned()))
}

pub(super) fn kernel_args(asked: &InstanceSpec, kind: Kind) -> Result<String, AgentError> {
    let field = "spec.kernel_args";
    if asked.kernel_args.is_empty() {
        return Ok(String::new());
    }
    for_machines(field, kind)?;
    if kind == Kind::Vm && asked.kernel.is_empty() {
        return Err(AgentError::invalid(field, "is set without spec.kernel: firmware would not pass it on"));
    }
    no_controls(&asked.kernel_args, LONGEST_ARGS).map_err(wrong(field))?;
    Ok(asked.kernel_args.clone())
}

pub(super) fn limits(asked: &InstanceSpec, kind: Kind) -> Result<Limits, AgentError> {
    let Some(limits) = &asked.limits else { return Ok(Limits::default()) };
    let checked = Limits {
        cpu_quota_us: natural("spec.limits.cpu_quota", limits.cpu_quota)?,
        cpu_period_us: natural("spec.limits.cpu_period", limits.cpu_period)?,
        memory_bytes: memory_bytes("spec.limits.memory_limit", limits.memory_limit)?,
        memory_and_swap_bytes: memory_bytes("spec.limits.memory_swap", limits.memory_swap)?,
        io_read_bps: rate("spec.limits.io_read_bps", limits.io_read_bps)?,
        io_write_bps: rate("spec.limits.io_write_bps", limits.io_write_bps)?,
    };
    processor(&checked, asked.cpu_cores)?;
    memory_limits(&checked, asked.memory_bytes, kind)?;
    Ok(checked)
}

fn rate(field: &str, number: i64) -> Result<u64, AgentError> {
    let bps = natural(field, number)?;
    if bps > MOST_BPS {
        return Err(AgentError::invalid(field, format!("is {bps}; expected 0 to {MOST_BPS} bytes a second")));
    }
    Ok(bps)
}

fn processor(limits: &Limits, cores: i32) -> Result<(), AgentError> {
    let (quota, period) = (limits.cpu_quota_us, limits.cpu_period_us);
    if period != 0 && !PERIODS_US.contains(&period) {
        let (least, most) = (PERIODS_US.start(), PERIODS_US.end());
        let problem = format!("is {period}; expected 0 or {least} to {most} microseconds");
        return Err(AgentError::invalid("spec.limits.cpu_period", problem));
    }
    let field = "spec.limits.cpu_quota";
    if quota != 0 && quota < LEAST_QUOTA_US {
        let problem = format!("is {quota}; expected 0 or at least {LEAST_QUOTA_US} microseconds");
        return Err(AgentError::invalid(field, problem));
    }
    let period = if period == 0 { USUAL_PERIOD_US.unsigned_abs() } else { period };
    let cores = u64::from(cores.max(0).unsigned_abs());
    if cores > 0 && quota > cores.saturating_mul(period) {
        let problem =
            format!("is {quota} of {period} microseconds: more than the {cores} cores of spec.cpu_cores");
        return Err(AgentError::invalid(field, problem));
    }
    let most = u64::from(MOST_CORES) * period;
    if quota > most {
        let problem = format!("is {quota} of {period} microseconds; expected at most {most}");
        return Err(AgentError::invalid(field, problem));
    }
    Ok(())
}

fn memory_limits(limits: &Limits, asked: i64, kind: Kind) -> Result<(), AgentError> {
    let (limit, swap) = (limits.memory_bytes, limits.memory_and_swap_bytes);
    let field = if limit > 0 { "spec.limits.memory_limit" } else { "spec.limits.memory_swap" };
    if kind != Kind::Container && limit.max(swap) > 0 {
        let problem = format!("is set; a {} has the memory of spec.memory_bytes", kind.name());
        return Err(AgentError::invalid(field, problem));
    }
    let asked = u64::try_from(asked).unwrap_or(0);
    if asked > 0 && limit > asked {
        let problem = format!("is {limit}; expected at most spec.memory_bytes, {asked}");
        return Err(AgentError::invalid(field, problem));
    }
    let limit = if limit > 0 { limit } else { asked };
    if swap > 0 && (limit == 0 || swap < limit) {
        let problem =
            format!("is {swap} of memory and swap together; expected at least the memory limit, {limit}");
        let problem = if limit == 0 { "is set without a memory limit".to_owned() } else { problem };
        return Err(AgentError::invalid("spec.limits.memory_swap", problem));
    }
    Ok(())
}
