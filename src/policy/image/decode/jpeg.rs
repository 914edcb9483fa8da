//! JPEG by zune-jpeg, with the two things it is lax about checked beforehand: the end of the file and the work asked.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::samples::{cmyk_to_rgb, expand_grey};
use super::{broken, truncated, unsupported};
use crate::policy::image::{DecodeLimits, Format, ImageError, Rgb8};

/// Scans times pixels may reach this many times the pixel limit. A progressive file has about ten scans; hundreds
/// over a large picture cost minutes from a few kilobytes.
const SCANS_AT_FULL_SIZE: u64 = 16;

pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Rgb8, ImageError> {
    let scans = count_scans(bytes)?;
    let options =
        DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| broken(Format::Jpeg, error))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32);
    limits.check(width, height)?;
    let pixels = u64::from(width) * u64::from(height);
    if scans.saturating_mul(pixels) > limits.max_pixels.saturating_mul(SCANS_AT_FULL_SIZE) {
        return Err(unsupported(Format::Jpeg, format_args!("{scans} scans of {width}x{height} pixels")));
    }

    let stored = decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr);
    let wanted = match stored {
        ColorSpace::Luma | ColorSpace::CMYK | ColorSpace::YCCK => stored,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let samples = decoder.decode().map_err(|error| broken(Format::Jpeg, error))?;
    let rgb = match wanted {
        ColorSpace::Luma => expand_grey(&samples),
        ColorSpace::CMYK | ColorSpace::YCCK => four_inks(&samples, wanted),
        _ => samples,
    };
    Rgb8::new(width, height, rgb)
}

/// Inks are taken as stored inverted, which is Adobe's habit and Pillow's assumption for every file. YCCK is the three
/// inks as YCbCr of their inverse, beside black: inverted twice, its colours come out as they are.
fn four_inks(samples: &[u8], space: ColorSpace) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<4>();
    let inks = |&[a, b, c, k]: &[u8; 4]| {
        let [c, m, y] =
            if space == ColorSpace::YCCK { ycc_to_rgb(a, b, c) } else { [a, b, c].map(|v| 255 - v) };
        [c, m, y, 255 - k]
    };
    pixels.iter().flat_map(|pixel| cmyk_to_rgb(inks(pixel))).collect()
}

/// JFIF's YCbCr to RGB in 16-bit fixed point, rounded as libjpeg rounds.
fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let half = 1 << 15;
    let red = y + ((91_881 * cr + half) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + half) >> 16);
    let blue = y + ((116_130 * cb + half) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// The markers of a file in order. Their segments and the entropy-coded data after a start of scan are passed over.
struct Markers<'a> {
    bytes: &'a [u8],
    at: usize,
}

const SOS: u8 = 0xda;
const EOI: u8 = 0xd9;

impl Iterator for Markers<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.bytes.get(self.at..)?;
            self.at += rest.iter().position(|&byte| byte == 0xff)?;
            let marker = *self.bytes.get(self.at + 1)?;
            match marker {
                // A fill byte before a marker.
                0xff => self.at += 1,
                // Stuffed zero, restart, start of image, TEM: no segment follows.
                0x00 | 0x01 | 0xd0..=0xd8 => self.at += 2,
                EOI => {
                    self.at = self.bytes.len();
                    return Some(EOI);
                }
                _ => {
                    let length = self.bytes.get(self.at + 2..self.at + 4)?;
                    let length = usize::from(u16::from_be_bytes([*length.first()?, *length.get(1)?])).max(2);
                    self.at += 2 + length;
                    return Some(marker);
                }
            }
        }
    }
}

/// Scans in the file. A file without an end-of-image marker is truncated: the decoder would fill in what is missing,
/// Pillow refuses.
fn count_scans(bytes: &[u8]) -> Result<u64, ImageError> {
    let mut scans = 0;
    for marker in (Markers { bytes, at: 2 }) {
        match marker {
            EOI if scans == 0 => return Err(broken(Format::Jpeg, "it ends before any picture data")),
            EOI => return Ok(scans),
            SOS => scans += 1,
            _ => {}
        }
    }
    Err(truncated(Format::Jpeg, bytes, "the end-of-image marker ff d9 is missing"))
}
