//! PNG by the png crate, samples as stored, so that the conversion is Pillow's and not the crate's.

use std::io::{Cursor, ErrorKind};

use ::png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Transformations};

use super::samples::{
    expand_grey, expand_palette, first_as_grey, first_three, palette, stretch_grey, unpack,
};
use super::{broken, truncated};
use crate::policy::image::{DecodeLimits, Format, ImageError, Rgb8};

pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Rgb8, ImageError> {
    let named = |error| explain(error, bytes);
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: limits.scratch_bytes() });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(named)?;
    let (width, height) = header.size();
    limits.check(width, height)?;

    let mut reader = decoder.read_info().map_err(named)?;
    let size = reader.output_buffer_size().ok_or_else(|| broken(Format::Png, "its size overflows"))?;
    let mut samples = vec![0; size];
    reader.next_frame(&mut samples).map_err(named)?;
    let (colour, depth) = reader.output_color_type();

    let bits = (depth as u8).min(8);
    let stride = if depth == BitDepth::Sixteen { 2 } else { 1 };
    let high_bytes = |samples: Vec<u8>| -> Vec<u8> {
        if stride == 2 { samples.into_iter().step_by(2).collect() } else { samples }
    };
    let rgb = match colour {
        ColorType::Grayscale if stride == 2 => {
            // Pillow clips 16-bit grey instead of scaling it: anything from 255 up is white.
            let (words, _) = samples.as_chunks::<2>();
            words.iter().flat_map(|&word| [u16::from_be_bytes(word).min(255) as u8; 3]).collect()
        }
        ColorType::Grayscale => {
            let mut grey = unpack(&samples, width as usize, bits);
            stretch_grey(&mut grey, bits);
            expand_grey(&grey)
        }
        ColorType::GrayscaleAlpha => first_as_grey(&high_bytes(samples), 2),
        ColorType::Rgb => high_bytes(samples),
        ColorType::Rgba => first_three(&high_bytes(samples), 4),
        ColorType::Indexed => {
            let stored = reader.info().palette.as_deref().unwrap_or_default();
            let (colours, _) = stored.as_chunks::<3>();
            expand_palette(&unpack(&samples, width as usize, bits), &palette(colours.iter().copied()))
        }
    };
    Rgb8::new(width, height, rgb)
}

fn explain(error: DecodingError, bytes: &[u8]) -> ImageError {
    match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            truncated(Format::Png, bytes, "its picture data is not complete")
        }
        other => broken(Format::Png, other),
    }
}
