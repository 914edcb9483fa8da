//! What the machine has, and what its instances may ask for together: memory and cores as shares of the machine's.

use std::path::Path;

use super::error::AgentError;
use super::settings::LimitSettings;
use super::spec::Spec;
use crate::proto::hypervisor::v1::Resources;

/// What instances ask for, or a machine has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Cores.
    pub cpu_cores: u64,
    /// Bytes.
    pub memory_bytes: u64,
    /// Bytes.
    pub disk_bytes: u64,
}

impl Amount {
    /// What an instance asks for. A container without a limit asks for no memory.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        let limit = spec.limits.memory_bytes;
        let memory_bytes = if limit == 0 { spec.memory_bytes } else { limit };
        let disk_bytes = spec.disks.iter().fold(0, |sum: u64, disk| sum.saturating_add(disk.size_bytes));
        Self { cpu_cores: u64::from(spec.cpu_cores), memory_bytes, disk_bytes }
    }

    /// Of this machine: its processors, its memory, the disk under `data`. Blocks.
    #[must_use]
    pub fn of_machine(data: &Path) -> Self {
        let cpu_cores = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let disk_bytes =
            rustix::fs::statvfs(data).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
        Self { cpu_cores, memory_bytes: machine_memory_bytes(), disk_bytes }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_cores: self.cpu_cores.saturating_add(other.cpu_cores),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
        }
    }

    /// As the wire has it.
    #[must_use]
    pub fn on_wire(self, gpus: usize) -> Resources {
        Resources {
            cpu_cores: i32::try_from(self.cpu_cores).unwrap_or(i32::MAX),
            memory_bytes: i64::try_from(self.memory_bytes).unwrap_or(i64::MAX),
            disk_bytes: i64::try_from(self.disk_bytes).unwrap_or(i64::MAX),
            gpu_count: i32::try_from(gpus).unwrap_or(i32::MAX),
        }
    }
}

/// Refuses what does not fit beside what was given out. Disks grow as they are written to, so that their sizes are not summed.
///
/// # Errors
/// `Exhausted`, with the figures.
pub fn admit(
    machine: Amount,
    given: Amount,
    asked: Amount,
    limits: &LimitSettings,
) -> Result<(), AgentError> {
    let memory = share(machine.memory_bytes, limits.memory_share);
    refuse("spec.memory_bytes", "bytes of memory", asked.memory_bytes, given.memory_bytes, memory)?;
    let cores = share(machine.cpu_cores, limits.cpu_share);
    refuse("spec.cpu_cores", "cores", asked.cpu_cores, given.cpu_cores, cores)?;
    if asked.disk_bytes > machine.disk_bytes && machine.disk_bytes > 0 {
        let (asked, has) = (asked.disk_bytes, machine.disk_bytes);
        return Err(AgentError::Exhausted(format!("spec.disks asks for {asked} bytes; the node has {has}")));
    }
    Ok(())
}

fn refuse(field: &str, unit: &str, asked: u64, given: u64, most: u64) -> Result<(), AgentError> {
    if asked == 0 || asked <= most.saturating_sub(given) {
        return Ok(());
    }
    Err(AgentError::Exhausted(format!(
        "{field} asks for {asked} {unit}; {} of the node's {most} are free",
        most.saturating_sub(given)
    )))
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share"
)]
fn share(of: u64, part: f64) -> u64 {
    (of as f64 * part.max(0.0)) as u64
}

fn machine_memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_figures() {
        let limits = LimitSettings { memory_share: 0.5, cpu_share: 2.0, ..LimitSettings::default() };
        let machine = Amount { cpu_cores: 2, memory_bytes: 1000, disk_bytes: 10 };
        let given = Amount { cpu_cores: 3, memory_bytes: 400, disk_bytes: 0 };
        let ask = |cpu_cores, memory_bytes, disk_bytes| {
            admit(machine, given, Amount { cpu_cores, memory_bytes, disk_bytes }, &limits)
        };
        assert!(ask(1, 100, 10).is_ok() && ask(0, 0, 0).is_ok());
        let error = ask(1, 101, 0).unwrap_err();
        assert!(
            matches!(&error, AgentError::Exhausted(text) if text.contains("100 of the node's 500")),
            "{error}"
        );
        assert!(matches!(ask(2, 0, 0), Err(AgentError::Exhausted(_))));
        assert!(matches!(ask(0, 0, 11), Err(AgentError::Exhausted(_))));
    }

    #[test]
    fn the_machine_has_cores_memory_and_a_disk() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Amount::of_machine(folder.path());
        assert!(machine.cpu_cores > 0 && machine.memory_bytes > 1 << 20 && machine.disk_bytes > 0);
    }
}
