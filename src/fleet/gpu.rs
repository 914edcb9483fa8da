//! The cards of this machine, as NVML tells them. Its library is looked for once; a machine without it has an empty list
//! and a sentence that says why.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;

use crate::proto::neuro::ext;

/// A reading younger than this is given again.
const FRESH: Duration = Duration::from_secs(1);

/// One reading of all cards.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GpuReport {
    /// As `nvidia-smi` counts.
    pub gpus: Vec<ext::Gpu>,
    /// Why there are none, or why some are missing; empty when all is well.
    pub reason: String,
}

static LIBRARY: OnceLock<Result<Nvml, String>> = OnceLock::new();
static NEWEST: Mutex<Option<(Instant, GpuReport)>> = Mutex::new(None);

/// The cards now, at most a second old. Talks to the driver: not for async threads.
#[must_use]
pub fn report() -> GpuReport {
    let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, report)) = &*newest
        && at.elapsed() < FRESH
    {
        return report.clone();
    }
    let report = match LIBRARY.get_or_init(|| Nvml::init().map_err(absent)) {
        Ok(nvml) => read(nvml),
        Err(reason) => GpuReport { gpus: Vec::new(), reason: reason.clone() },
    };
    *newest = Some((Instant::now(), report.clone()));
    report
}

fn absent(error: NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) => {
            "this machine has no NVIDIA driver library (libnvidia-ml.so)".to_owned()
        }
        error => format!("the NVIDIA driver library of this machine does not start: {error}"),
    }
}

fn read(nvml: &Nvml) -> GpuReport {
    let count = match nvml.device_count() {
        Ok(0) => return GpuReport { gpus: Vec::new(), reason: "the NVIDIA driver knows no card".to_owned() },
        Ok(count) => count,
        Err(error) => return GpuReport { gpus: Vec::new(), reason: format!("the NVIDIA driver: {error}") },
    };
    let mut report = GpuReport::default();
    for index in 0..count {
        match one(nvml, index) {
            Ok(gpu) => report.gpus.push(gpu),
            Err(error) => report.reason = format!("GPU {index} cannot be read: {error}"),
        }
    }
    report
}

/// What a card cannot tell (some have no power sensor) is 0.
#[allow(clippy::cast_precision_loss, reason = "shares and watts")]
fn one(nvml: &Nvml, index: u32) -> Result<ext::Gpu, NvmlError> {
    let device = nvml.device_by_index(index)?;
    let memory = device.memory_info()?;
    let megabytes = |bytes: u64| i64::try_from(bytes >> 20).unwrap_or(i64::MAX);
    Ok(ext::Gpu {
        index: i32::try_from(index).unwrap_or(i32::MAX),
        uuid: device.uuid().unwrap_or_default(),
        name: device.name().unwrap_or_default(),
        memory_total_mb: megabytes(memory.total),
        memory_used_mb: megabytes(memory.used),
        utilization: device.utilization_rates().map_or(0.0, |rates| rates.gpu as f32 / 100.0),
        temperature_c: device
            .temperature(TemperatureSensor::Gpu)
            .map_or(0, |degrees| i32::try_from(degrees).unwrap_or(i32::MAX)),
        power_watts: device.power_usage().map_or(0.0, |milliwatts| milliwatts as f32 / 1000.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_lists_its_cards_or_says_why_it_has_none() {
        let report = report();
        assert_eq!(report.gpus.is_empty(), !report.reason.is_empty(), "{report:?}");
        for (index, gpu) in report.gpus.iter().enumerate() {
            assert_eq!(usize::try_from(gpu.index).unwrap(), index);
            assert!(
                gpu.memory_total_mb >= gpu.memory_used_mb && (0.0..=1.0).contains(&gpu.utilization),
                "{gpu:?}"
            );
        }
    }
}
