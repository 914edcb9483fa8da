//! What is done to a tile of sums while it is still in the first-level cache: bias, activation, residual and
//! conversion to the type the next product reads.

use super::PANEL;
use super::activation::{gelu_erf_of, gelu_tanh_of, silu_of};
use super::buffers::Matrix;
use super::isa::simd;
use super::quantise::{ZERO_POINT, bf16_bits};

/// One row of a tile.
pub(crate) type TileRow = [f32; PANEL];

/// Applied to sum + bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// GELU, tanh form.
    GeluTanh,
    /// GELU, erf form.
    GeluErf,
    /// max(x, 0).
    Relu,
    /// SiLU of the first 16 columns of a panel times the last 16: gate and up projections interleaved by 16
    /// columns. The product has half as many columns as the weight.
    SiluMul,
}

/// Where a product goes.
pub enum Sink<'a> {
    /// Overwrites f32 rows.
    F32(&'a mut Matrix<f32>),
    /// Overwrites bf16 rows.
    Bf16(&'a mut Matrix<u16>),
    /// Adds to f32 rows: a residual connection.
    Add(&'a mut Matrix<f32>),
    /// Adds to f32 rows and clamps at zero: the end of a ResNet block.
    AddRelu(&'a mut Matrix<f32>),
}

impl Sink<'_> {
    /// Rows and columns of the matrix behind it.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::F32(matrix) | Self::Add(matrix) | Self::AddRelu(matrix) => (matrix.rows(), matrix.cols()),
            Self::Bf16(matrix) => (matrix.rows(), matrix.cols()),
        }
    }
}

#[derive(Clone, Copy)]
enum Target {
    F32(*mut f32),
    Bf16(*mut u16),
    Add(*mut f32),
    AddRelu(*mut f32),
}

/// A sink shared by the threads of one product, each of which writes its own rows and columns.
#[derive(Clone, Copy)]
pub(crate) struct SharedSink {
    target: Target,
    stride: usize,
    rows: usize,
    cols: usize,
}

// SAFETY: the pointer comes from a unique borrow that outlives the product, and the only writer, `store`,
// requires of its callers that no two threads write the same elements.
unsafe impl Send for SharedSink {}
// SAFETY: as above.
unsafe impl Sync for SharedSink {}

impl SharedSink {
    /// Takes over the borrow; valid as long as `sink`'s borrow, which the caller must outlive.
    pub(crate) fn new(sink: &mut Sink<'_>) -> Self {
        let (rows, cols) = sink.shape();
        let (target, stride) = match sink {
            Sink::F32(matrix) => (Target::F32(matrix.padded_mut().as_mut_ptr()), matrix.stride()),
            Sink::Bf16(matrix) => (Target::Bf16(matrix.padded_mut().as_mut_ptr()), matrix.stride()),
            Sink::Add(matrix) => (Target::Add(matrix.padded_mut().as_mut_ptr()), matrix.stride()),
            Sink::AddRelu(matrix) => (Target::AddRelu(matrix.padded_mut().as_mut_ptr()), matrix.stride()),
        };
        Self { target, stride, rows, cols }
    }

    /// Writes `values` to row `row` from column `col`; numbers past the last column go to the row's padding
    /// where a store wants to be whole, and are dropped otherwise.
    ///
    /// # Safety
    /// The matrix is alive and borrowed by this sink, and no other thread touches these elements meanwhile.
    #[inline]
    pub(crate) unsafe fn store(self, isa: super::Isa, row: usize, col: usize, values: &[f32]) {
        if row >= self.rows || col >= self.cols {
            return;
        }
        let len = values.len().min(self.cols - col);
        // Padding is zero by construction of the panels, and bf16 rows are read past their last column.
        let padded = values.len().min(self.stride - col);
        let at = row * self.stride + col;
        match self.target {
            Target::F32(start) => {
                // SAFETY: row and col were checked, `len` stays in the row; uniqueness is the caller's promise.
                let out = unsafe { std::slice::from_raw_parts_mut(start.add(at), len) };
                out.copy_from_slice(&values[..len]);
            }
            Target::Bf16(start) => {
                // SAFETY: as above; `padded` stays inside the row's stride.
                let out = unsafe { std::slice::from_raw_parts_mut(start.add(at), padded) };
                super::quantise::to_bf16(isa, &values[..padded], out);
            }
            Target::Add(start) => {
                // SAFETY: as for F32.
                let out = unsafe { std::slice::from_raw_parts_mut(start.add(at), len) };
                add(isa, &values[..len], out);
            }
            Target::AddRelu(start) => {
                // SAFETY: as for F32.
                let out = unsafe { std::slice::from_raw_parts_mut(start.add(at), len) };
                add_relu(isa, &values[..len], out);
            }
        }
    }
}

