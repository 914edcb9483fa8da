//! Any picture file to 8-bit RGB, as Pillow's `Image.open(...).convert("RGB")` gives it.
//!
//! Policies were trained behind that call, so its habits are the contract: alpha is dropped and not composited,
//! palettes are expanded, grey is replicated, 16-bit grey is clipped at 255 and not scaled while 16-bit colour keeps
//! its high byte, CMYK is inverted naively, EXIF orientation is ignored (a TIFF's own orientation tag is not), and an
//! animation is its first frame. PNG, BMP, GIF, TIFF and lossless WebP come out equal; for JPEG and lossy WebP the
//! decoder is another one than Pillow's and differs by a grey level or so.

mod bmp;
mod gif;
mod jpeg;
mod png;
mod samples;
mod tiff;
mod webp;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::{Format, ImageError};
use super::limits::DecodeLimits;
use super::rgb::Rgb8;

/// Decodes a JPEG, PNG, BMP, GIF, WebP or TIFF file, told apart by content.
///
/// The sides are read from the header and checked against `limits` before room for the pixels is made.
///
/// # Errors
/// [`ImageError`], always the file's fault: unknown format, over a limit, truncated, broken, or of a kind that is not
/// read here. A decoder that panics on hostile input is reported as [`ImageError::Broken`].
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Rgb8, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(ImageError::FileTooLarge { got: bytes.len(), limit: limits.max_bytes });
    }
    let Some(format) = Format::of(bytes) else {
        let first: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        return Err(ImageError::UnknownFormat { first: first.join(" ") });
    };
    let decoder = match format {
        Format::Jpeg => jpeg::decode,
        Format::Png => png::decode,
        Format::Bmp => bmp::decode,
        Format::Gif => gif::decode,
        Format::WebP => webp::decode,
        Format::Tiff => tiff::decode,
    };
    catch_unwind(AssertUnwindSafe(|| decoder(bytes, limits))).unwrap_or_else(|_| {
        Err(ImageError::Broken { format, detail: "its structure contradicts itself".to_owned() })
    })
}

/// The error of `format` for a file of `bytes` whose decoder said `detail`.
fn broken(format: Format, detail: impl std::fmt::Display) -> ImageError {
    ImageError::Broken { format, detail: detail.to_string() }
}

fn unsupported(format: Format, detail: impl std::fmt::Display) -> ImageError {
    ImageError::Unsupported { format, detail: detail.to_string() }
}

fn truncated(format: Format, bytes: &[u8], detail: impl std::fmt::Display) -> ImageError {
    ImageError::Truncated { format, bytes: bytes.len(), detail: detail.to_string() }
}
