//! A picture as drawn, and its encoding.

use bytes::Bytes;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::PLACE;
use crate::render::{Encoding, RenderError};

/// Colours at and above this JPEG quality keep their full resolution.
const FULL_CHROMA_QUALITY: u8 = 90;

/// Eight-bit sRGB, rows from the top, three bytes a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height * 3` bytes.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// The picture as a file.
    ///
    /// # Errors
    /// When the encoder refuses, which it does for sides it cannot store.
    pub fn encode(&self, encoding: Encoding) -> Result<Bytes, RenderError> {
        match encoding {
            Encoding::Jpeg(quality) => self.jpeg(quality),
            Encoding::Png => self.png(),
        }
    }

    fn jpeg(&self, quality: f32) -> Result<Bytes, RenderError> {
        let quality = quality.round().clamp(1.0, 100.0) as u8;
        let side = |side: u32| {
            u16::try_from(side).map_err(|_| failed(format!("a JPEG has no sides of {side} pixels")))
        };
        let mut file = Vec::with_capacity(self.rgb.len() / 8 + 1024);
        let mut encoder = Encoder::new(&mut file, quality);
        encoder.set_sampling_factor(if quality < FULL_CHROMA_QUALITY {
            SamplingFactor::F_2_2
        } else {
            SamplingFactor::F_1_1
        });
        encoder
            .encode(&self.rgb, side(self.width)?, side(self.height)?, ColorType::Rgb)
            .map_err(|error| failed(error.to_string()))?;
        Ok(Bytes::from(file))
    }

    fn png(&self) -> Result<Bytes, RenderError> {
        let mut file = Vec::with_capacity(self.rgb.len() / 4 + 1024);
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&self.rgb)?;
            writer.finish()
        });
        written.map_err(|error| failed(error.to_string()))?;
        Ok(Bytes::from(file))
    }
}

/// The renderer's own failure, in the words of a gRPC status.
pub(super) fn failed(message: String) -> RenderError {
    RenderError::Refused { place: PLACE.to_owned(), status: "INTERNAL", message }
}
