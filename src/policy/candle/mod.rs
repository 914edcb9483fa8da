//! The `candle` backend: the reference, every number format and device, and the only one for CUDA.

mod decoder;
mod device;
mod layers;
mod load;
mod tactile;
mod trace;
mod vision;

use std::time::Instant;

use candle_core::{DType, Device, Tensor};

pub use device::{cuda_available, cuda_built_in, open as open_device};
pub use trace::Trace;

use super::backend::{
    Backend, BackendError, BackendInfo, CancelFlag, DeviceKind, Dtype, Inference, Input, StageTimes, Touch,
    check_input, checked_action,
};
use super::config::{ModelConfig, Part};
use super::plan::{Influence, Layout};
use super::tensors::EMBED_TOKENS;
use super::weights::Weights;
use load::{Loader, device_error};

/// Largest batch worth forming on a GPU.
const GPU_BATCH: usize = 16;

/// How much of the network is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What can reach the action: for serving.
    Visible,
    /// Every part of the sequence, for comparing the shortcut with the whole.
    Whole,
}

/// The network as candle tensors.
pub struct CandleBackend {
    config: ModelConfig,
    info: BackendInfo,
    device: Device,
    dtype: DType,
    vision: vision::Vision,
    projector: layers::Mlp2x,
    tactile: Option<tactile::Tactile>,
    embed_tokens: Option<Tensor>,
    decoder: decoder::Decoder,
    head: layers::ActionHead,
    black_token: Option<Tensor>,
}

/// candle's error for work nobody waits for any more.
const CANCELLED: &str = "cancelled";

/// Stops between layers once every caller of the batch has gone.
fn check_cancelled(cancel: &[CancelFlag]) -> candle_core::Result<()> {
    if !cancel.is_empty() && cancel.iter().all(CancelFlag::is_cancelled) {
        candle_core::bail!("{CANCELLED}")
    }
    Ok(())
}

impl CandleBackend {
    /// Builds the network on a device.
    ///
    /// # Errors
    /// When a tensor is missing, not finite or does not fit the device, or the format is not offered.
    pub fn load(
        config: &ModelConfig,
        weights: &Weights,
        kind: DeviceKind,
        dtype: Dtype,
        scope: Scope,
    ) -> Result<Self, BackendError> {
        let asked = match dtype {
            Dtype::F32 => DType::F32,
            Dtype::Bf16 => DType::BF16,
            Dtype::F16 => DType::F16,
            Dtype::Int8 => {
                return Err(BackendError::Load("int8 is offered by the cpu backend alone".to_owned()));
            }
        };
        let device = device::open(kind)?;
        let mut loader = Loader::new(weights, device.clone(), asked);
        let influence = Influence::of(config);
        let wanted = |seen: bool, part: Part| match scope {
            Scope::Visible => seen,
            Scope::Whole => config.has(part),
        };
        let vision = vision::Vision::load(&mut loader, config)?;
        let projector = layers::Mlp2x::load(&mut loader, super::tensors::PROJECTOR)?;
        let tactile = if wanted(influence.tactile, Part::Tactile) {
            Some(tactile::Tactile::load(&mut loader, config)?)
        } else {
            None
        };
        let embed_tokens =
            if wanted(influence.text, Part::Text) { Some(loader.tensor(EMBED_TOKENS)?) } else { None };
        let decoder = decoder::Decoder::load(&mut loader, config)?;
        let head = layers::ActionHead::load(&mut loader)?;
        let info = BackendInfo {
            name: "candle",
            device: kind.to_string(),
            dtype,
            kernels: if kind == DeviceKind::Cpu { "candle gemm".into() } else { "cuBLAS".into() },
            threads: if kind == DeviceKind::Cpu { rayon::current_num_threads() } else { 1 },
            weight_bytes: loader.bytes,
            parameters_used: loader.parameters,
            max_batch: if kind == DeviceKind::Cpu { 4 } else { GPU_BATCH },
        };
        let dtype = loader.dtype();
        let config = config.clone();
        let black_token = None;
        Ok(Self {
            config,
            info,
            device,
            dtype,
            vision,
            projector,
            tactile,
            embed_tokens,
            decoder,
            head,
            black_token,
        })
    }

    fn pixels(&self, pictures: &[&[f32]], side: usize) -> candle_core::Result<Tensor> {
        let mut values = Vec::with_capacity(pictures.len() * 3 * side * side);
        pictures.iter().for_each(|picture| values.extend_from_slice(picture));
        let shape = (pictures.len(), 3, side, side);
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_device(&self.device)?.to_dtype(self.dtype)
    }

    fn touch_picture(&self, touch: &Touch) -> Option<Vec<f32>> {
        match touch {
            Touch::Absent => None,
            Touch::Picture(values) => Some(values.clone()),
            Touch::Black => Some(self.config.tactile.black_picture()),
        }
    }

