//! The small networks between the large ones: projectors and action head, GELU (erf) between linear layers.

use crate::policy::backend::BackendError;
use crate::policy::kernels::buffers::Matrix;
use crate::policy::kernels::epilogue::Activation;
use crate::policy::kernels::operand::Operand;
use crate::policy::kernels::pack::Precision;
use crate::policy::kernels::{Isa, KernelError};
use crate::policy::tensors::ACTION_HEAD;

use super::linear::Linear;
use super::loader::Loader;

/// Linear layers with GELU (erf) between them.
pub(super) struct Mlp {
    layers: Vec<Linear>,
    /// Activations between the layers, by turns.
    hidden: [Operand; 2],
    staging: Matrix<f32>,
}

impl Mlp {
    /// `prefix.0`, `prefix.2`, ... in one element type.
    fn load(
        loader: &mut Loader<'_>,
        precision: Precision,
        prefix: &str,
        depth: usize,
    ) -> Result<Self, BackendError> {
        let layers = (0..depth)
            .map(|index| {
                let name = format!("{prefix}.{}", 2 * index);
                loader.linear_in(precision, &name, std::slice::from_ref(&name), true)
            })
            .collect::<Result<_, _>>()?;
        let hidden = [Operand::new(precision), Operand::new(precision)];
        Ok(Self { layers, hidden, staging: Matrix::default() })
    }

    /// A projector in the element type of the large products.
    pub(super) fn projector(loader: &mut Loader<'_>, prefix: &str) -> Result<Self, BackendError> {
        Self::load(loader, loader.precision, prefix, 2)
    }

    /// A projector of a single token: in bf16 where the large products are 8-bit.
    pub(super) fn small_projector(loader: &mut Loader<'_>, prefix: &str) -> Result<Self, BackendError> {
        Self::load(loader, super::small_precision(loader.precision, loader.isa), prefix, 2)
    }

    /// The action head, in f32 always: it costs nothing at one row.
    pub(super) fn action_head(loader: &mut Loader<'_>) -> Result<Self, BackendError> {
        Self::load(loader, Precision::F32, ACTION_HEAD, 3)
    }

    /// Element type of the rows it takes.
    pub(super) fn precision(&self) -> Precision {
        self.hidden[0].precision()
    }

    /// Runs all rows of `x`.
    pub(super) fn run(&mut self, isa: Isa, x: &Operand, out: &mut Matrix<f32>) -> Result<(), KernelError> {
        let Some((last, inner)) = self.layers.split_last() else { return Ok(()) };
        let [next, current] = &mut self.hidden;
        let (mut next, mut current) = (next, current);
        for (index, layer) in inner.iter().enumerate() {
            let from = if index == 0 { x } else { &*current };
            layer.feed(isa, from, Activation::GeluErf, next, &mut self.staging)?;
            std::mem::swap(&mut next, &mut current);
        }
        last.write(isa, if inner.is_empty() { x } else { current }, out)
    }
}
