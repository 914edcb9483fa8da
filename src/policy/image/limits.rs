//! How large a picture a client may make the server hold.

use super::error::ImageError;

/// Bounds checked against the file's header, before anything is allocated for its pixels.
///
/// A robot's camera is a few megapixels; Pillow, made for photographs, refuses above 179 Mpx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most pixels, width times height.
    pub max_pixels: u64,
    /// Longest side in pixels.
    pub max_side: u32,
    /// Longest encoded file in bytes.
    pub max_bytes: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 50_000_000, max_side: 65_535, max_bytes: 64 << 20 }
    }
}

impl DecodeLimits {
    /// Checks the sides a header states.
    ///
    /// # Errors
    /// [`ImageError::EmptySide`], [`ImageError::TooManyPixels`] or [`ImageError::SideTooLong`].
    pub fn check(&self, width: u32, height: u32) -> Result<(), ImageError> {
        if width == 0 || height == 0 {
            return Err(ImageError::EmptySide { width, height });
        }
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            return Err(ImageError::TooManyPixels { width, height, pixels, limit: self.max_pixels });
        }
        if width.max(height) > self.max_side {
            return Err(ImageError::SideTooLong { width, height, limit: self.max_side });
        }
        Ok(())
    }

    /// Most bytes a decoder may allocate beside the picture it returns: eight a pixel (16-bit RGBA) plus room
    /// for tables and metadata.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        usize::try_from(self.max_pixels.saturating_mul(8).saturating_add(16 << 20)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_name_the_size_and_the_limit() {
        let limits = DecodeLimits::default();
        assert!(limits.check(65_535, 1).is_ok());
        assert_eq!(
            limits.check(70_000, 70_000).unwrap_err().to_string(),
            "image is 70000x70000 = 4900 Mpx, the limit is 50 Mpx"
        );
        assert_eq!(
            limits.check(1, 65_536).unwrap_err().to_string(),
            "image is 1x65536, the longest side allowed is 65535"
        );
        assert!(matches!(limits.check(0, 3), Err(ImageError::EmptySide { .. })));
        assert!(limits.check(u32::MAX, u32::MAX).is_err());
    }
}
