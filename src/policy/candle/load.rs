//! From mapped weights to tensors on a device.

use candle_core::{DType, Device, Tensor};

use crate::policy::backend::BackendError;
use crate::policy::weights::{Weights, WeightsError};

impl From<WeightsError> for BackendError {
    fn from(error: WeightsError) -> Self {
        Self::Load(error.to_string())
    }
}

/// Wraps what candle reports while a network is built.
pub(super) fn device_error(error: &candle_core::Error) -> BackendError {
    BackendError::Device { backend: "candle", message: error.to_string() }
}

/// Loads tensors by name and counts what it loaded.
pub(super) struct Loader<'a> {
    weights: &'a Weights,
    device: Device,
    dtype: DType,
    /// bf16 has no matrix product on the processor: its weights are rounded to bf16 and widened again.
    round_to_bf16: bool,
    pub(super) parameters: u64,
    pub(super) bytes: u64,
}

impl<'a> Loader<'a> {
    pub(super) fn new(weights: &'a Weights, device: Device, dtype: DType) -> Self {
        let round_to_bf16 = dtype == DType::BF16 && device.is_cpu();
        let dtype = if round_to_bf16 { DType::F32 } else { dtype };
        Self { weights, device, dtype, round_to_bf16, parameters: 0, bytes: 0 }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Number format the network computes in.
    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// One tensor in f32 on the host, as stored.
    pub(super) fn host(&mut self, name: &str) -> Result<Vec<f32>, BackendError> {
        let values = self.weights.finite_f32(name)?;
        self.parameters += values.len() as u64;
        Ok(values)
    }

    /// Puts host values on the device in the network's number format.
    pub(super) fn place(&mut self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor, BackendError> {
        let place = || {
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?;
            let tensor = if self.round_to_bf16 { tensor.to_dtype(DType::BF16)? } else { tensor };
            tensor.to_dtype(self.dtype)?.to_device(&self.device)
        };
        let tensor = place().map_err(|error| device_error(&error))?;
        self.bytes += (tensor.elem_count() * self.dtype.size_in_bytes()) as u64;
        Ok(tensor)
    }

    /// One tensor on the device.
    pub(super) fn tensor(&mut self, name: &str) -> Result<Tensor, BackendError> {
        let values = self.host(name)?;
        let shape = self.weights.view(name)?.shape.to_vec();
        self.place(values, &shape)
    }

    /// Rows of several matrices with the same inner width, one below the other.
    pub(super) fn stacked(&mut self, names: &[String]) -> Result<Tensor, BackendError> {
        let mut values = Vec::new();
        let mut rows = 0;
        let mut inner = Vec::new();
        for name in names {
            values.extend(self.host(name)?);
            let shape = self.weights.view(name)?.shape;
            rows += shape.first().copied().unwrap_or(0);
            inner = shape.get(1..).unwrap_or_default().to_vec();
        }
        let shape: Vec<usize> = std::iter::once(rows).chain(inner).collect();
        self.place(values, &shape)
    }
}