    /// The tactile token of one input, `[1, 1, hidden]`; the black picture's is computed once.
    fn touch_token(&mut self, touch: &Touch) -> candle_core::Result<Option<Tensor>> {
        if *touch == Touch::Black
            && let Some(token) = &self.black_token
        {
            return Ok(Some(token.clone()));
        }
        let (Some(tactile), Some(picture)) = (&self.tactile, self.touch_picture(touch)) else {
            return Ok(None);
        };
        let picture = self.pixels(&[&picture], self.config.tactile.image_size)?;
        let token = tactile.token(&tactile.pool(&picture)?)?;
        if *touch == Touch::Black {
            self.black_token = Some(token.clone());
        }
        Ok(Some(token))
    }

    /// Splices the parts of one sequence together, `[1, len, hidden]`.
    fn splice(
        &self,
        layout: &Layout,
        image: &Tensor,
        touch: Option<&Tensor>,
        token_ids: &[u32],
    ) -> candle_core::Result<Tensor> {
        let mut parts = Vec::with_capacity(3);
        for (part, range) in &layout.parts {
            match part {
                Part::Image => parts.push(image.clone()),
                Part::Tactile => {
                    let Some(touch) = touch else { candle_core::bail!("tactile encoder is not loaded") };
                    parts.push(touch.clone());
                }
                Part::Text => {
                    let Some(table) = &self.embed_tokens else {
                        candle_core::bail!("embeddings are not loaded")
                    };
                    let ids = token_ids.get(..range.len()).unwrap_or(token_ids);
                    let ids = Tensor::new(ids, &self.device)?;
                    parts.push(table.index_select(&ids, 0)?.unsqueeze(0)?);
                }
            }
        }
        Tensor::cat(&parts, 1)
    }

    fn run(&mut self, batch: &[&Input]) -> candle_core::Result<Vec<Inference>> {
        let cancel: Vec<CancelFlag> = batch.iter().map(|input| input.cancel.clone()).collect();
        let start = Instant::now();
        let mut touches = Vec::with_capacity(batch.len());
        for input in batch {
            touches.push(self.touch_token(&input.touch)?);
        }
        self.device.synchronize()?;
        let touched = Instant::now();

        let pictures: Vec<&[f32]> = batch.iter().map(|input| input.pixel_values.as_slice()).collect();
        let pixels = self.pixels(&pictures, self.config.vision.image_size)?;
        let features = self.vision.encode(&self.vision.embed(&pixels)?, &cancel)?;
        let tokens = self.projector.forward(&features)?;
        self.device.synchronize()?;
        let seen = Instant::now();

        let layouts: Vec<Layout> = (batch.iter())
            .map(|input| Layout::visible(&self.config, input.token_ids.len(), input.touch != Touch::Absent))
            .collect();
        let longest = layouts.iter().map(|layout| layout.len).max().unwrap_or(0);
        let mut rows = Vec::with_capacity(batch.len());
        for (index, layout) in layouts.iter().enumerate() {
            let image = tokens.narrow(0, index, 1)?;
            let row = self.splice(layout, &image, touches[index].as_ref(), &batch[index].token_ids)?;
            rows.push(if layout.len < longest {
                row.pad_with_zeros(1, 0, longest - layout.len)?
            } else {
                row
            });
        }
        let embeds = Tensor::cat(&rows, 0)?;
        let readout: Vec<usize> = layouts.iter().map(|layout| layout.readout).collect();
        let hidden = self.decoder.read(&embeds, &readout, &cancel)?;
        let actions = self.head.forward(&hidden)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let done = Instant::now();

        let share = u32::try_from(batch.len()).unwrap_or(1).max(1);
        let stages = StageTimes {
            tactile: (touched - start) / share,
            vision: (seen - touched) / share,
            decoder: (done - seen) / share,
        };
        let wrap = |action: &Vec<f32>| checked_action(action).map_err(candle_core::Error::wrap);
        actions
            .iter()
            .map(|action| Ok(Inference { action_norm: wrap(action)?, stages, reused_tokens: 0 }))
            .collect()
    }
}

impl Backend for CandleBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn infer(&mut self, batch: &[Input]) -> Vec<Result<Inference, BackendError>> {
        let mut answers: Vec<Result<Inference, BackendError>> = batch
            .iter()
            .map(|input| match check_input(&self.config, input) {
                Ok(()) => Err(BackendError::Cancelled),
                Err(error) => Err(error),
            })
            .collect();
        let runnable: Vec<usize> = (0..batch.len())
            .filter(|index| {
                answers[*index] == Err(BackendError::Cancelled) && !batch[*index].cancel.is_cancelled()
            })
            .collect();
        for group in runnable.chunks(self.info.max_batch.max(1)) {
            let inputs: Vec<&Input> = group.iter().map(|index| &batch[*index]).collect();
            match self.run(&inputs) {
                Ok(done) => group.iter().zip(done).for_each(|(index, answer)| answers[*index] = Ok(answer)),
                Err(error) => {
                    let error = to_backend_error(&error, &inputs);
                    group.iter().for_each(|index| answers[*index] = Err(error.clone()));
                }
            }
        }
        answers
    }
}

fn to_backend_error(error: &candle_core::Error, inputs: &[&Input]) -> BackendError {
    if inputs.iter().all(|input| input.cancel.is_cancelled()) {
        return BackendError::Cancelled;
    }
    device_error(error)
}
