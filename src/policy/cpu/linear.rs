//! A linear layer over a packed weight, and where its result goes.

use crate::policy::kernels::buffers::Matrix;
use crate::policy::kernels::epilogue::{Activation, Sink};
use crate::policy::kernels::gemm::Product;
use crate::policy::kernels::operand::Operand;
use crate::policy::kernels::pack::Packed;
use crate::policy::kernels::{Isa, KernelError, PANEL};

/// `y = x W^T + b`.
pub(super) struct Linear {
    pub(super) packed: Packed,
    /// Padded to whole panels.
    pub(super) bias: Option<Vec<f32>>,
    /// Columns of the result; half the weight's for a gate and up projection.
    pub(super) cols: usize,
}

impl Linear {
    /// The product with all rows of `x`.
    pub(super) fn product<'a>(&'a self, x: &'a Operand, activation: Activation) -> Product<'a> {
        Product { bias: self.bias.as_deref(), activation, ..Product::new(x, &self.packed) }
    }

    /// Overwrites `out`.
    pub(super) fn write(&self, isa: Isa, x: &Operand, out: &mut Matrix<f32>) -> Result<(), KernelError> {
        out.reshape(x.rows(), self.cols);
        self.product(x, Activation::Identity).run(isa, Sink::F32(out))
    }

    /// Adds to `out`: a residual connection.
    pub(super) fn add(&self, isa: Isa, x: &Operand, out: &mut Matrix<f32>) -> Result<(), KernelError> {
        self.product(x, Activation::Identity).run(isa, Sink::Add(out))
    }

    /// Makes the rows of the next product.
    pub(super) fn feed(
        &self,
        isa: Isa,
        x: &Operand,
        activation: Activation,
        out: &mut Operand,
        staging: &mut Matrix<f32>,
    ) -> Result<(), KernelError> {
        let product = self.product(x, activation);
        into_operand(isa, (x.rows(), self.cols), out, staging, |sink| product.run(isa, sink))
    }
}

/// Lets `produce` write rows in the operand's element type; 8-bit rows need their largest number first, so they
/// pass through f32.
pub(super) fn into_operand(
    isa: Isa,
    (rows, cols): (usize, usize),
    out: &mut Operand,
    staging: &mut Matrix<f32>,
    produce: impl FnOnce(Sink<'_>) -> Result<(), KernelError>,
) -> Result<(), KernelError> {
    out.reshape(rows, cols);
    match out {
        Operand::F32(matrix) => produce(Sink::F32(matrix)),
        Operand::Bf16(matrix) => produce(Sink::Bf16(matrix)),
        Operand::Int8 { .. } => {
            staging.reshape(rows, cols);
            produce(Sink::F32(staging))?;
            out.fill(isa, rows, cols, |row, values| values.copy_from_slice(staging.row(row)));
            Ok(())
        }
    }
}

/// Pads a bias to whole panels.
pub(super) fn pad_bias(mut bias: Vec<f32>) -> Vec<f32> {
    bias.resize(bias.len().next_multiple_of(PANEL), 0.0);
    bias
}
