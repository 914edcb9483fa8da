//! From 8-bit pixels to the numbers a network takes.

use super::rgb::Rgb8;

/// Channels first, `[3, height, width]`: `u8 * rescale_factor` in f64, cast to f32, then
/// `(x - mean) / std` in f32, as the original's image processor does.
#[must_use]
pub fn normalise(source: &Rgb8, rescale_factor: f64, mean: [f32; 3], std: [f32; 3]) -> Vec<f32> {
    let mut out = Vec::with_capacity(source.data().len());
    for channel in 0..3 {
        let table: [f32; 256] = std::array::from_fn(|level| {
            ((level as f64 * rescale_factor) as f32 - mean[channel]) / std[channel]
        });
        let (pixels, _) = source.data().as_chunks::<3>();
        out.extend(pixels.iter().map(|pixel| table[usize::from(pixel[channel])]));
    }
    out
}
