//! A numpy array as it comes over a wire: an element type, a shape and bytes in C order. msgpack and json-numpy
//! wrap the same three things differently, so what they mean as a picture is decided once, here.

use std::borrow::Cow;

use bytes::Bytes;
use half::f16;

use crate::policy::image::{DecodeLimits, Format, ImageError, Rgb8};
use crate::policy::request::Picture;

/// Most dimensions an array may have.
pub const MAX_DIMS: usize = 8;

/// Why an array is not what it says, or is not a picture.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NdArrayError {
    /// An element type that is not read.
    #[error("dtype `{0}` is not supported; expected an integer or float type such as `|u1`, `<f4`, `<f8`")]
    Dtype(String),
    /// Too many dimensions.
    #[error("an array of {0} dimensions; at most {MAX_DIMS} are read")]
    Dims(usize),
    /// Shape and bytes disagree.
    #[error("shape {shape:?} of `{dtype}` needs {expected} bytes, got {got}")]
    Length {
        /// The shape as sent.
        shape: Vec<usize>,
        /// The element type.
        dtype: String,
        /// Product of the shape times the element size; saturated when it does not fit.
        expected: u128,
        /// Bytes that came.
        got: usize,
    },
    /// A shape no picture has.
    #[error("shape {0:?} is not a picture; expected [height, width, 3] or [3, height, width]")]
    NotAPicture(Vec<usize>),
    /// An integer outside a byte.
    #[error("pixel value {value} at element {index} does not fit 0..255")]
    PixelRange {
        /// The value.
        value: String,
        /// Which element, in C order.
        index: usize,
    },
    /// A float image that is not scaled to 0..1.
    #[error("pixel value {value} at element {index} of a float image is outside 0..1; send uint8 for 0..255")]
    FloatRange {
        /// The value.
        value: String,
        /// Which element, in C order.
        index: usize,
    },
    /// The sides are refused.
    #[error("{0}")]
    Image(#[from] ImageError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// An element type with its byte order, as numpy's `dtype.str` writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElementType {
    kind: Kind,
    big_endian: bool,
}

impl ElementType {
    /// Reads `|u1`, `<f4`, `>i2`, `u1`, and the long names `uint8` .. `float64`.
    ///
    /// # Errors
    /// [`NdArrayError::Dtype`] for anything that is not a plain number; bool, complex, object, text and records
    /// are such.
    pub fn parse(descr: &str) -> Result<Self, NdArrayError> {
        let (big_endian, name) = match descr.split_at_checked(1) {
            Some((">" | "!", rest)) => (true, rest),
            Some(("<" | "|" | "=", rest)) => (false, rest),
            _ => (false, descr),
        };
        let kind = match name {
            "u1" | "B" | "uint8" => Kind::U8,
            "i1" | "b" | "int8" => Kind::I8,
            "u2" | "uint16" => Kind::U16,
            "i2" | "int16" => Kind::I16,
            "u4" | "uint32" => Kind::U32,
            "i4" | "int32" => Kind::I32,
            "u8" | "uint64" => Kind::U64,
            "i8" | "int64" => Kind::I64,
            "f2" | "float16" => Kind::F16,
            "f4" | "float32" => Kind::F32,
            "f8" | "float64" => Kind::F64,
            _ => return Err(NdArrayError::Dtype(descr.chars().take(32).collect())),
        };
        Ok(Self { kind, big_endian })
    }

    /// Bytes of one element.
    #[must_use]
    pub fn size(self) -> usize {
        self.kind.size()
    }
}

/// An array whose bytes are known to fit its shape.
#[derive(Debug, Clone, PartialEq)]
pub struct NdArray<'a> {
    dtype: ElementType,
    shape: Vec<usize>,
    data: Cow<'a, [u8]>,
}

impl<'a> NdArray<'a> {
    /// Puts the three things together.
    ///
    /// # Errors
    /// [`NdArrayError::Dtype`], [`NdArrayError::Dims`], [`NdArrayError::Length`].
    pub fn new(descr: &str, shape: Vec<usize>, data: Cow<'a, [u8]>) -> Result<Self, NdArrayError> {
        let dtype = ElementType::parse(descr)?;
        if shape.len() > MAX_DIMS {
            return Err(NdArrayError::Dims(shape.len()));
        }
        let expected =
            shape.iter().try_fold(dtype.size() as u128, |bytes, side| bytes.checked_mul(*side as u128));
        if expected != Some(data.len() as u128) {
            return Err(NdArrayError::Length {
                expected: expected.unwrap_or(u128::MAX),
                got: data.len(),
                dtype: descr.to_owned(),
                shape,
            });
        }
        Ok(Self { dtype, shape, data })
    }

