//! ResNet-18 (He et al. 2015) over a tactile picture, projected to one decoder token. Convolutions are matrix
//! products over unrolled neighbourhoods; pictures are `[pixels, channels]`.

use crate::policy::backend::BackendError;
use crate::policy::config::ModelConfig;
use crate::policy::kernels::Isa;
use crate::policy::kernels::KernelError;
use crate::policy::kernels::buffers::Matrix;
use crate::policy::kernels::epilogue::{Activation, Sink, add};
use crate::policy::kernels::operand::Operand;
use crate::policy::tensors::{RESNET, ResnetBlock, TACTILE_POSITION, TACTILE_PROJECTOR, resnet18_blocks};

use super::linear::{Linear, pad_bias};
use super::loader::{Loader, kernel_error};
use super::mlp::Mlp;

/// PyTorch's default epsilon of a batch norm.
const BATCH_NORM_EPS: f32 = 1e-5;

/// A convolution with the batch norm behind it folded in (evaluation mode).
struct Conv {
    linear: Linear,
    channels: usize,
    side: usize,
    stride: usize,
}

impl Conv {
    fn load(
        loader: &mut Loader<'_>,
        (conv, norm): (&str, &str),
        (output, channels, side): (usize, usize, usize),
        stride: usize,
    ) -> Result<Self, BackendError> {
        let name = format!("{conv}.weight");
        let view = loader.view(&name)?;
        let gamma = loader.vector(&format!("{norm}.weight"))?;
        let beta = loader.vector(&format!("{norm}.bias"))?;
        let mean = loader.vector(&format!("{norm}.running_mean"))?;
        let variance = loader.vector(&format!("{norm}.running_var"))?;
        let scale: Vec<f32> =
            gamma.iter().zip(&variance).map(|(g, v)| g / (v + BATCH_NORM_EPS).sqrt()).collect();
        let bias = beta.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| b - m * s).collect();
        let k = channels * side * side;
        // Stored [output, channel, y, x]; unrolled neighbourhoods are [y, x, channel].
        let stored = |column: usize, index: usize| {
            let (pixel, channel) = (index / channels, index % channels);
            column * k + channel * side * side + pixel
        };
        let source = |column: usize, start: usize, out: &mut [f32]| {
            for (offset, value) in out.iter_mut().enumerate() {
                view.read_f32(stored(column, start + offset), std::slice::from_mut(value));
                *value *= scale[column];
            }
        };
        let precision = super::small_precision(loader.precision, loader.isa);
        let packed = loader.packed(precision, conv, (output, k), &source, |bad| {
            (name.clone(), stored(bad.column, bad.index))
        })?;
        let linear = Linear { packed, bias: Some(pad_bias(bias)), cols: output };
        Ok(Self { linear, channels, side, stride })
    }

    fn output_size(&self, size: usize) -> usize {
        (size + 2 * (self.side / 2) - self.side) / self.stride + 1
    }

    /// Unrolls the neighbourhoods of `x`, a `size` x `size` picture; zeros outside.
    fn unroll(&self, isa: Isa, x: &Matrix<f32>, size: usize, out: &mut Operand) {
        let (channels, side, stride) = (self.channels, self.side, self.stride);
        let output = self.output_size(size);
        out.fill(isa, output * output, channels * side * side, |pixel, out| {
            let (top, left) = (pixel / output * stride, pixel % output * stride);
            for (index, out) in out.chunks_exact_mut(channels).enumerate() {
                let (y, x_) = (
                    (top + index / side).wrapping_sub(side / 2),
                    (left + index % side).wrapping_sub(side / 2),
                );
                if y < size && x_ < size {
                    out.copy_from_slice(x.row(y * size + x_));
                } else {
                    out.fill(0.0);
                }
            }
        });
    }

    fn run(
        &self,
        isa: Isa,
        (x, size): (&Matrix<f32>, usize),
        activation: Activation,
        unrolled: &mut Operand,
        out: &mut Matrix<f32>,
    ) -> Result<usize, KernelError> {
        self.unroll(isa, x, size, unrolled);
        out.reshape(unrolled.rows(), self.linear.cols);
        self.linear.product(unrolled, activation).run(isa, Sink::F32(out))?;
        Ok(self.output_size(size))
    }
}

struct Block {
    conv1: Conv,
    conv2: Conv,
    downsample: Option<Conv>,
}

#[derive(Default)]
struct Workspace {
    x: Matrix<f32>,
    y: Matrix<f32>,
    identity: Matrix<f32>,
    token: Matrix<f32>,
}

