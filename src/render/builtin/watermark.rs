//! The word in the corner: nobody should take these pictures for a reconstruction.

use super::picture::Picture;

/// The letters of "preview", five columns by seven rows, a row a byte, the leftmost column the highest of five bits.
const LETTERS: [[u8; 7]; 7] = [
    [0, 0, 0b11110, 0b10001, 0b11110, 0b10000, 0b10000],
    [0, 0, 0b10110, 0b11001, 0b10000, 0b10000, 0b10000],
    [0, 0, 0b01110, 0b10001, 0b11111, 0b10000, 0b01110],
    [0, 0, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100],
    [0b00100, 0, 0b01100, 0b00100, 0b00100, 0b00100, 0b01110],
    [0, 0, 0b01110, 0b10001, 0b11111, 0b10000, 0b01110],
    [0, 0, 0b10001, 0b10001, 0b10101, 0b10101, 0b01010],
];
/// Columns from a letter to the next.
const ADVANCE: usize = 6;
/// Pixels to the edge of the picture, at single size.
const MARGIN: usize = 5;
/// How far letters go from what is there to white, of 256.
const STRENGTH: u32 = 150;

/// Writes "preview" into the lower right corner, where there is room.
pub(super) fn stamp(picture: &mut Picture) {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let size = (height / 400 + 1).min(4);
    let (across, down) = (LETTERS.len() * ADVANCE * size, 7 * size);
    if width < across * 2 || height < down * 4 {
        return;
    }
    let (left, top) = (width - across - MARGIN * size, height - down - MARGIN * size);
    for (index, letter) in LETTERS.iter().enumerate() {
        for y in 0..down {
            for x in 0..5 * size {
                let bits = letter.get(y / size).copied().unwrap_or(0);
                if bits >> (4 - x / size) & 1 == 1 {
                    let start = ((top + y) * width + left + index * ADVANCE * size + x) * 3;
                    for value in picture.rgb.get_mut(start..start + 3).unwrap_or_default() {
                        let old = u32::from(*value);
                        *value = (old + (((255 - old) * STRENGTH) >> 8)) as u8;
                    }
                }
            }
        }
    }
}