    /// Sides, outermost first; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The bytes, when the elements are bytes.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        (self.dtype.kind == Kind::U8).then_some(&*self.data)
    }

    /// Whether this is a picture beyond doubt: with channels, or an image file in a byte array.
    #[must_use]
    pub fn looks_like_picture(&self) -> bool {
        self.image_file().is_some() || self.shape.len() >= 3 && self.layout().is_some()
    }

    fn image_file(&self) -> Option<&[u8]> {
        self.bytes().filter(|bytes| self.shape.len() == 1 && Format::of(bytes).is_some())
    }

    /// The picture: an image file in a byte array (`cv2.imencode` makes such), or pixels, see [`Self::pixels`].
    ///
    /// # Errors
    /// As [`Self::pixels`].
    pub fn to_picture(&self, limits: &DecodeLimits) -> Result<Picture, NdArrayError> {
        match self.image_file() {
            Some(file) => Ok(Picture::Encoded(Bytes::copy_from_slice(file))),
            None => self.pixels(limits).map(Picture::Pixels),
        }
    }

    /// The pixels: `[h, w, c]` or `[c, h, w]` with 1, 3 or 4 channels, or `[h, w]`, any number of leading ones.
    /// Alpha is dropped and grey spread, as for picture files. Floats are scaled as openpi does it,
    /// `(255 * x)` cut to a byte, and refused where that would wrap.
    ///
    /// # Errors
    /// A shape that is no picture, a value out of range, or sides beyond `limits`.
    pub fn pixels(&self, limits: &DecodeLimits) -> Result<Rgb8, NdArrayError> {
        let layout = self.layout().ok_or_else(|| NdArrayError::NotAPicture(self.shape.clone()))?;
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let (width, height) = (side(layout.width), side(layout.height));
        limits.check(width, height)?;
        let bytes = self.to_bytes()?;
        let pixels = layout.width * layout.height;
        let data = match (layout.channels, layout.planar) {
            (3, false) => bytes.into_owned(),
            (1, _) => bytes.iter().flat_map(|grey| [*grey; 3]).collect(),
            (_, false) => bytes
                .chunks_exact(layout.channels)
                .filter_map(|pixel| pixel.get(..3))
                .flatten()
                .copied()
                .collect(),
            (_, true) => {
                let mut planes = bytes.chunks_exact(pixels);
                let mut plane = || planes.next().unwrap_or_default().iter().copied();
                plane()
                    .zip(plane())
                    .zip(plane())
                    .flat_map(|((red, green), blue)| [red, green, blue])
                    .collect()
            }
        };
        Ok(Rgb8::new(width, height, data)?)
    }

    fn layout(&self) -> Option<PictureLayout> {
        let mut sides = &self.shape[..];
        while let [1, rest @ ..] = sides
            && rest.len() >= 3
        {
            sides = rest;
        }
        let rows = |height, width, channels| PictureLayout { height, width, channels, planar: false };
        let planes = |channels, height, width| PictureLayout { height, width, channels, planar: true };
        match *sides {
            [height, width] => Some(rows(height, width, 1)),
            [height, width, 3] => Some(rows(height, width, 3)),
            [3, height, width] => Some(planes(3, height, width)),
            [height, width, channels @ (1 | 4)] => Some(rows(height, width, channels)),
            [channels @ (1 | 4), height, width] => Some(planes(channels, height, width)),
            _ => None,
        }
    }

    fn to_bytes(&self) -> Result<Cow<'_, [u8]>, NdArrayError> {
        let big = self.dtype.big_endian;
        macro_rules! integers {
            ($number:ty) => {
                self.convert(big, <$number>::from_le_bytes, <$number>::from_be_bytes, |value| {
                    u8::try_from(value).map_err(|_| Refused::Integer(value.to_string()))
                })
            };
        }
        macro_rules! floats {
            ($number:ty, $scale:expr) => {
                self.convert(big, <$number>::from_le_bytes, <$number>::from_be_bytes, |value| {
                    byte_of_float($scale(value)).ok_or_else(|| Refused::Float(value.to_string()))
                })
            };
        }
        match self.dtype.kind {
            Kind::U8 => Ok(Cow::Borrowed(&*self.data)),
            Kind::I8 => integers!(i8),
            Kind::U16 => integers!(u16),
            Kind::I16 => integers!(i16),
            Kind::U32 => integers!(u32),
            Kind::I32 => integers!(i32),
            Kind::U64 => integers!(u64),
            Kind::I64 => integers!(i64),
            Kind::F16 => floats!(f16, |value: f16| f64::from(f16::from_f32(255.0 * value.to_f32()))),
            Kind::F32 => floats!(f32, |value: f32| f64::from(255.0 * value)),
            Kind::F64 => floats!(f64, |value: f64| 255.0 * value),
        }
    }

    fn convert<const SIZE: usize, Number: Copy>(
        &self,
        big_endian: bool,
        little: fn([u8; SIZE]) -> Number,
        big: fn([u8; SIZE]) -> Number,
        byte: impl Fn(Number) -> Result<u8, Refused>,
    ) -> Result<Cow<'_, [u8]>, NdArrayError> {
        let read = if big_endian { big } else { little };
        let (elements, _) = self.data.as_chunks::<SIZE>();
        let mut out = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            out.push(byte(read(*element)).map_err(|refused| refused.at(index))?);
        }
        Ok(Cow::Owned(out))
    }
}

struct PictureLayout {
    height: usize,
    width: usize,
    channels: usize,
    planar: bool,
}

