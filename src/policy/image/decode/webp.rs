//! WebP by the image crate (which decodes with image-webp): lossy, lossless, and the first frame of an animation.

use std::io::{Cursor, ErrorKind};

use ::image::codecs::webp::WebPDecoder;
use ::image::{ColorType, ImageDecoder, ImageError as Error, Limits};

use super::samples::first_three;
use super::{broken, truncated, unsupported};
use crate::policy::image::{DecodeLimits, Format, ImageError, Rgb8};

pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Rgb8, ImageError> {
    check_length(bytes)?;
    let named = |error| explain(error, bytes);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(named)?;
    let (width, height) = decoder.dimensions();
    limits.check(width, height)?;
    let mut scratch = Limits::default();
    scratch.max_alloc = Some(limits.scratch_bytes() as u64);
    decoder.set_limits(scratch).map_err(named)?;
    let colour = decoder.color_type();
    let size = usize::try_from(decoder.total_bytes()).map_err(|error| broken(Format::WebP, error))?;
    let mut samples = vec![0; size];
    decoder.read_image(&mut samples).map_err(named)?;
    let rgb = match colour {
        ColorType::Rgb8 => samples,
        ColorType::Rgba8 => first_three(&samples, 4),
        other => return Err(unsupported(Format::WebP, format_args!("samples {other:?}"))),
    };
    Rgb8::new(width, height, rgb)
}

/// The RIFF header says how long the file is; the decoder would make do with less.
fn check_length(bytes: &[u8]) -> Result<(), ImageError> {
    let stated = bytes.get(4..8).and_then(|length| length.try_into().ok()).map_or(0, u32::from_le_bytes);
    // An odd length is padded; a missing pad byte does no harm.
    if bytes.len() as u64 + 1 < u64::from(stated) + 8 + u64::from(stated % 2) {
        let detail = format!("its header says {}", u64::from(stated) + 8);
        return Err(truncated(Format::WebP, bytes, detail));
    }
    Ok(())
}

fn explain(error: Error, bytes: &[u8]) -> ImageError {
    match error {
        Error::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            truncated(Format::WebP, bytes, "its picture data is not complete")
        }
        other => broken(Format::WebP, other),
    }
}
