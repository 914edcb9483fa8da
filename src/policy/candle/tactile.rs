//! ResNet-18 (He et al. 2015) over a tactile picture, projected to one decoder token.
//!
//! candle-transformers has a ResNet-18 of the published width alone; the width is part of the config here.
//! The two agree at width 64 (a test holds them together).

use candle_core::{Result, Tensor};

use super::layers::Mlp2x;
use super::load::Loader;
use crate::policy::backend::BackendError;
use crate::policy::config::ModelConfig;
use crate::policy::tensors::{RESNET, ResnetBlock, TACTILE_POSITION, TACTILE_PROJECTOR, resnet18_blocks};

/// PyTorch's default epsilon of a batch norm.
const BATCH_NORM_EPS: f32 = 1e-5;

/// A convolution with the batch norm behind it folded in (evaluation mode).
struct Conv {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
    padding: usize,
}

impl Conv {
    fn load(
        loader: &mut Loader,
        (conv, norm): (&str, &str),
        shape: [usize; 4],
        stride: usize,
    ) -> std::result::Result<Self, BackendError> {
        let mut weight = loader.host(&format!("{conv}.weight"))?;
        let gamma = loader.host(&format!("{norm}.weight"))?;
        let beta = loader.host(&format!("{norm}.bias"))?;
        let mean = loader.host(&format!("{norm}.running_mean"))?;
        let variance = loader.host(&format!("{norm}.running_var"))?;
        let mut bias = Vec::with_capacity(shape[0]);
        let kernel = shape[1] * shape[2] * shape[3];
        let statistics = gamma.iter().zip(&beta).zip(mean.iter().zip(&variance));
        for (filter, ((gamma, beta), (mean, variance))) in weight.chunks_mut(kernel).zip(statistics) {
            let scale = gamma / (variance + BATCH_NORM_EPS).sqrt();
            filter.iter_mut().for_each(|value| *value *= scale);
            bias.push(beta - mean * scale);
        }
        let weight = loader.place(weight, &shape)?;
        let bias = loader.place(bias, &[1, shape[0], 1, 1])?;
        Ok(Self { weight, bias, stride, padding: shape[2] / 2 })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.conv2d(&self.weight, self.padding, self.stride, 1, 1)?.broadcast_add(&self.bias)
    }
}

struct Block {
    conv1: Conv,
    conv2: Conv,
    downsample: Option<Conv>,
}

impl Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.conv2.forward(&self.conv1.forward(x)?.relu()?)?;
        let x = match &self.downsample {
            Some(downsample) => downsample.forward(x)?,
            None => x.clone(),
        };
        (x + y)?.relu()
    }
}

/// Tactile encoder, projector and position embedding.
pub(super) struct Tactile {
    stem: Conv,
    blocks: Vec<Block>,
    projector: Mlp2x,
    position: Tensor,
}

impl Tactile {
    pub(super) fn load(loader: &mut Loader, config: &ModelConfig) -> std::result::Result<Self, BackendError> {
        let base = config.tactile.base_width;
        let (conv, norm) = (format!("{RESNET}.conv1"), format!("{RESNET}.bn1"));
        let stem = Conv::load(loader, (&conv, &norm), [base, 3, 7, 7], 2)?;
        let mut blocks = Vec::with_capacity(8);
        for ResnetBlock { name, input, width, stride, downsamples } in resnet18_blocks(base) {
            let part = |part: &str| format!("{name}.{part}");
            let (conv1, bn1) = (part("conv1"), part("bn1"));
            let (conv2, bn2) = (part("conv2"), part("bn2"));
            let downsample = if downsamples {
                let (conv, norm) = (part("downsample.0"), part("downsample.1"));
                Some(Conv::load(loader, (&conv, &norm), [width, input, 1, 1], stride)?)
            } else {
                None
            };
            blocks.push(Block {
                conv1: Conv::load(loader, (&conv1, &bn1), [width, input, 3, 3], stride)?,
                conv2: Conv::load(loader, (&conv2, &bn2), [width, width, 3, 3], 1)?,
                downsample,
            });
        }
        let projector = Mlp2x::load(loader, TACTILE_PROJECTOR)?;
        let position = loader.tensor(TACTILE_POSITION)?;
        Ok(Self { stem, blocks, projector, position })
    }

    /// Pictures `[batch, 3, side, side]` to pooled features `[batch, 8 * base_width]`.
    pub(super) fn pool(&self, pictures: &Tensor) -> Result<Tensor> {
        let x = self.stem.forward(pictures)?.relu()?;
        // Values are not negative after ReLU, so padding the max pool with zeros changes nothing.
        let x = x.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?.max_pool2d_with_stride(3, 2)?;
        let mut x = x;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        x.mean(3)?.mean(2)
    }

    /// Pooled features to one token each, `[batch, 1, hidden]`.
    pub(super) fn token(&self, pooled: &Tensor) -> Result<Tensor> {
        self.projector.forward(&pooled.unsqueeze(1)?)?.broadcast_add(&self.position)
    }
}