#[inline(always)]
fn add_body<const FMA: bool>(values: &[f32], out: &mut [f32]) {
    for (o, v) in out.iter_mut().zip(values) {
        *o += v;
    }
}

#[inline(always)]
fn add_relu_body<const FMA: bool>(values: &[f32], out: &mut [f32]) {
    for (o, v) in out.iter_mut().zip(values) {
        let sum = *o + v;
        *o = if sum < 0.0 { 0.0 } else { sum };
    }
}

#[inline(always)]
fn finish_body<const FMA: bool>(tile: &mut [TileRow], bias: Option<&TileRow>, activation: Activation) {
    if let Some(bias) = bias {
        for row in tile.iter_mut() {
            for (v, b) in row.iter_mut().zip(bias) {
                *v += b;
            }
        }
    }
    match activation {
        Activation::Identity => {}
        Activation::GeluTanh => {
            for v in tile.as_flattened_mut() {
                *v = gelu_tanh_of::<FMA>(*v);
            }
        }
        Activation::GeluErf => {
            for v in tile.as_flattened_mut() {
                *v = gelu_erf_of::<FMA>(*v);
            }
        }
        Activation::Relu => {
            for v in tile.as_flattened_mut() {
                *v = if *v < 0.0 { 0.0 } else { *v };
            }
        }
        Activation::SiluMul => {
            for row in tile.iter_mut() {
                let (gate, up) = row.split_at_mut(PANEL / 2);
                for (g, u) in gate.iter_mut().zip(up) {
                    *g = silu_of::<FMA>(*g) * *u;
                }
            }
        }
    }
}

#[inline(always)]
fn dequantise_body<const FMA: bool>(
    tile: &mut [TileRow],
    rows: &[f32],
    steps: &TileRow,
    sums: &[i32; PANEL],
) {
    for (row, row_scale) in tile.iter_mut().zip(rows) {
        for ((v, step), sum) in row.iter_mut().zip(steps).zip(sums) {
            let whole = v.to_bits() as i32 - ZERO_POINT * sum;
            *v = whole as f32 * step * row_scale;
        }
    }
}

#[inline(always)]
fn scale_to_bf16_body<const FMA: bool>(values: &[f32], scale: f32, out: &mut [u16]) {
    for (o, v) in out.iter_mut().zip(values) {
        *o = bf16_bits(v * scale);
    }
}

simd! {
    /// `out += values`.
    pub fn add(values: &[f32], out: &mut [f32]) => add_body
}
simd! {
    fn add_relu(values: &[f32], out: &mut [f32]) => add_relu_body
}
simd! {
    /// Bias and activation on the rows of a tile.
    pub(crate) fn finish(tile: &mut [TileRow], bias: Option<&TileRow>, activation: Activation) => finish_body
}
simd! {
    /// Turns i32 sums of codes, held as bits, into numbers.
    pub(crate) fn dequantise(
        tile: &mut [TileRow],
        rows: &[f32],
        steps: &TileRow,
        sums: &[i32; PANEL],
    ) => dequantise_body
}
simd! {
    /// bf16 of `values * scale`.
    pub fn scale_to_bf16(values: &[f32], scale: f32, out: &mut [u16]) => scale_to_bf16_body
}