enum Refused {
    Integer(String),
    Float(String),
}

impl Refused {
    fn at(self, index: usize) -> NdArrayError {
        match self {
            Self::Integer(value) => NdArrayError::PixelRange { value, index },
            Self::Float(value) => NdArrayError::FloatRange { value, index },
        }
    }
}

/// Cuts towards zero as C does, where the result is a byte.
fn byte_of_float(scaled: f64) -> Option<u8> {
    (scaled > -1.0 && scaled < 256.0).then_some(scaled as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn array<'a>(dtype: &str, shape: &[usize], data: &'a [u8]) -> Result<NdArray<'a>, NdArrayError> {
        NdArray::new(dtype, shape.to_vec(), Cow::Borrowed(data))
    }

    fn picture(dtype: &str, shape: &[usize], data: &[u8]) -> Result<Rgb8, NdArrayError> {
        array(dtype, shape, data)?.pixels(&DecodeLimits::default())
    }

    #[test]
    fn rows_first_and_channels_first_are_the_same_picture() {
        let rows: Vec<u8> = (0..24).collect();
        let planes: Vec<u8> = (0..3).flat_map(|c| (0..8).map(move |i| i * 3 + c)).collect();
        let expected = picture("|u1", &[2, 4, 3], &rows).unwrap();
        assert_eq!((expected.width(), expected.height(), expected.data()), (4, 2, &rows[..]));
        assert_eq!(picture("|u1", &[3, 2, 4], &planes).unwrap(), expected);
        assert_eq!(picture("uint8", &[1, 1, 2, 4, 3], &rows).unwrap(), expected);
    }

    #[test]
    fn alpha_is_dropped_and_grey_is_spread() {
        let rgba = picture("|u1", &[1, 2, 4], &[1, 2, 3, 9, 4, 5, 6, 9]).unwrap();
        assert_eq!(rgba.data(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(picture("|u1", &[2, 1], &[7, 8]).unwrap().data(), [7, 7, 7, 8, 8, 8]);
        assert_eq!(picture("|u1", &[4, 1, 2], &[1, 4, 2, 5, 3, 6, 9, 9]).unwrap().data(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn floats_are_scaled_as_openpi_does_and_integers_must_be_bytes() {
        let f32s: Vec<u8> = [0.0_f32, 0.5, 1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(picture("<f4", &[1, 1, 3], &f32s).unwrap().data(), [0, 127, 255]);
        let f64s: Vec<u8> = [0.999_f64, -0.001, 0.2].iter().flat_map(|x| x.to_be_bytes()).collect();
        assert_eq!(picture(">f8", &[1, 1, 3], &f64s).unwrap().data(), [254, 0, 51]);
        let i64s: Vec<u8> = [0_i64, 255, 9].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(picture("<i8", &[1, 1, 3], &i64s).unwrap().data(), [0, 255, 9]);
        let wide: Vec<u8> = [0.0_f32, 113.0, 1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let message = picture("<f4", &[1, 1, 3], &wide).unwrap_err().to_string();
        assert!(message.contains("113 at element 1") && message.contains("uint8"), "{message}");
        let nan: Vec<u8> = [f32::NAN, 0.0, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert!(picture("<f4", &[1, 1, 3], &nan).unwrap_err().to_string().contains("NaN"));
        let big: Vec<u8> = [0_i32, 256, 0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert!(picture("<i4", &[1, 1, 3], &big).unwrap_err().to_string().contains("256 at element 1"));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_numbers() {
        let message = array("|u1", &[2, 2, 3], &[0; 11]).unwrap_err().to_string();
        assert_eq!(message, "shape [2, 2, 3] of `|u1` needs 12 bytes, got 11");
        assert!(array("|u1", &[usize::MAX; 8], &[]).is_err());
        assert!(array("|O", &[1], &[0]).unwrap_err().to_string().contains("`|O`"));
        assert!(array("|u1", &[1; 9], &[0]).unwrap_err().to_string().contains("9 dimensions"));
        assert!(matches!(picture("|u1", &[7], &[0; 7]), Err(NdArrayError::NotAPicture(_))));
        assert!(matches!(picture("|u1", &[0, 5, 3], &[]), Err(NdArrayError::Image(_))));
    }

    proptest! {
        #[test]
        fn any_shape_and_bytes_give_a_picture_or_an_error(
            dtype in prop::sample::select(vec!["|u1", "|i1", "<u2", ">i4", "<f2", "<f4", ">f8", "|V3", ""]),
            shape in prop::collection::vec(0_usize..6, 0..6),
            data in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let size = ElementType::parse(dtype).map_or(1, ElementType::size);
            let wanted = shape.iter().product::<usize>() * size;
            let fitting: Vec<u8> = data.iter().copied().cycle().take(if data.is_empty() { 0 } else { wanted }).collect();
            for bytes in [&data, &fitting] {
                if let Ok(picture) = picture(dtype, &shape, bytes) {
                    prop_assert_eq!(
                        picture.data().len(),
                        picture.width() as usize * picture.height() as usize * 3
                    );
                }
            }
        }
    }
}
