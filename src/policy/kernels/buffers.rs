//! Cache-line aligned buffers and row-major matrices that are reshaped in place, never reallocated in steady
//! state.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// One cache line and one 512-bit vector.
const LINE: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for u16 {}
    impl Sealed for u8 {}
    impl Sealed for i8 {}
    impl Sealed for i32 {}
}

/// Number types of which every bit pattern is a value and zero bytes are zero.
pub trait Plain: sealed::Sealed + Copy + Default + Send + Sync + 'static {}
impl Plain for f32 {}
impl Plain for u16 {}
impl Plain for u8 {}
impl Plain for i8 {}
impl Plain for i32 {}

/// A growable slice that starts on a cache line.
pub struct Aligned<T: Plain> {
    lines: Vec<Line>,
    len: usize,
    kind: PhantomData<T>,
}

impl<T: Plain> Default for Aligned<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), len: 0, kind: PhantomData }
    }
}

impl<T: Plain> Aligned<T> {
    /// `len` zeros.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let mut buffer = Self::default();
        buffer.resize(len);
        buffer
    }

    /// Changes the length; new memory is zero, memory used before keeps its old numbers.
    pub fn resize(&mut self, len: usize) {
        let lines = (len * size_of::<T>()).div_ceil(LINE);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0; LINE]));
        }
        self.len = len;
    }

    /// Bytes held.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.lines.capacity() * LINE
    }
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `resize` keeps at least `len * size_of::<T>()` initialised bytes in `lines`, 64-byte aligned,
        // and every bit pattern is a `T` (`Plain` is sealed).
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast::<T>(), self.len) }
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes the access unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast::<T>(), self.len) }
    }
}

/// Views bytes as numbers; `None` when the address or the length does not fit.
#[must_use]
pub fn cast_bytes<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: every bit pattern is a `T` (`Plain` is sealed); `align_to` takes care of address and length.
    let (head, body, tail) = unsafe { bytes.align_to::<T>() };
    (head.is_empty() && tail.is_empty()).then_some(body)
}

/// Views numbers as bytes.
#[must_use]
pub fn as_bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: `Plain` types have no padding, and a byte has no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) }
}

/// Numbers from the start of one row to the start of the next: whole cache lines, and an odd number of them,
/// because rows a multiple of 4 KiB apart would share one set of the first-level cache.
#[must_use]
pub fn row_stride<T: Plain>(cols: usize) -> usize {
    let lines = (cols * size_of::<T>()).div_ceil(LINE) | 1;
    lines * LINE / size_of::<T>()
}

/// A row-major matrix whose rows start on cache lines.
#[derive(Default)]
pub struct Matrix<T: Plain> {
    data: Aligned<T>,
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<T: Plain> Matrix<T> {
    /// Zeros.
    #[must_use]
    pub fn zeroed(rows: usize, cols: usize) -> Self {
        let mut matrix = Self { data: Aligned::default(), rows: 0, cols: 0, stride: 0 };
        matrix.reshape(rows, cols);
        matrix
    }

    /// Changes the shape; the numbers are then unspecified (but initialised).
    pub fn reshape(&mut self, rows: usize, cols: usize) {
        self.stride = row_stride::<T>(cols);
        (self.rows, self.cols) = (rows, cols);
        self.data.resize(rows * self.stride);
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Numbers from one row to the next.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// One row without its padding; empty past the end.
    #[must_use]
    pub fn row(&self, index: usize) -> &[T] {
        self.data.get(index * self.stride..index * self.stride + self.cols).unwrap_or_default()
    }

    /// One row without its padding; empty past the end.
    pub fn row_mut(&mut self, index: usize) -> &mut [T] {
        self.data.get_mut(index * self.stride..index * self.stride + self.cols).unwrap_or_default()
    }

    /// All numbers with the padding between rows.
    #[must_use]
    pub fn padded(&self) -> &[T] {
        &self.data
    }

    /// All numbers with the padding between rows; chunks of [`Self::stride`] are rows.
    pub fn padded_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// Bytes held.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.data.capacity_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_start_on_cache_lines_and_never_a_page_apart() {
        for cols in [1, 12, 48, 64, 112, 1152, 2048, 5504] {
            assert!(row_stride::<f32>(cols) >= cols);
            assert_eq!(row_stride::<f32>(cols) * 4 % LINE, 0);
            assert_ne!(row_stride::<f32>(cols) * 4 % 4096, 0);
            assert_ne!(row_stride::<u16>(cols) * 2 % 4096, 0);
            assert!(row_stride::<u16>(cols) >= cols.next_multiple_of(32));
        }
        let matrix = Matrix::<f32>::zeroed(3, 5);
        assert_eq!(matrix.row(2).as_ptr() as usize % LINE, 0);
        assert_eq!((matrix.row(2).len(), matrix.row(3).len()), (5, 0));
    }

    #[test]
    fn reshaping_to_a_smaller_size_keeps_the_memory() {
        let mut matrix = Matrix::<u16>::zeroed(10, 100);
        let held = matrix.capacity_bytes();
        matrix.reshape(3, 7);
        matrix.reshape(10, 100);
        assert_eq!(matrix.capacity_bytes(), held);
    }

    #[test]
    fn misaligned_bytes_are_not_numbers() {
        let numbers = Aligned::<f32>::zeroed(4);
        let bytes = as_bytes(&numbers[..]);
        assert_eq!(cast_bytes::<f32>(bytes).map(<[f32]>::len), Some(4));
        assert!(cast_bytes::<f32>(&bytes[1..13]).is_none());
        assert!(cast_bytes::<f32>(&bytes[..15]).is_none());
    }
}
