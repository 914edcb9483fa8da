//! Windows and OS/2 bitmaps, read here: 1, 4, 8, 16, 24 and 32 bits, RLE4 and RLE8, scaled as Pillow scales.

use super::samples::{Palette, expand_palette, palette, unpack};
use super::{broken, truncated, unsupported};
use crate::policy::image::{DecodeLimits, Format, ImageError, Rgb8};

const RAW: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const BITFIELDS: u32 = 3;

pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Rgb8, ImageError> {
    let header = Header::read(bytes)?;
    limits.check(header.width, header.height)?;
    let start = header.pixels_at;
    let data = bytes.get(start..).unwrap_or_default();
    let (width, height) = (header.width as usize, header.height as usize);
    let mut rgb = match header.compression {
        RLE8 | RLE4 => {
            let indices = run_lengths(data, width, height, header.compression == RLE4)
                .ok_or_else(|| truncated(Format::Bmp, bytes, "its run-length data is not complete"))?;
            expand_palette(&indices, &header.palette)
        }
        _ => rows(data, &header).ok_or_else(|| {
            let needed = start + header.row_bytes() * height;
            truncated(
                Format::Bmp,
                bytes,
                format_args!("{width}x{height} at {} bits needs {needed}", header.bits),
            )
        })?,
    };
    if !header.top_down {
        let row_bytes = width * 3;
        let (mut top, mut bottom) = (0, height - 1);
        while top < bottom {
            let (above, below) = rgb.split_at_mut(bottom * row_bytes);
            if let (Some(a), Some(b)) =
                (above.get_mut(top * row_bytes..(top + 1) * row_bytes), below.get_mut(..row_bytes))
            {
                a.swap_with_slice(b);
            }
            (top, bottom) = (top + 1, bottom - 1);
        }
    }
    Rgb8::new(header.width, header.height, rgb)
}

struct Header {
    width: u32,
    height: u32,
    top_down: bool,
    bits: u16,
    compression: u32,
    layout: Layout,
    palette: Palette,
    pixels_at: usize,
}

/// How a pixel of more than eight bits is stored.
#[derive(Clone, Copy)]
enum Layout {
    /// Byte positions of red, green and blue.
    Bytes([usize; 3]),
    /// Bits of green in a 16-bit word: 5 or 6.
    Word(u32),
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        let short = || truncated(Format::Bmp, bytes, "its header is not complete");
        let u16_at = |at: usize| {
            bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes).ok_or_else(short)
        };
        let u32_at = |at: usize| {
            bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes).ok_or_else(short)
        };
        let header_size = u32_at(14)?;
        let after_header = 14 + header_size as usize;
        if bytes.len() < after_header {
            return Err(short());
        }
        let old = header_size == 12;
        if !(old || matches!(header_size, 40 | 52 | 56 | 64 | 108 | 124)) {
            return Err(unsupported(Format::Bmp, format_args!("header of {header_size} bytes")));
        }
        let (width, height, bits, compression, colours) = if old {
            (u32::from(u16_at(18)?), i64::from(u16_at(20)?), u16_at(24)?, RAW, 0)
        } else {
            (u32_at(18)?, i64::from(u32_at(22)? as i32), u16_at(28)?, u32_at(30)?, u32_at(46)?)
        };
        let mut pixels_at = u32_at(10)? as usize;
        let mut layout = match bits {
            1 | 4 | 8 | 24 | 32 => Layout::Bytes([2, 1, 0]),
            16 => Layout::Word(5),
            _ => return Err(unsupported(Format::Bmp, format_args!("{bits} bits a pixel"))),
        };
        match (compression, bits) {
            (RAW, _) | (RLE8, 8) | (RLE4, 4) => {}
            (BITFIELDS, 16 | 24 | 32) => {
                let masks = [u32_at(54)?, u32_at(58)?, u32_at(62)?];
                layout = Layout::from_masks(bits, masks).ok_or_else(|| {
                    unsupported(Format::Bmp, format_args!("bit masks {masks:08x?} at {bits} bits"))
                })?;
            }
            _ => {
                let detail = format_args!("compression {compression} at {bits} bits").to_string();
                return Err(unsupported(Format::Bmp, detail));
            }
        }
        let entry = if old { 3 } else { 4 };
        let colours = match colours {
            0 if bits <= 8 => 1 << bits,
            colours => colours as usize,
        };
        let mut table = palette([]);
        if bits <= 8 {
            if colours > 65_536 {
                return Err(broken(Format::Bmp, format_args!("a palette of {colours} colours")));
            }
            let end = (after_header + colours * entry).min(bytes.len());
            let stored = bytes.get(after_header..end).unwrap_or_default();
            table = palette(stored.chunks_exact(entry).filter_map(|colour| match colour {
                [blue, green, red, ..] => Some([*red, *green, *blue]),
                _ => None,
            }));
            // Some writers point at the palette: the pixels follow it.
            if pixels_at == after_header {
                pixels_at += 4 * colours;
            }
        }
        if pixels_at == 0 {
            pixels_at = after_header + if bits <= 8 { colours * entry } else { 0 };
        }
        let size = u32::try_from(height.unsigned_abs()).unwrap_or(u32::MAX);
        Ok(Self {
            width,
            height: size,
            top_down: height < 0,
            bits,
            compression,
            layout,
            palette: table,
            pixels_at,
        })
    }

    /// Bytes of a stored row: padded to four.
    fn row_bytes(&self) -> usize {
        (self.width as usize * usize::from(self.bits)).div_ceil(32) * 4
    }
}

