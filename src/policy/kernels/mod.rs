//! Packed-weight SIMD kernels. Here and in [`crate::mapping`] alone is `unsafe` allowed, each block justified.
//!
//! Why own kernels: a step is 2.4 TFLOP of matrix products on fixed weights, so the weights can be laid out
//! once in the order the multiplier eats them, in the type it is fastest at (bf16 is twice f32, int8 four
//! times), and what follows a product (bias, activation, residual, conversion) can be done on a tile that is
//! still in the first-level cache. Everything public here is safe: lengths are checked where a product is
//! started, and an [`Isa`] can only be had for instructions the processor really has.
#![allow(unsafe_code)]

pub mod activation;
pub mod attention;
pub mod buffers;
pub mod epilogue;
pub mod gemm;
pub mod isa;
pub mod norm;
pub mod operand;
pub mod pack;
pub mod quantise;
pub mod resize;
pub mod rope;
mod tile_bf16;
mod tile_f32;
mod tile_i8;

pub use isa::{Isa, Level};

/// Columns of one packed weight panel: two 512-bit vectors of f32 sums.
pub const PANEL: usize = 32;
/// Rows of the register tile: 12 x 2 accumulators leave 8 of 32 vector registers for operands.
pub const TILE_ROWS: usize = 12;

/// A shape that does not fit, found before any arithmetic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// Two sizes that must agree do not.
    #[error("kernel {kernel}: {what} is {got}, expected {expected}")]
    Shape {
        /// Which kernel.
        kernel: &'static str,
        /// Which size.
        what: &'static str,
        /// What was passed.
        got: usize,
        /// What fits.
        expected: usize,
    },
    /// Operand and weight are of different element types.
    #[error("kernel {kernel}: operand is {operand:?}, the packed weight takes {weight:?}")]
    Precision {
        /// Which kernel.
        kernel: &'static str,
        /// Element type of the rows.
        operand: pack::Precision,
        /// Element type of the weight.
        weight: pack::Precision,
    },
}

pub(crate) fn expect_eq(
    kernel: &'static str,
    what: &'static str,
    got: usize,
    expected: usize,
) -> Result<(), KernelError> {
    if got == expected { Ok(()) } else { Err(KernelError::Shape { kernel, what, got, expected }) }
}

pub(crate) fn expect_le(
    kernel: &'static str,
    what: &'static str,
    got: usize,
    limit: usize,
) -> Result<(), KernelError> {
    if got <= limit { Ok(()) } else { Err(KernelError::Shape { kernel, what, got, expected: limit }) }
}
