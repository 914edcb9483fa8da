//! Devices: the processor, and CUDA cards when that build has them.

use candle_core::Device;

use crate::policy::backend::{BackendError, DeviceKind};

/// Whether this binary was built with the `cuda` feature.
#[must_use]
pub const fn cuda_built_in() -> bool {
    cfg!(feature = "cuda")
}

/// Opens a device.
///
/// # Errors
/// Says whether CUDA is not built in or the card could not be opened.
pub fn open(kind: DeviceKind) -> Result<Device, BackendError> {
    match kind {
        DeviceKind::Cpu => Ok(Device::Cpu),
        DeviceKind::Cuda(_) if !cuda_built_in() => Err(BackendError::Load(format!(
            "device {kind}: CUDA is not built in; build with `make cuda` or use --device cpu"
        ))),
        DeviceKind::Cuda(ordinal) => Device::new_cuda(ordinal)
            .map_err(|error| BackendError::Load(format!("device {kind} cannot be opened: {error}"))),
    }
}

/// Whether a CUDA card can be used by this process.
#[must_use]
pub fn cuda_available() -> bool {
    cuda_built_in() && Device::new_cuda(0).is_ok()
}
