//! The two passes of the bicubic resize on AVX2, with plain code behind them where the machine lacks it.
//!
//! Horizontal: four taps at a time. A weight of 24 bits does not fit `madd`'s 16-bit lanes, so it is split into
//! `high * 2^11 + low`, both products are summed apart and joined at the end: exact, since every step is modulo 2^32
//! and the joined sum fits. Four rows share each weight that is loaded. Vertical: 32-bit multiply-add across a row.

use crate::policy::image::coefficients::Coefficients;
use crate::policy::image::resize::{horizontal_scalar, vertical_scalar};

/// Resizes each row of `rows` (whole rows of `row_bytes`, 3 bytes a pixel) into `out` (as many rows of
/// `table.target()` pixels).
pub fn horizontal(rows: &[u8], row_bytes: usize, table: &Coefficients, out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 was just detected; the function needs nothing else of its caller.
        unsafe { avx2::horizontal(rows, row_bytes, table, out) };
        return;
    }
    horizontal_scalar(rows, row_bytes, table, out);
}

/// Mixes rows of `row_bytes` into `table.target()` rows of `out`; `rows` starts at the first row `table` uses.
pub fn vertical(rows: &[u8], row_bytes: usize, table: &Coefficients, out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 was just detected; the function needs nothing else of its caller.
        unsafe { avx2::vertical(rows, row_bytes, table, out) };
        return;
    }
    vertical_scalar(rows, row_bytes, table, out);
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use crate::policy::image::coefficients::{Coefficients, PRECISION_BITS};
    use crate::policy::image::resize::vertical_scalar;

    const HALF: i32 = 1 << (PRECISION_BITS - 1);
    /// Bits of a weight in its low part.
    const LOW_BITS: u32 = 11;
    /// Rows that share one load of weights.
    const ROWS: usize = 4;
    /// Bytes a vector load may reach past the last tap.
    const OVERREAD: usize = 16;

    /// Four weights as `madd` wants them: low parts of taps 0,1 and 2,3, then the high parts.
    fn split(weights: &[i32]) -> Vec<[i32; 4]> {
        let pair = |a: i32, b: i32| (a & 0xffff) | (b << 16);
        let low = |w: i32| w & ((1 << LOW_BITS) - 1);
        let high = |w: i32| w >> LOW_BITS;
        let (quads, _) = weights.as_chunks::<4>();
        quads
            .iter()
            .map(|&[a, b, c, d]| {
                [pair(low(a), low(b)), pair(low(c), low(d)), pair(high(a), high(b)), pair(high(c), high(d))]
            })
            .collect()
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn horizontal(rows: &[u8], row_bytes: usize, table: &Coefficients, out: &mut [u8]) {
        let out_bytes = table.target() * 3;
        let quads = table.taps() / 4;
        let spans: Vec<usize> = table.padded_spans().map(|(first, _)| first * 3).collect();
        let weights: Vec<[i32; 4]> = table.padded_spans().flat_map(|(_, row)| split(row)).collect();
        // Rows are copied beside zeros, so that padded taps and the last loads stay inside.
        let stride = row_bytes + table.taps() * 3 + OVERREAD;
        let mut scratch = vec![0_u8; stride * ROWS];
        for (rows, out) in rows.chunks(row_bytes * ROWS).zip(out.chunks_mut(out_bytes * ROWS)) {
            for (row, scratch) in rows.chunks_exact(row_bytes).zip(scratch.chunks_exact_mut(stride)) {
                if let Some(place) = scratch.get_mut(..row_bytes) {
                    place.copy_from_slice(row);
                }
            }
            for (x, (&start, weights)) in spans.iter().zip(weights.chunks_exact(quads)).enumerate() {
                let pixels = four_rows(&scratch, stride, start, weights);
                for (out, pixel) in out.chunks_exact_mut(out_bytes).zip(pixels) {
                    if let Some(place) = out.get_mut(x * 3..x * 3 + 3) {
                        place.copy_from_slice(&pixel.to_le_bytes()[..3]);
                    }
                }
            }
        }
    }

    /// One target pixel of four rows, each as `0x??BBGGRR`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn four_rows(scratch: &[u8], stride: usize, start: usize, weights: &[[i32; 4]]) -> [u32; ROWS] {
        // Taps 0,1 in the low half and 2,3 in the high one, as 16-bit pairs: R R, G G, B B, nothing.
        let spread = _mm256_setr_epi8(
            0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, //
            6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,
        );
        let low_of = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
        let high_of = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
        let mut low = [_mm256_setzero_si256(); ROWS];
        let mut high = [_mm256_setzero_si256(); ROWS];
        for (i, quad) in weights.iter().enumerate() {
            // SAFETY: `quad` is 16 readable bytes.
            let quad = unsafe { _mm_loadu_si128(quad.as_ptr().cast()) };
            let quad = _mm256_castsi128_si256(quad);
            let (low_weights, high_weights) =
                (_mm256_permutevar8x32_epi32(quad, low_of), _mm256_permutevar8x32_epi32(quad, high_of));
            for row in 0..ROWS {
                let at = row * stride + start + i * 12;
                debug_assert!(at + OVERREAD <= scratch.len());
                // SAFETY: `start` is at most `row_bytes` and `i * 12` less than `taps * 3`, so the 16 bytes end
                // within this row's `stride` = `row_bytes + taps * 3 + 16`, of which `scratch` holds `ROWS`.
                let taps = unsafe { _mm_loadu_si128(scratch.as_ptr().add(at).cast()) };
                let taps = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(taps), spread);
                low[row] = _mm256_add_epi32(low[row], _mm256_madd_epi16(taps, low_weights));
                high[row] = _mm256_add_epi32(high[row], _mm256_madd_epi16(taps, high_weights));
            }
        }
        let joined =
            |row: usize| _mm256_add_epi32(low[row], _mm256_slli_epi32::<{ LOW_BITS as i32 }>(high[row]));
        // Both halves of two rows added at once: the sums of the first row low, of the second high.
        let halves_added = |a: __m256i, b: __m256i| {
            let sum = _mm256_add_epi32(
                _mm256_permute2x128_si256::<0x20>(a, b),
                _mm256_permute2x128_si256::<0x31>(a, b),
            );
            _mm256_srai_epi32::<{ PRECISION_BITS as i32 }>(_mm256_add_epi32(sum, _mm256_set1_epi32(HALF)))
        };
        let (first, second) = (halves_added(joined(0), joined(2)), halves_added(joined(1), joined(3)));
        let words = _mm256_packs_epi32(first, second);
        // Bytes of rows 0 and 1 start the low half, those of 2 and 3 the high one.
        let bytes = _mm256_packus_epi16(words, words);
        let (low, high) = (_mm256_extract_epi64::<0>(bytes) as u64, _mm256_extract_epi64::<2>(bytes) as u64);
        [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]
    }

    /// Bytes of a row mixed at a time: four accumulators of eight lanes.
    const STEP: usize = 32;

    #[target_feature(enable = "avx2")]
    pub(super) fn vertical(rows: &[u8], row_bytes: usize, table: &Coefficients, out: &mut [u8]) {
        if row_bytes < STEP {
            vertical_scalar(rows, row_bytes, table, out);
            return;
        }
        let start = table.used().start;
        for ((first, weights), out) in table.spans().zip(out.chunks_exact_mut(row_bytes)) {
            let from = (first - start) * row_bytes;
            let Some(rows) = rows.get(from..from + weights.len() * row_bytes) else { continue };
            let mut at = 0;
            while at < row_bytes {
                // The last step is moved back to end with the row; what it does twice comes out the same.
                at = at.min(row_bytes - STEP);
                let mixed = mix(rows, row_bytes, at, weights);
                if let Some(place) = out.get_mut(at..at + STEP) {
                    place.copy_from_slice(&mixed);
                }
                at += STEP;
            }
        }
    }

    /// Bytes `at..at + 32` of `weights.len()` rows, weighted and summed. `at + 32 <= row_bytes`, and `rows` holds
    /// exactly one row a weight.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn mix(rows: &[u8], row_bytes: usize, at: usize, weights: &[i32]) -> [u8; STEP] {
        assert!(at + STEP <= row_bytes && rows.len() == weights.len() * row_bytes);
        let mut sums = [_mm256_set1_epi32(HALF); STEP / 8];
        for (row, &weight) in weights.iter().enumerate() {
            let weight = _mm256_set1_epi32(weight);
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: eight bytes at `at + i * 8 <= at + 24`, within row `row` of `rows` by the assertion above.
                let bytes =
                    unsafe { _mm_loadl_epi64(rows.as_ptr().add(row * row_bytes + at + i * 8).cast()) };
                *sum = _mm256_add_epi32(*sum, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(bytes), weight));
            }
        }
        let [a, b, c, d] = sums.map(|sum| _mm256_srai_epi32::<{ PRECISION_BITS as i32 }>(sum));
        let bytes = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        // Packing works within 128-bit halves: put the eight dwords back in order.
        let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        let mut out = [0; STEP];
        // SAFETY: `out` is 32 writable bytes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes) };
        out
    }
}
