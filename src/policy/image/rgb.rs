//! The one picture type behind every wire: 8-bit RGB, rows top to bottom.

use super::error::ImageError;

/// An 8-bit RGB picture, `height x width x 3`, row-major, no padding between rows. Both sides are at least 1.
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb8 {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl Rgb8 {
    /// Takes `data` as a picture of `width` x `height` pixels.
    ///
    /// # Errors
    /// [`ImageError::EmptySide`] when a side is zero, [`ImageError::DataLength`] when `data` is not
    /// `width * height * 3` bytes long.
    pub fn new(width: u32, height: u32, data: Vec<u8>) -> Result<Self, ImageError> {
        if width == 0 || height == 0 {
            return Err(ImageError::EmptySide { width, height });
        }
        let expected = u128::from(width) * u128::from(height) * 3;
        if data.len() as u128 != expected {
            return Err(ImageError::DataLength { width, height, expected, got: data.len() });
        }
        Ok(Self { width, height, data })
    }

    /// A picture of one colour; a side given as 0 becomes 1.
    #[must_use]
    pub fn filled(width: u32, height: u32, rgb: [u8; 3]) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        Self { width, height, data: rgb.repeat(width as usize * height as usize) }
    }

    /// Width in pixels, at least 1.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes, `height x width x 3`.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Gives the bytes away.
    #[must_use]
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// Bytes in one row: `3 * width`.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.width as usize * 3
    }
}

impl std::fmt::Debug for Rgb8 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rgb8 {}x{}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_whose_bytes_do_not_fit_its_sides_is_refused() {
        assert!(Rgb8::new(2, 2, vec![0; 12]).is_ok());
        let error = Rgb8::new(2, 2, vec![0; 11]).unwrap_err().to_string();
        assert_eq!(error, "a 2x2 RGB image needs 12 bytes, got 11");
        assert!(matches!(Rgb8::new(0, 4, vec![]), Err(ImageError::EmptySide { .. })));
        assert!(Rgb8::new(u32::MAX, u32::MAX, vec![]).is_err());
    }
}
