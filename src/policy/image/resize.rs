//! Pillow's bicubic resize in integers, bit for bit, because existing policies were trained on its output.
//!
//! Two passes, horizontal then vertical, each with 22-bit weights, rounded and clamped to 8 bits in between
//! (`ImagingResampleInner` of Pillow 12.1; Pillow 13 swaps the passes for some shapes). A pass whose size does
//! not change is skipped, and the horizontal one covers only the rows the vertical one reads.

use std::sync::Arc;

use super::coefficients::{Coefficients, PRECISION_BITS};
use super::rgb::Rgb8;
use crate::policy::kernels::resize as kernel;

/// Half a unit in fixed point: added before the shift, it rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Resizes to `width` x `height` pixels, stretching as needed: equal to
/// `Image.resize((width, height), Image.BICUBIC)` of Pillow 12.1, byte for byte. A target side of 0 is taken as 1.
///
/// Every source of at least 1x1 is treated alike. The server this replaces failed on pictures one pixel high and
/// read those three pixels high as channels first: accidents of its array library, left out on purpose.
#[must_use]
pub fn resize_bicubic(source: &Rgb8, width: u32, height: u32) -> Rgb8 {
    resize_with(source, width.max(1), height.max(1), kernel::horizontal, kernel::vertical)
}

type Pass = fn(&[u8], usize, &Coefficients, &mut [u8]);

fn resize_with(source: &Rgb8, width: u32, height: u32, horizontal: Pass, vertical: Pass) -> Rgb8 {
    let down: Option<Arc<Coefficients>> =
        (height != source.height()).then(|| Coefficients::cached(source.height(), height));
    let rows = down.as_ref().map_or(0..source.height() as usize, |table| table.used());
    let row_bytes = source.row_bytes();
    let needed = source.data().get(rows.start * row_bytes..rows.end * row_bytes).unwrap_or_default();

    let narrowed = (width != source.width()).then(|| {
        let across = Coefficients::cached(source.width(), width);
        let mut out = vec![0; rows.len() * width as usize * 3];
        horizontal(needed, row_bytes, &across, &mut out);
        out
    });
    let Some(down) = down else {
        return picture(width, height, narrowed.unwrap_or_else(|| source.data().to_vec()));
    };
    let row_bytes = width as usize * 3;
    let mut out = vec![0; height as usize * row_bytes];
    match &narrowed {
        // Row numbers of the table count from the top of the picture, `narrowed` starts at the first one used.
        Some(narrowed) => vertical(narrowed, row_bytes, &down, &mut out),
        None => vertical(needed, row_bytes, &down, &mut out),
    }
    picture(width, height, out)
}

fn picture(width: u32, height: u32, data: Vec<u8>) -> Rgb8 {
    Rgb8::new(width, height, data).unwrap_or_else(|_| Rgb8::filled(width, height, [0; 3]))
}

/// One row at a time, in plain code: what the vector kernels are tested against, and what runs without them.
/// `rows` holds whole rows of `row_bytes`; `out` receives as many rows of `table.target()` pixels.
pub fn horizontal_scalar(rows: &[u8], row_bytes: usize, table: &Coefficients, out: &mut [u8]) {
    for (row, out) in rows.chunks_exact(row_bytes).zip(out.chunks_exact_mut(table.target() * 3)) {
        let (pixels, _) = row.as_chunks::<3>();
        let (targets, _) = out.as_chunks_mut::<3>();
        for ((first, weights), target) in table.spans().zip(targets) {
            let mut sum = [HALF; 3];
            for (pixel, &weight) in pixels.iter().skip(first).zip(weights) {
                for (sum, &value) in sum.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            *target = sum.map(to_u8);
        }
    }
}

/// Mixes whole rows: `rows` starts at the first source row that `table` uses.
pub fn vertical_scalar(rows: &[u8], row_bytes: usize, table: &Coefficients, out: &mut [u8]) {
    let start = table.used().start;
    let mut sums = vec![HALF; row_bytes];
    for ((first, weights), out) in table.spans().zip(out.chunks_exact_mut(row_bytes)) {
        sums.fill(HALF);
        for (row, &weight) in rows.chunks_exact(row_bytes).skip(first - start).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        for (out, &sum) in out.iter_mut().zip(&sums) {
            *out = to_u8(sum);
        }
    }
}

fn to_u8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(width: u32, height: u32, seed: u32) -> Rgb8 {
        let mut state = seed | 1;
        let data = (0..width * height * 3)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                // Mostly extremes: they are what overshoots and clamps.
                match state % 4 {
                    0 => 0,
                    1 => 255,
                    _ => (state >> 8) as u8,
                }
            })
            .collect();
        Rgb8::new(width, height, data).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn vector_kernels_equal_plain_code_bit_for_bit(
            from in (1_u32..130, 1_u32..130), to in (1_u32..130, 1_u32..130), seed: u32,
        ) {
            let source = noise(from.0, from.1, seed);
            let plain = resize_with(&source, to.0, to.1, horizontal_scalar, vertical_scalar);
            prop_assert!(resize_bicubic(&source, to.0, to.1) == plain);
        }

        #[test]
        fn one_colour_stays_that_colour(
            from in (1_u32..300, 1_u32..50), to in (1_u32..100, 1_u32..300), rgb: [u8; 3],
        ) {
            let out = resize_bicubic(&Rgb8::filled(from.0, from.1, rgb), to.0, to.1);
            prop_assert!(out == Rgb8::filled(to.0, to.1, rgb));
        }

        #[test]
        fn turning_the_picture_upside_down_turns_the_result(
            from in (1_u32..40, 1_u32..40), to in (1_u32..40, 1_u32..40), seed: u32,
        ) {
            let flip = |image: &Rgb8| {
                let rows = image.data().chunks_exact(image.row_bytes()).rev().flatten().copied().collect();
                Rgb8::new(image.width(), image.height(), rows).unwrap()
            };
            let source = noise(from.0, from.1, seed);
            let (a, b) = (flip(&resize_bicubic(&source, to.0, to.1)), resize_bicubic(&flip(&source), to.0, to.1));
            let off = a.data().iter().zip(b.data()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            prop_assert!(off <= 1, "off by {off}");
        }
    }

    #[test]
    fn long_thin_pictures_go_through_both_ways() {
        for (from, to) in [((65_535, 1), (3, 2)), ((1, 65_535), (2, 3)), ((1, 1), (384, 384))] {
            let source = noise(from.0, from.1, 7);
            let plain = resize_with(&source, to.0, to.1, horizontal_scalar, vertical_scalar);
            assert!(resize_bicubic(&source, to.0, to.1) == plain, "{from:?} -> {to:?}");
        }
    }
}
