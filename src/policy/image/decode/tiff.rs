//! The first page of a TIFF by the tiff crate, its samples converted as Pillow does.

use std::borrow::Cow;
use std::io::{Cursor, ErrorKind};

use ::tiff::decoder::{Decoder, DecodingResult, Limits};
use ::tiff::tags::{ExtraSamples, PhotometricInterpretation, Tag};
use ::tiff::{ColorType, TiffError};

use super::samples::{
    cmyk_to_rgb, expand_grey, expand_palette, first_as_grey, first_three, palette, stretch_grey, unpack,
};
use super::{broken, truncated, unsupported};
use crate::policy::image::{DecodeLimits, Format, ImageError, Rgb8};

pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Rgb8, ImageError> {
    let named = |error| explain(error, bytes);
    let mut budget = Limits::default();
    budget.decoding_buffer_size = limits.scratch_bytes();
    budget.intermediate_buffer_size = limits.scratch_bytes();
    let stored = palette_as_grey(bytes);
    let is_palette = matches!(stored, Cow::Owned(_));
    let mut decoder = Decoder::new(Cursor::new(&*stored)).map_err(named)?.with_limits(budget);
    let (width, height) = decoder.dimensions().map_err(named)?;
    limits.check(width, height)?;
    if decoder.find_tag_unsigned::<u16>(Tag::FillOrder).map_err(named)?.unwrap_or(1) != 1 {
        return Err(unsupported(Format::Tiff, "bits stored lowest first (FillOrder 2)"));
    }
    let colour = decoder.colortype().map_err(named)?;
    let white_is_zero = decoder.find_tag_unsigned(Tag::PhotometricInterpretation).map_err(named)?
        == Some(PhotometricInterpretation::WhiteIsZero.to_u16());
    let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(named)?.unwrap_or_default();
    let colour_map = decoder.find_tag_unsigned_vec::<u16>(Tag::ColorMap).map_err(named)?.unwrap_or_default();
    let orientation = decoder.find_tag_unsigned::<u16>(Tag::Orientation).map_err(named)?.unwrap_or(1);

    let mut stored = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut stored).map_err(named)?;
    if stored.as_buffer(0).byte_len() < layout.complete_len {
        return Err(unsupported(Format::Tiff, format_args!("{} planes of {width}x{height}", layout.planes)));
    }
    let size = (width as usize, height as usize);
    let samples = Samples::from(stored, white_is_zero)
        .ok_or_else(|| unsupported(Format::Tiff, format_args!("{colour:?} in {:?}", layout.sample_format)))?;
    let samples = if layout.planes > 1 { samples.interleaved(size.0 * size.1) } else { samples };
    let premultiplied = extra.first() == Some(&ExtraSamples::AssociatedAlpha.to_u16());
    let colour = if is_palette { ColorType::Palette(colour.bit_depth()) } else { colour };
    let rgb = to_rgb(samples, colour, size.0, &colour_map, premultiplied)
        .ok_or_else(|| unsupported(Format::Tiff, format_args!("{colour:?} in {:?}", layout.sample_format)))?;
    let (width, height, rgb) = orient(rgb, size, orientation);
    Rgb8::new(width as u32, height as u32, rgb)
}

/// The tiff crate refuses palette pictures outright. Called grey, their indices can be read: a file whose first page
/// has a palette comes back changed in that one tag, any other as it is.
fn palette_as_grey(bytes: &[u8]) -> Cow<'_, [u8]> {
    match photometric_at(bytes) {
        Some((at, big_endian)) => {
            let mut copy = bytes.to_vec();
            let grey = PhotometricInterpretation::BlackIsZero.to_u16();
            if let Some(place) = copy.get_mut(at..at + 2) {
                place.copy_from_slice(&if big_endian { grey.to_be_bytes() } else { grey.to_le_bytes() });
            }
            Cow::Owned(copy)
        }
        None => Cow::Borrowed(bytes),
    }
}

