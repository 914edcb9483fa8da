//! A tensor somewhere in a mapped file: found, not yet read.

use std::borrow::Cow;

use super::element::Element;

/// A tensor in place.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    element: Element,
    shape: Vec<usize>,
    strides: Vec<usize>,
    /// The storage from this tensor's first element to its end, little-endian.
    bytes: &'a [u8],
}

impl<'a> Tensor<'a> {
    /// A tensor whose elements follow each other, outermost dimension first.
    ///
    /// # Errors
    /// When `bytes` is not as long as the shape says.
    pub fn contiguous(element: Element, shape: &[usize], bytes: &'a [u8]) -> Result<Self, String> {
        let strides = row_major(shape).ok_or_else(|| format!("shape {shape:?} overflows"))?;
        let tensor = Self::strided(element, shape, &strides, bytes)?;
        if tensor.len().checked_mul(element.size()) != Some(bytes.len()) {
            return Err(format!("shape {shape:?} of {} does not take {} bytes", element.name(), bytes.len()));
        }
        Ok(tensor)
    }

    /// A tensor whose neighbours along dimension `d` lie `strides[d]` elements apart, starting at `bytes`.
    ///
    /// # Errors
    /// When an element would lie outside `bytes`, or the tensor repeats elements (an expanded view).
    pub fn strided(
        element: Element,
        shape: &[usize],
        strides: &[usize],
        bytes: &'a [u8],
    ) -> Result<Self, String> {
        if shape.len() != strides.len() {
            return Err(format!("shape {shape:?} and strides {strides:?} differ in length"));
        }
        let held = bytes.len() / element.size();
        let overflow = || format!("shape {shape:?} with strides {strides:?} overflows");
        let count =
            shape.iter().try_fold(1_usize, |count, side| count.checked_mul(*side)).ok_or_else(overflow)?;
        if count > 0 {
            let mut last = 0_usize;
            for (side, stride) in shape.iter().zip(strides) {
                let reach = (side - 1).checked_mul(*stride).ok_or_else(overflow)?;
                last = last.checked_add(reach).ok_or_else(overflow)?;
            }
            if last >= held {
                return Err(format!(
                    "shape {shape:?} with strides {strides:?} reaches element {last}, its storage holds {held}"
                ));
            }
        }
        if count > held {
            return Err(format!("shape {shape:?} repeats elements: its storage holds {held}"));
        }
        Ok(Self { element, shape: shape.to_vec(), strides: strides.to_vec(), bytes })
    }

    /// Number format.
    #[must_use]
    pub fn element(&self) -> Element {
        self.element
    }

    /// Shape, outermost dimension first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements row-major: in place where they lie so, else gathered (one tensor's worth of memory).
    #[must_use]
    pub fn row_major_bytes(&self) -> Cow<'a, [u8]> {
        let size = self.element.size();
        let length = self.len() * size;
        if length == 0 {
            return Cow::Borrowed(&[]);
        }
        if self.is_row_major()
            && let Some(bytes) = self.bytes.get(..length)
        {
            return Cow::Borrowed(bytes);
        }
        let mut gathered = Vec::with_capacity(length);
        let mut position = vec![0_usize; self.shape.len()];
        loop {
            let element: usize = position.iter().zip(&self.strides).map(|(at, stride)| at * stride).sum();
            gathered
                .extend_from_slice(self.bytes.get(element * size..(element + 1) * size).unwrap_or_default());
            if !advance(&mut position, &self.shape) {
                return Cow::Owned(gathered);
            }
        }
    }

    /// Whether both are the same elements of the same storage.
    #[must_use]
    pub fn is_same_memory(&self, other: &Self) -> bool {
        std::ptr::eq(self.bytes.as_ptr(), other.bytes.as_ptr())
            && (self.element, &self.shape, &self.strides) == (other.element, &other.shape, &other.strides)
    }

    /// Whether both hold the same bits.
    #[must_use]
    pub fn is_equal(&self, other: &Self) -> bool {
        self.is_same_memory(other)
            || ((self.element, &self.shape) == (other.element, &other.shape)
                && self.row_major_bytes() == other.row_major_bytes())
    }

    fn is_row_major(&self) -> bool {
        row_major(&self.shape).is_some_and(|expected| {
            // The stride of a dimension of one element is never used, and torch leaves any number there.
            let pairs = expected.iter().zip(&self.strides).zip(&self.shape);
            pairs.into_iter().all(|((expected, stride), side)| *side == 1 || expected == stride)
        })
    }
}

fn row_major(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1_usize; shape.len()];
    let mut step = 1_usize;
    for (stride, side) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.checked_mul((*side).max(1))?;
    }
    Some(strides)
}

/// Counts `position` up within `shape`, last dimension fastest; `false` once every position was seen.
fn advance(position: &mut [usize], shape: &[usize]) -> bool {
    for (at, side) in position.iter_mut().zip(shape).rev() {
        *at += 1;
        if *at < *side {
            return true;
        }
        *at = 0;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_transposed_tensor_is_gathered_row_major() {
        let tensor = Tensor::strided(Element::U8, &[3, 2], &[1, 3], &[1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(&*tensor.row_major_bytes(), [1, 4, 2, 5, 3, 6]);
        let plain = Tensor::contiguous(Element::U8, &[3, 2], &[1, 4, 2, 5, 3, 6]).unwrap();
        assert!(tensor.is_equal(&plain) && !tensor.is_same_memory(&plain));
    }

    #[test]
    fn elements_outside_the_storage_and_repeated_elements_are_refused() {
        let bytes = [0_u8; 24];
        assert!(Tensor::strided(Element::F32, &[3, 2], &[2, 1], &bytes).is_ok());
        assert!(Tensor::strided(Element::F32, &[3, 2], &[3, 1], &bytes).unwrap_err().contains("element 7"));
        assert!(Tensor::strided(Element::F32, &[1 << 40], &[0], &bytes).unwrap_err().contains("repeats"));
        assert!(Tensor::strided(Element::F32, &[1 << 40, 1 << 40], &[0, 0], &bytes).is_err());
        assert!(Tensor::contiguous(Element::F32, &[5], &bytes).is_err());
    }

    proptest! {
        #[test]
        fn no_shape_or_stride_panics(
            shape in proptest::collection::vec(any::<usize>(), 0..4),
            strides in proptest::collection::vec(0_usize..9, 0..4),
        ) {
            let small: Vec<usize> = shape.iter().map(|side| side % 4).collect();
            let bytes = [7_u8; 64];
            for shape in [&shape, &small] {
                if let Ok(tensor) = Tensor::strided(Element::I16, shape, &strides, &bytes) {
                    prop_assert_eq!(tensor.row_major_bytes().len(), tensor.len() * 2);
                }
            }
        }
    }
}
