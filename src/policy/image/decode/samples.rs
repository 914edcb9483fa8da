//! From the samples a file stores to 8-bit RGB: Pillow's mode conversions.

/// 256 colours by index. What a file's palette leaves open is black, as in Pillow.
pub type Palette = [[u8; 3]; 256];

/// A palette of `colours`, which may be fewer or more than 256.
pub fn palette(colours: impl IntoIterator<Item = [u8; 3]>) -> Palette {
    let mut palette = [[0; 3]; 256];
    for (slot, colour) in palette.iter_mut().zip(colours) {
        *slot = colour;
    }
    palette
}

/// Looks every index up.
pub fn expand_palette(indices: &[u8], palette: &Palette) -> Vec<u8> {
    indices.iter().flat_map(|&index| palette[usize::from(index)]).collect()
}

/// Replicates grey into three channels.
pub fn expand_grey(grey: &[u8]) -> Vec<u8> {
    grey.iter().flat_map(|&value| [value; 3]).collect()
}

/// Keeps the first three of every `channels` samples.
pub fn first_three(samples: &[u8], channels: usize) -> Vec<u8> {
    samples.chunks_exact(channels).flat_map(|pixel| pixel.iter().take(3)).copied().collect()
}

/// Keeps the first of every `channels` samples, replicated.
pub fn first_as_grey(samples: &[u8], channels: usize) -> Vec<u8> {
    samples.iter().step_by(channels).flat_map(|&value| [value; 3]).collect()
}

/// Unpacks rows of `width` samples of `bits` (1, 2, 4 or 8) bits, high bits first, each row starting on a byte.
pub fn unpack(packed: &[u8], width: usize, bits: u8) -> Vec<u8> {
    if bits >= 8 {
        return packed.to_vec();
    }
    let per_byte = usize::from(8 / bits);
    let mask = (1_u8 << bits) - 1;
    let mut out = Vec::with_capacity(packed.len() * per_byte);
    for row in packed.chunks_exact(width.div_ceil(per_byte)) {
        let samples = row
            .iter()
            .flat_map(|&byte| (0..per_byte).map(move |i| (byte >> (8 - usize::from(bits) * (i + 1))) & mask));
        out.extend(samples.take(width));
    }
    out
}

/// Stretches grey samples of `bits` bits over 0 to 255, in place.
pub fn stretch_grey(grey: &mut [u8], bits: u8) {
    let factor = match bits {
        1 => 255,
        2 => 85,
        4 => 17,
        _ => return,
    };
    for value in grey {
        *value = value.wrapping_mul(factor);
    }
}

/// CMYK, 0 meaning no ink, to RGB: the white left by black, less its share that the ink takes.
pub fn cmyk_to_rgb([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let white = 255 - k;
    [c, m, y].map(|ink| white.saturating_sub(mul_div_255(ink, white)))
}

fn mul_div_255(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_rows_start_on_a_byte() {
        assert_eq!(unpack(&[0b1010_0000, 0b0100_0000], 3, 1), [1, 0, 1, 0, 1, 0]);
        assert_eq!(unpack(&[0b1101_1000, 0b0100_0000], 5, 2), [3, 1, 2, 0, 1]);
        assert_eq!(unpack(&[0x12, 0x30], 3, 4), [1, 2, 3]);
    }

    #[test]
    fn no_ink_is_white_and_black_takes_all() {
        assert_eq!(cmyk_to_rgb([0, 0, 0, 0]), [255; 3]);
        assert_eq!(cmyk_to_rgb([0, 0, 0, 255]), [0; 3]);
        assert_eq!(cmyk_to_rgb([255, 0, 0, 0]), [0, 255, 255]);
        assert_eq!(mul_div_255(255, 255), 255);
        assert_eq!(mul_div_255(1, 127), 0);
    }
}
