//! Number formats of stored tensors.

use half::{bf16, f16};

use crate::policy::weights::Stored;

/// Number format of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// IEEE half.
    F16,
    /// bfloat16.
    BF16,
    /// Signed 64-bit.
    I64,
    /// Signed 32-bit.
    I32,
    /// Signed 16-bit.
    I16,
    /// Signed 8-bit.
    I8,
    /// Unsigned 8-bit.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl From<Stored> for Element {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::F32 => Self::F32,
            Stored::Bf16 => Self::BF16,
            Stored::F16 => Self::F16,
        }
    }
}

impl Element {
    /// Bytes of one element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The name safetensors files use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    /// Whether a network can use weights stored so.
    #[must_use]
    pub fn is_weight(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// Index of the first element that is NaN or infinite; integers are always finite.
    #[must_use]
    pub fn first_not_finite(self, bytes: &[u8]) -> Option<usize> {
        fn find<const N: usize>(bytes: &[u8], all_ones: impl Fn([u8; N]) -> bool) -> Option<usize> {
            bytes.as_chunks::<N>().0.iter().position(|raw| all_ones(*raw))
        }
        const F64_EXPONENT: u64 = 0x7ff0 << 48;
        match self {
            Self::F64 => find(bytes, |raw| u64::from_le_bytes(raw) & F64_EXPONENT == F64_EXPONENT),
            Self::F32 => find(bytes, |raw| u32::from_le_bytes(raw) & 0x7f80_0000 == 0x7f80_0000),
            Self::F16 => find(bytes, |raw| u16::from_le_bytes(raw) & 0x7c00 == 0x7c00),
            Self::BF16 => find(bytes, |raw| u16::from_le_bytes(raw) & 0x7f80 == 0x7f80),
            _ => None,
        }
    }

    /// Rewrites weights in another weight format, rounding to nearest even; anything else is copied.
    #[must_use]
    pub fn cast(self, bytes: &[u8], to: Self) -> Vec<u8> {
        if self == to || !self.is_weight() || !to.is_weight() {
            return bytes.to_vec();
        }
        let mut out = Vec::with_capacity(bytes.len() / self.size() * to.size());
        let mut push = |value: f32| match to {
            Self::F16 => out.extend(f16::from_f32(value).to_le_bytes()),
            Self::BF16 => out.extend(bf16::from_f32(value).to_le_bytes()),
            _ => out.extend(value.to_le_bytes()),
        };
        let (halves, _) = bytes.as_chunks::<2>();
        match self {
            Self::F16 => halves.iter().for_each(|raw| push(f16::from_le_bytes(*raw).to_f32())),
            Self::BF16 => halves.iter().for_each(|raw| push(bf16::from_le_bytes(*raw).to_f32())),
            _ => bytes.as_chunks::<4>().0.iter().for_each(|raw| push(f32::from_le_bytes(*raw))),
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_nan_or_infinity_is_found_in_every_float_format() {
        let values = [1.0_f32, -3.0e38, f32::NEG_INFINITY, f32::NAN];
        let f32s: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let f64s: Vec<u8> = values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
        assert_eq!(Element::F32.first_not_finite(&f32s), Some(2));
        assert_eq!(Element::F64.first_not_finite(&f64s), Some(2));
        assert_eq!(Element::BF16.first_not_finite(&Element::F32.cast(&f32s, Element::BF16)), Some(2));
        assert_eq!(Element::F16.first_not_finite(&Element::F32.cast(&f32s, Element::F16)), Some(1));
        assert_eq!(Element::I64.first_not_finite(&[0xff; 16]), None);
    }

    #[test]
    fn casting_rounds_to_nearest_even_and_back_exactly() {
        let bytes = 1.003_906_3_f32.to_le_bytes();
        let narrow = Element::F32.cast(&bytes, Element::BF16);
        assert_eq!(bf16::from_le_bytes([narrow[0], narrow[1]]).to_f32(), 1.0);
        let wide = Element::BF16.cast(&narrow, Element::F32);
        assert_eq!(Element::F32.cast(&wide, Element::BF16), narrow);
    }
}