/// Where the first page of a classic TIFF says "palette", and whether the file is big-endian.
fn photometric_at(bytes: &[u8]) -> Option<(usize, bool)> {
    let big_endian = bytes.starts_with(b"MM\0*");
    if !big_endian && !bytes.starts_with(b"II*\0") {
        return None;
    }
    let word = |at: usize| {
        let pair = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(usize::from(if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }))
    };
    let offset = bytes.get(4..8)?.try_into().ok()?;
    let page = if big_endian { u32::from_be_bytes(offset) } else { u32::from_le_bytes(offset) } as usize;
    let entries = word(page)?;
    (0..entries).map(|i| page + 2 + i * 12).find_map(|entry| {
        let is_palette = word(entry)? == usize::from(Tag::PhotometricInterpretation.to_u16())
            && word(entry + 8)? == usize::from(PhotometricInterpretation::RGBPalette.to_u16());
        is_palette.then_some((entry + 8, big_endian))
    })
}

/// Samples in the widths Pillow tells apart.
enum Samples {
    /// Eight bits or fewer, packed in rows.
    Bytes(Vec<u8>),
    /// 16 bits.
    Words(Vec<u16>),
    /// 32-bit integers and floats, clipped to 8 bits already.
    Clipped(Vec<u8>),
}

impl Samples {
    /// `white_is_zero`: the crate turns such samples over at every width, Pillow up to eight bits only.
    fn from(stored: DecodingResult, white_is_zero: bool) -> Option<Self> {
        let flip = |value: f32| if white_is_zero { 1.0 - value } else { value };
        let flip_bits = if white_is_zero { u32::MAX } else { 0 };
        Some(match stored {
            DecodingResult::U8(samples) => Self::Bytes(samples),
            DecodingResult::I8(samples) => Self::Bytes(samples.into_iter().map(|v| v as u8).collect()),
            DecodingResult::U16(samples) => {
                Self::Words(samples.into_iter().map(|v| v ^ flip_bits as u16).collect())
            }
            DecodingResult::I16(samples) => {
                Self::Clipped(samples.into_iter().map(|v| v.clamp(0, 255) as u8).collect())
            }
            // Pillow reads unsigned 32-bit samples as signed ones.
            DecodingResult::U32(samples) => Self::Clipped(
                samples.into_iter().map(|v| ((v ^ flip_bits) as i32).clamp(0, 255) as u8).collect(),
            ),
            DecodingResult::I32(samples) => {
                Self::Clipped(samples.into_iter().map(|v| v.clamp(0, 255) as u8).collect())
            }
            // A float cast to a byte saturates and drops the fraction.
            DecodingResult::F32(samples) => {
                Self::Clipped(samples.into_iter().map(|v| flip(v) as u8).collect())
            }
            _ => return None,
        })
    }

    /// From plane after plane of `pixels` samples to pixel after pixel.
    fn interleaved(self, pixels: usize) -> Self {
        fn weave<T: Copy>(planes: &[T], pixels: usize) -> Vec<T> {
            let planes: Vec<&[T]> = planes.chunks_exact(pixels.max(1)).collect();
            (0..pixels).flat_map(|i| planes.iter().filter_map(move |plane| plane.get(i).copied())).collect()
        }
        match self {
            Self::Bytes(samples) => Self::Bytes(weave(&samples, pixels)),
            Self::Words(samples) => Self::Words(weave(&samples, pixels)),
            Self::Clipped(samples) => Self::Clipped(weave(&samples, pixels)),
        }
    }
}

