//! The first frame of a GIF, by palette index, so that transparent pixels keep their colour as in Pillow.

use std::io::ErrorKind;

use ::gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::samples::{expand_palette, palette};
use super::{broken, truncated};
use crate::policy::image::{DecodeLimits, Format, ImageError, Rgb8};

pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Rgb8, ImageError> {
    let named = |error| explain(error, bytes);
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.allow_unknown_blocks(true);
    let mut decoder = options.read_info(bytes).map_err(named)?;
    let screen = (decoder.width(), decoder.height());
    let frame = decoder
        .next_frame_info()
        .map_err(named)?
        .ok_or_else(|| broken(Format::Gif, "it holds no picture"))?;
    let (left, top, frame_width, frame_height) = (
        usize::from(frame.left),
        usize::from(frame.top),
        usize::from(frame.width),
        usize::from(frame.height),
    );
    let transparent = frame.transparent;

    // The screen grows to hold the frame; what the frame leaves open shows the transparent colour or the first.
    let width = usize::from(screen.0).max(left + frame_width);
    let height = usize::from(screen.1).max(top + frame_height);
    limits.check(width as u32, height as u32)?;
    let mut indices = vec![0; frame_width * frame_height];
    if !indices.is_empty() {
        decoder.read_into_buffer(&mut indices).map_err(named)?;
    }
    let (colours, _) = decoder.palette().map_err(named)?.as_chunks::<3>();
    let palette = palette(colours.iter().copied());
    if (frame_width, frame_height) == (width, height) {
        return Rgb8::new(width as u32, height as u32, expand_palette(&indices, &palette));
    }
    let mut canvas = vec![transparent.unwrap_or(0); width * height];
    let rows = canvas.chunks_exact_mut(width).skip(top);
    for (row, line) in rows.zip(indices.chunks_exact(frame_width.max(1))) {
        if let Some(place) = row.get_mut(left..left + frame_width) {
            place.copy_from_slice(line);
        }
    }
    Rgb8::new(width as u32, height as u32, expand_palette(&canvas, &palette))
}

fn explain(error: DecodingError, bytes: &[u8]) -> ImageError {
    match error {
        DecodingError::UnexpectedEof => truncated(Format::Gif, bytes, "its picture data is not complete"),
        DecodingError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            truncated(Format::Gif, bytes, "its picture data is not complete")
        }
        other => broken(Format::Gif, other),
    }
}
