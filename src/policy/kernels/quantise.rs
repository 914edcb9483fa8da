//! Rows of f32 into the element types of the products: bf16, and 8-bit with one scale a row.

use super::isa::simd;

/// Code of 0.0 in an unsigned 8-bit row: VNNI multiplies unsigned rows by signed weights.
pub const ZERO_POINT: i32 = 128;

const ROUND: f32 = 12_582_912.0;

/// Nearest bf16, ties to even, as bits.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let nan = (bits >> 16) | 0x40;
    (if x.is_nan() { nan } else { rounded }) as u16
}

/// The f32 of bf16 bits.
#[inline(always)]
pub(crate) fn bf16_value(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[inline(always)]
fn to_bf16_body<const FMA: bool>(values: &[f32], out: &mut [u16]) {
    for (o, x) in out.iter_mut().zip(values) {
        *o = bf16_bits(*x);
    }
}

#[inline(always)]
pub(crate) fn max_abs(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let chunks = values.chunks_exact(16);
    let tail = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            let v = value.abs();
            *lane = if v > *lane { v } else { *lane };
        }
    }
    let folded = lanes.iter().fold(0.0f32, |a, b| if *b > a { *b } else { a });
    tail.iter().fold(folded, |a, b| if b.abs() > a { b.abs() } else { a })
}

#[inline(always)]
fn quantise_body<const FMA: bool>(values: &[f32], out: &mut [u8]) -> f32 {
    let largest = max_abs(values).max(f32::MIN_POSITIVE * 256.0);
    let inverse = 127.0 / largest;
    for (o, x) in out.iter_mut().zip(values) {
        let code = (x * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits());
        *o = code.wrapping_add(ZERO_POINT as u32) as u8;
    }
    largest / 127.0
}

simd! {
    /// Nearest bf16 bits of every number; both slices have one length.
    pub fn to_bf16(values: &[f32], out: &mut [u16]) => to_bf16_body
}
simd! {
    /// Codes `128 + round(127 x / max|x|)` of one row; returns the scale that turns `code - 128` back.
    pub fn quantise_row(values: &[f32], out: &mut [u8]) -> f32 => quantise_body
}

#[cfg(test)]
mod tests {
    use super::super::isa::tests::all;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bf16_rounds_as_the_half_crate_does(bits in prop::collection::vec(any::<u32>(), 1..80)) {
            let values: Vec<f32> = bits.iter().map(|b| f32::from_bits(*b)).collect();
            for isa in all() {
                let mut out = vec![0u16; values.len()];
                to_bf16(isa, &values, &mut out);
                for (x, y) in values.iter().zip(&out) {
                    if x.is_nan() {
                        prop_assert!(half::bf16::from_bits(*y).is_nan());
                    } else {
                        prop_assert_eq!(half::bf16::from_f32(*x).to_bits(), *y);
                    }
                }
            }
        }

        #[test]
        fn quantised_rows_are_within_half_a_step(values in prop::collection::vec(-50.0f32..50.0, 1..100)) {
            for isa in all() {
                let mut out = vec![0u8; values.len()];
                let scale = quantise_row(isa, &values, &mut out);
                for (x, code) in values.iter().zip(&out) {
                    let back = (f32::from(*code) - 128.0) * scale;
                    prop_assert!((x - back).abs() <= scale * 0.501);
                }
            }
        }
    }

    #[test]
    fn a_row_of_zeros_quantises_to_the_zero_point() {
        for isa in all() {
            let mut out = [7u8; 20];
            let scale = quantise_row(isa, &[0.0; 20], &mut out);
            assert!(scale.is_finite() && out.iter().all(|code| *code == 128));
        }
    }
}
