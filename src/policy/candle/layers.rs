//! The small pieces every tower is made of.

use candle_core::{D, Result, Tensor};

use super::load::Loader;
use crate::policy::backend::BackendError;

/// `x W^T + b` over the last dimension.
pub(super) struct Linear {
    weight_t: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Loads `{name}.weight` and, when asked, `{name}.bias`.
    pub(super) fn load(
        loader: &mut Loader,
        name: &str,
        bias: bool,
    ) -> std::result::Result<Self, BackendError> {
        Self::merged(loader, &[name.to_owned()], bias)
    }

    /// Several layers with the same input as one product; their outputs lie side by side.
    pub(super) fn merged(
        loader: &mut Loader,
        names: &[String],
        bias: bool,
    ) -> std::result::Result<Self, BackendError> {
        let with = |suffix: &str| names.iter().map(|name| format!("{name}.{suffix}")).collect::<Vec<_>>();
        let weight = loader.stacked(&with("weight"))?;
        let bias = if bias { Some(loader.stacked(&with("bias"))?) } else { None };
        Self::new(&weight, bias).map_err(|error| super::load::device_error(&error))
    }

    /// From a weight `[out, in...]`, flattened to two dimensions.
    pub(super) fn new(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        Ok(Self { weight_t: weight.flatten_from(1)?.t()?, bias })
    }

    /// `[..., in]` to `[..., out]`, as one two-dimensional product.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let inner = x.dim(D::Minus1)?;
        let rows = x.elem_count() / inner;
        let y = x.reshape((rows, inner))?.matmul(&self.weight_t)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        if let Some(last) = shape.last_mut() {
            *last = y.dim(1)?;
        }
        y.reshape(shape)
    }
}

/// Layer norm with weight and bias.
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    pub(super) fn load(loader: &mut Loader, name: &str, eps: f64) -> std::result::Result<Self, BackendError> {
        let weight = loader.tensor(&format!("{name}.weight"))?;
        let bias = loader.tensor(&format!("{name}.bias"))?;
        Ok(Self { weight, bias, eps: eps as f32 })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::layer_norm(&x.contiguous()?, &self.weight, &self.bias, self.eps)
    }
}

/// RMS norm with a weight.
pub(super) struct RmsNorm {
    weight: Tensor,
    eps: f32,
}

impl RmsNorm {
    pub(super) fn load(loader: &mut Loader, name: &str, eps: f64) -> std::result::Result<Self, BackendError> {
        Ok(Self { weight: loader.tensor(name)?, eps: eps as f32 })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::rms_norm(&x.contiguous()?, &self.weight, self.eps)
    }
}

/// Linear, GELU (erf), Linear: the projectors.
pub(super) struct Mlp2x {
    first: Linear,
    second: Linear,
}

impl Mlp2x {
    /// Loads `{prefix}.0` and `{prefix}.2`.
    pub(super) fn load(loader: &mut Loader, prefix: &str) -> std::result::Result<Self, BackendError> {
        let first = Linear::load(loader, &format!("{prefix}.0"), true)?;
        let second = Linear::load(loader, &format!("{prefix}.2"), true)?;
        Ok(Self { first, second })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.second.forward(&self.first.forward(x)?.gelu_erf()?)
    }
}

/// Linear, GELU, Linear, GELU, Linear: the action head.
pub(super) struct ActionHead {
    layers: [Linear; 3],
}

impl ActionHead {
    pub(super) fn load(loader: &mut Loader) -> std::result::Result<Self, BackendError> {
        let mut layer = |index: usize| {
            Linear::load(loader, &format!("{}.{index}", crate::policy::tensors::ACTION_HEAD), true)
        };
        Ok(Self { layers: [layer(0)?, layer(2)?, layer(4)?] })
    }

    /// `[batch, hidden]` to `[batch, 7]`.
    pub(super) fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let [first, second, third] = &self.layers;
        let x = first.forward(hidden)?.gelu_erf()?;
        let x = second.forward(&x)?.gelu_erf()?;
        third.forward(&x)
    }
}
