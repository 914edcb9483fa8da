//! The left side of a product: rows of activations in the element type the packed weight takes.

use std::cell::RefCell;

use rayon::prelude::*;

use super::Isa;
use super::buffers::Matrix;
use super::pack::Precision;
use super::quantise::{quantise_row, to_bf16};

/// Rows a thread takes at least; smaller pieces cost more to hand out than to compute.
const MIN_ROWS: usize = 8;

thread_local! {
    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Activations, reshaped and refilled in place.
pub enum Operand {
    /// f32 rows.
    F32(Matrix<f32>),
    /// bf16 rows, as bits.
    Bf16(Matrix<u16>),
    /// 8-bit rows around a zero point of 128, and one scale a row.
    Int8 {
        /// Codes.
        codes: Matrix<u8>,
        /// What one code step is worth, by row.
        scales: Vec<f32>,
    },
}

impl Operand {
    /// An empty operand for weights of this precision.
    #[must_use]
    pub fn new(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32(Matrix::default()),
            Precision::Bf16 => Self::Bf16(Matrix::default()),
            Precision::Int8 => Self::Int8 { codes: Matrix::default(), scales: Vec::new() },
        }
    }

    /// Element type.
    #[must_use]
    pub fn precision(&self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::Bf16(_) => Precision::Bf16,
            Self::Int8 { .. } => Precision::Int8,
        }
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::F32(matrix) => matrix.rows(),
            Self::Bf16(matrix) => matrix.rows(),
            Self::Int8 { codes, .. } => codes.rows(),
        }
    }

    /// Columns: the `k` of the product.
    #[must_use]
    pub fn cols(&self) -> usize {
        match self {
            Self::F32(matrix) => matrix.cols(),
            Self::Bf16(matrix) => matrix.cols(),
            Self::Int8 { codes, .. } => codes.cols(),
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        match self {
            Self::F32(matrix) => matrix.capacity_bytes(),
            Self::Bf16(matrix) => matrix.capacity_bytes(),
            Self::Int8 { codes, scales } => codes.capacity_bytes() + scales.capacity() * 4,
        }
    }

    /// Changes the shape; every row must then be filled.
    pub fn reshape(&mut self, rows: usize, cols: usize) {
        match self {
            Self::F32(matrix) => matrix.reshape(rows, cols),
            Self::Bf16(matrix) => matrix.reshape(rows, cols),
            Self::Int8 { codes, scales } => {
                codes.reshape(rows, cols);
                scales.resize(rows, 0.0);
            }
        }
    }

    /// Makes it `rows` x `cols`, each row what `produce(row, out)` writes (all of `out`), rows in parallel.
    pub fn fill(&mut self, isa: Isa, rows: usize, cols: usize, produce: impl Fn(usize, &mut [f32]) + Sync) {
        self.reshape(rows, cols);
        match self {
            Self::F32(matrix) => {
                let stride = matrix.stride();
                let chunks = matrix.padded_mut().par_chunks_mut(stride).with_min_len(MIN_ROWS);
                chunks.enumerate().for_each(|(index, row)| {
                    if let Some(out) = row.get_mut(..cols) {
                        produce(index, out);
                    }
                });
            }
            Self::Bf16(matrix) => {
                let stride = matrix.stride();
                let chunks = matrix.padded_mut().par_chunks_mut(stride).with_min_len(MIN_ROWS);
                chunks.enumerate().for_each(|(index, row)| {
                    with_row(cols, |values| {
                        produce(index, values);
                        let (body, padding) = row.split_at_mut(cols.min(row.len()));
                        to_bf16(isa, values, body);
                        padding.fill(0);
                    });
                });
            }
            Self::Int8 { codes, scales } => {
                let stride = codes.stride();
                let chunks = codes.padded_mut().par_chunks_mut(stride).zip(scales.par_iter_mut());
                chunks.with_min_len(MIN_ROWS).enumerate().for_each(|(index, (row, scale))| {
                    with_row(cols, |values| {
                        produce(index, values);
                        *scale = quantise_row(isa, values, row);
                    });
                });
            }
        }
    }
}

/// A scratch row of this thread, allocated once.
pub(crate) fn with_row<R>(cols: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    ROW.with_borrow_mut(|row| {
        if row.len() < cols {
            row.resize(cols, 0.0);
        }
        work(row.get_mut(..cols).unwrap_or_default())
    })
}