fn to_rgb(
    samples: Samples,
    colour: ColorType,
    width: usize,
    colour_map: &[u16],
    premultiplied: bool,
) -> Option<Vec<u8>> {
    let high = |words: Vec<u16>| -> Vec<u8> { words.into_iter().map(|word| (word >> 8) as u8).collect() };
    Some(match (colour, samples) {
        (ColorType::Gray(bits @ (1 | 2 | 4 | 8)), Samples::Bytes(packed)) => {
            let mut grey = unpack(&packed, width, bits);
            stretch_grey(&mut grey, bits);
            expand_grey(&grey)
        }
        (ColorType::Gray(16), Samples::Words(grey)) => {
            grey.into_iter().flat_map(|value| [value.min(255) as u8; 3]).collect()
        }
        (ColorType::Gray(16 | 32), Samples::Clipped(grey)) => expand_grey(&grey),
        (
            ColorType::GrayA(8) | ColorType::Multiband { bit_depth: 8, num_samples: 2 },
            Samples::Bytes(pairs),
        ) => first_as_grey(&pairs, 2),
        (ColorType::Palette(bits @ (1 | 2 | 4 | 8)), Samples::Bytes(packed)) => {
            let (entries, _) = colour_map.split_at_checked(colour_map.len() / 3 * 3)?;
            let mut channels = entries.chunks_exact((entries.len() / 3).max(1));
            let (red, green, blue) = (channels.next()?, channels.next()?, channels.next()?);
            let colours =
                red.iter().zip(green).zip(blue).map(|((r, g), b)| [*r, *g, *b].map(|v| (v >> 8) as u8));
            expand_palette(&unpack(&packed, width, bits), &palette(colours))
        }
        (ColorType::RGB(8), Samples::Bytes(samples)) => samples,
        (ColorType::RGB(16), Samples::Words(samples)) => high(samples),
        (ColorType::RGBA(8), Samples::Bytes(samples)) => without_alpha(&samples, premultiplied),
        (ColorType::RGBA(16), Samples::Words(samples)) => without_alpha(&high(samples), premultiplied),
        (ColorType::CMYK(8), Samples::Bytes(samples)) => without_ink(&samples),
        (ColorType::CMYK(16), Samples::Words(samples)) => without_ink(&high(samples)),
        _ => return None,
    })
}

fn without_ink(samples: &[u8]) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<4>();
    pixels.iter().flat_map(|&pixel| cmyk_to_rgb(pixel)).collect()
}

/// Drops alpha; colours that were multiplied with it are divided by it first.
fn without_alpha(samples: &[u8], premultiplied: bool) -> Vec<u8> {
    if !premultiplied {
        return first_three(samples, 4);
    }
    let (pixels, _) = samples.as_chunks::<4>();
    let divide = |value: u8, alpha: u8| match alpha {
        0 => 0,
        alpha => (u16::from(value) * 255 / u16::from(alpha)).min(255) as u8,
    };
    pixels.iter().flat_map(|&[r, g, b, alpha]| [r, g, b].map(|value| divide(value, alpha))).collect()
}

/// Turns the stored picture the way the orientation tag (1 to 8) says; returns width, height and pixels.
fn orient(rgb: Vec<u8>, (width, height): (usize, usize), orientation: u16) -> (usize, usize, Vec<u8>) {
    let (transposed, from_right, from_bottom) = match orientation {
        2 => (false, true, false),
        3 => (false, true, true),
        4 => (false, false, true),
        5 => (true, false, false),
        6 => (true, false, true),
        7 => (true, true, true),
        8 => (true, true, false),
        _ => return (width, height, rgb),
    };
    let (out_width, out_height) = if transposed { (height, width) } else { (width, height) };
    let (pixels, _) = rgb.as_chunks::<3>();
    let turned = (0..out_height).flat_map(|y| (0..out_width).map(move |x| (x, y))).flat_map(|(x, y)| {
        let (x, y) = if transposed { (y, x) } else { (x, y) };
        let x = if from_right { width - 1 - x } else { x };
        let y = if from_bottom { height - 1 - y } else { y };
        pixels.get(y * width + x).copied().unwrap_or_default()
    });
    (out_width, out_height, turned.collect())
}

fn explain(error: TiffError, bytes: &[u8]) -> ImageError {
    match error {
        TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            truncated(Format::Tiff, bytes, "its picture data is not complete")
        }
        TiffError::UnsupportedError(error) => unsupported(Format::Tiff, error),
        TiffError::LimitsExceeded => {
            unsupported(Format::Tiff, "its strips or tables are over the memory limit")
        }
        other => broken(Format::Tiff, other),
    }
}