impl Layout {
    /// From the red, green and blue masks, for the layouts in use.
    fn from_masks(bits: u16, masks: [u32; 3]) -> Option<Self> {
        if bits == 16 {
            return match masks {
                [0xf800, 0x07e0, 0x001f] => Some(Self::Word(6)),
                [0x7c00, 0x03e0, 0x001f] => Some(Self::Word(5)),
                _ => None,
            };
        }
        if masks == [0; 3] {
            return Some(Self::Bytes([2, 1, 0]));
        }
        let byte = |mask: u32| match mask {
            0x0000_00ff => Some(0),
            0x0000_ff00 => Some(1),
            0x00ff_0000 => Some(2),
            0xff00_0000 if bits == 32 => Some(3),
            _ => None,
        };
        let [red, green, blue] = masks.map(byte);
        Some(Self::Bytes([red?, green?, blue?]))
    }

    fn rgb(self, pixel: &[u8]) -> [u8; 3] {
        match self {
            Self::Bytes(at) => at.map(|at| pixel.get(at).copied().unwrap_or_default()),
            Self::Word(green_bits) => {
                let word = pixel.iter().rev().fold(0_u32, |word, &byte| (word << 8) | u32::from(byte));
                let part = |shift: u32, bits: u32| {
                    let top = (1 << bits) - 1;
                    (((word >> shift) & top) * 255 / top) as u8
                };
                [part(5 + green_bits, 5), part(5, green_bits), part(0, 5)]
            }
        }
    }
}

/// Uncompressed rows in stored order; `None` when there are too few bytes. The padding of the last row may be missing.
fn rows(data: &[u8], header: &Header) -> Option<Vec<u8>> {
    let (width, height) = (header.width as usize, header.height as usize);
    let stride = header.row_bytes();
    let used = (width * usize::from(header.bits)).div_ceil(8);
    if data.len() < stride * (height - 1) + used {
        return None;
    }
    let mut rgb = Vec::with_capacity(width * height * 3);
    for row in data.chunks(stride).take(height) {
        let row = row.get(..used)?;
        if header.bits <= 8 {
            rgb.extend(expand_palette(&unpack(row, width, header.bits as u8), &header.palette));
        } else {
            let pixels = row.chunks_exact(usize::from(header.bits / 8));
            rgb.extend(pixels.flat_map(|pixel| header.layout.rgb(pixel)));
        }
    }
    Some(rgb)
}

/// Run-length coded indices, rows in stored order; `None` when they end before the picture does.
fn run_lengths(data: &[u8], width: usize, height: usize, nibbles: bool) -> Option<Vec<u8>> {
    let mut bytes = data.iter().copied();
    let mut out = Vec::with_capacity(width * height);
    let total = width * height;
    // Pixels asked for in this row: a run that would leave the row is cut, and only an end of line starts the next.
    let mut x = 0_usize;
    while out.len() < total {
        match (bytes.next()?, bytes.next()?) {
            (0, 0) => {
                out.resize(out.len().next_multiple_of(width), 0);
                x = 0;
            }
            (0, 1) => break,
            (0, 2) => {
                let (right, up) = (usize::from(bytes.next()?), usize::from(bytes.next()?));
                out.resize((out.len() + right + up * width).min(total), 0);
                x = out.len() % width;
            }
            (0, count) => {
                let count = usize::from(count);
                x += count;
                let stored = if nibbles { count.div_ceil(2) } else { count };
                for i in 0..stored {
                    let byte = bytes.next()?;
                    if nibbles {
                        out.push(byte >> 4);
                        if i * 2 + 1 < count {
                            out.push(byte & 15);
                        }
                    } else {
                        out.push(byte);
                    }
                }
                if stored % 2 == 1 {
                    bytes.next();
                }
            }
            (count, value) => {
                let pair = if nibbles { [value >> 4, value & 15] } else { [value; 2] };
                let count = usize::from(count).min(width.saturating_sub(x));
                x += count;
                out.extend(pair.into_iter().cycle().take(count));
            }
        }
    }
    out.resize(total, 0);
    Some(out)
}