/// Tactile encoder, projector and position embedding.
pub(super) struct Tactile {
    stem: Conv,
    blocks: Vec<Block>,
    projector: Mlp,
    position: Vec<f32>,
    size: usize,
    unrolled: Operand,
    pooled: Operand,
    work: Workspace,
}

impl Tactile {
    pub(super) fn load(loader: &mut Loader<'_>, config: &ModelConfig) -> Result<Self, BackendError> {
        let base = config.tactile.base_width;
        let (conv, norm) = (format!("{RESNET}.conv1"), format!("{RESNET}.bn1"));
        let stem = Conv::load(loader, (&conv, &norm), (base, 3, 7), 2)?;
        let mut blocks = Vec::with_capacity(8);
        for ResnetBlock { name, input, width, stride, downsamples } in resnet18_blocks(base) {
            let pair = |conv: &str, norm: &str| (format!("{name}.{conv}"), format!("{name}.{norm}"));
            let ((conv1, bn1), (conv2, bn2)) = (pair("conv1", "bn1"), pair("conv2", "bn2"));
            let downsample = if downsamples {
                let (conv, norm) = pair("downsample.0", "downsample.1");
                Some(Conv::load(loader, (&conv, &norm), (width, input, 1), stride)?)
            } else {
                None
            };
            blocks.push(Block {
                conv1: Conv::load(loader, (&conv1, &bn1), (width, input, 3), stride)?,
                conv2: Conv::load(loader, (&conv2, &bn2), (width, width, 3), 1)?,
                downsample,
            });
        }
        let projector = Mlp::small_projector(loader, TACTILE_PROJECTOR)?;
        let pooled = Operand::new(projector.precision());
        Ok(Self {
            stem,
            blocks,
            position: loader.vector(TACTILE_POSITION)?,
            size: config.tactile.image_size,
            unrolled: Operand::new(super::small_precision(loader.precision, loader.isa)),
            pooled,
            projector,
            work: Workspace::default(),
        })
    }

    /// Normalised pixels `[3, size, size]` to one token, `decoder width` numbers.
    pub(super) fn run(&mut self, isa: Isa, pixels: &[f32], token: &mut Vec<f32>) -> Result<(), BackendError> {
        self.forward(isa, pixels).map_err(|error| kernel_error(&error))?;
        token.clear();
        token.extend_from_slice(self.work.token.row(0));
        add(isa, &self.position, token);
        Ok(())
    }

    fn forward(&mut self, isa: Isa, pixels: &[f32]) -> Result<(), KernelError> {
        let Workspace { x, y, identity, token } = &mut self.work;
        let mut size = self.size;
        x.reshape(size * size, 3);
        for pixel in 0..size * size {
            for (channel, value) in x.row_mut(pixel).iter_mut().enumerate() {
                *value = pixels[channel * size * size + pixel];
            }
        }
        size = self.stem.run(isa, (x, size), Activation::Relu, &mut self.unrolled, y)?;
        size = max_pool(y, size, x);
        for block in &self.blocks {
            let inner = block.conv1.run(isa, (x, size), Activation::Relu, &mut self.unrolled, y)?;
            let residual = match &block.downsample {
                Some(conv) => {
                    conv.run(isa, (x, size), Activation::Identity, &mut self.unrolled, identity)?;
                    &mut *identity
                }
                None => &mut *x,
            };
            block.conv2.unroll(isa, y, inner, &mut self.unrolled);
            let conv2 = &block.conv2.linear;
            conv2.product(&self.unrolled, Activation::Identity).run(isa, Sink::AddRelu(residual))?;
            if block.downsample.is_some() {
                std::mem::swap(x, identity);
            }
            size = inner;
        }
        let pixels = x.rows();
        self.pooled.fill(isa, 1, x.cols(), |_, out| {
            out.fill(0.0);
            (0..pixels).for_each(|pixel| add(isa, x.row(pixel), out));
            out.iter_mut().for_each(|value| *value /= pixels as f32);
        });
        self.projector.run(isa, &self.pooled, token)
    }
}

/// 3 x 3 maximum with stride 2 and padding 1; returns the new side.
fn max_pool(x: &Matrix<f32>, size: usize, out: &mut Matrix<f32>) -> usize {
    let output = (size - 1) / 2 + 1;
    out.reshape(output * output, x.cols());
    for pixel in 0..output * output {
        let (top, left) = (pixel / output * 2, pixel % output * 2);
        let out = out.row_mut(pixel);
        out.fill(f32::NEG_INFINITY);
        for y in top.saturating_sub(1)..(top + 2).min(size) {
            for column in left.saturating_sub(1)..(left + 2).min(size) {
                for (o, v) in out.iter_mut().zip(x.row(y * size + column)) {
                    *o = o.max(*v);
                }
            }
        }
    }
    output
}
