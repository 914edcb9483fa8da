//! From 8-bit RGB to the float planes a vision tower reads.

use super::rgb::Rgb8;

/// Planes `[3][height][width]` of `(value * rescale_factor - mean) / std`.
///
/// Rounded as the field's image processors round: the product in f64, cast to f32, then subtraction and division in
/// f32. With 1/255, 0.5 and 0.5 that is not the same as `(value - 127.5) / 127.5`.
#[must_use]
pub fn normalise(source: &Rgb8, rescale_factor: f64, mean: [f32; 3], std: [f32; 3]) -> Vec<f32> {
    let table = |channel: usize| -> [f32; 256] {
        let (mean, std) = (mean[channel], std[channel]);
        std::array::from_fn(|value| ((value as f64 * rescale_factor) as f32 - mean) / std)
    };
    planes(source, [table(0), table(1), table(2)])
}

/// Planes `[3][height][width]` of `value / 255`, the range of a tactile picture.
#[must_use]
pub fn to_unit_chw(source: &Rgb8) -> Vec<f32> {
    let table: [f32; 256] = std::array::from_fn(|value| value as f32 / 255.0);
    planes(source, [table; 3])
}

fn planes(source: &Rgb8, [red, green, blue]: [[f32; 256]; 3]) -> Vec<f32> {
    let (pixels, _) = source.data().as_chunks::<3>();
    let mut out = Vec::with_capacity(pixels.len() * 3);
    out.extend(pixels.iter().map(|&[r, _, _]| red[usize::from(r)]));
    out.extend(pixels.iter().map(|&[_, g, _]| green[usize::from(g)]));
    out.extend(pixels.iter().map(|&[_, _, b]| blue[usize::from(b)]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_come_red_green_blue_and_keep_their_order() {
        let image = Rgb8::new(2, 1, vec![0, 51, 255, 255, 102, 0]).unwrap();
        assert_eq!(to_unit_chw(&image), [0.0, 1.0, 0.2, 0.4, 1.0, 0.0]);
        let out = normalise(&image, 1.0 / 255.0, [0.5, 0.0, 0.5], [0.5, 1.0, 0.25]);
        assert_eq!(out, [-1.0, 1.0, 0.2, 0.4, 2.0, -2.0]);
    }

    #[test]
    fn the_product_is_rounded_before_the_mean_is_taken() {
        let ramp = (0..=255).flat_map(|value| [value; 3]).collect();
        let image = Rgb8::new(256, 1, ramp).unwrap();
        let out = normalise(&image, 0.003_921_568_627_450_98, [0.5; 3], [0.5; 3]);
        let mut differing = 0;
        for (value, got) in out.iter().take(256).enumerate() {
            let at_once = (value as f32 - 127.5) / 127.5;
            assert!((got - at_once).abs() < 1.2e-7, "{value}: {got}");
            differing += usize::from(*got != at_once);
        }
        assert!(differing > 50, "only {differing} of 256 values tell the two formulas apart");
    }
}
