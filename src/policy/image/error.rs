//! What can be wrong with a picture, in words for the person who sent it.

use thiserror::Error;

/// Why bytes are not a usable picture. Every variant is the sender's doing: answer it with a 4xx.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageError {
    /// No bytes at all.
    #[error("the image is empty (0 bytes)")]
    Empty,
    /// The content starts like none of the formats; `first` is the first bytes in hex.
    #[error("cannot identify the image: the first bytes {first} are none of JPEG, PNG, BMP, GIF, WEBP, TIFF")]
    UnknownFormat {
        /// Up to eight first bytes, hex, space between.
        first: String,
    },
    /// More bytes than [`DecodeLimits::max_bytes`](super::DecodeLimits::max_bytes).
    #[error("image file is {got} bytes, the limit is {limit}")]
    FileTooLarge {
        /// Length of what was sent.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// Width times height over [`DecodeLimits::max_pixels`](super::DecodeLimits::max_pixels).
    #[error("image is {width}x{height} = {} Mpx, the limit is {} Mpx", mpx(*.pixels), mpx(*.limit))]
    TooManyPixels {
        /// Width the header states.
        width: u32,
        /// Height the header states.
        height: u32,
        /// Their product.
        pixels: u64,
        /// The limit in pixels.
        limit: u64,
    },
    /// A side over [`DecodeLimits::max_side`](super::DecodeLimits::max_side).
    #[error("image is {width}x{height}, the longest side allowed is {limit}")]
    SideTooLong {
        /// Width the header states.
        width: u32,
        /// Height the header states.
        height: u32,
        /// The limit in pixels.
        limit: u32,
    },
    /// A side of zero pixels.
    #[error("image is {width}x{height}: both sides must be at least 1 pixel")]
    EmptySide {
        /// Width.
        width: u32,
        /// Height.
        height: u32,
    },
    /// Raw RGB bytes that do not fit the stated sides.
    #[error("a {width}x{height} RGB image needs {expected} bytes, got {got}")]
    DataLength {
        /// Width.
        width: u32,
        /// Height.
        height: u32,
        /// `width * height * 3`.
        expected: u128,
        /// Bytes given.
        got: usize,
    },
    /// The file ends before the picture does.
    #[error("image file is truncated: {format} of {bytes} bytes, {detail}")]
    Truncated {
        /// Format by content.
        format: Format,
        /// Length of the file.
        bytes: usize,
        /// What was missing.
        detail: String,
    },
    /// The file is all there but not valid.
    #[error("broken {format} image: {detail}")]
    Broken {
        /// Format by content.
        format: Format,
        /// What the decoder said.
        detail: String,
    },
    /// Valid, but of a kind that is not read here.
    #[error("unsupported {format} image: {detail}")]
    Unsupported {
        /// Format by content.
        format: Format,
        /// Which kind.
        detail: String,
    },
}

fn mpx(pixels: u64) -> u64 {
    pixels.div_ceil(1_000_000)
}

/// A picture format, told by content, never by name or content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG (of an animated one, the default image).
    Png,
    /// Windows or OS/2 bitmap.
    Bmp,
    /// GIF (first frame).
    Gif,
    /// WebP, lossy or lossless (first frame).
    WebP,
    /// TIFF (first page).
    Tiff,
}

impl Format {
    /// The format `bytes` start like, if any.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(Self::Png),
            [b'B', b'M', ..] => Some(Self::Bmp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(Self::Tiff),
            [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..] => Some(Self::Tiff),
            _ => None,
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::WebP => "WEBP",
            Self::Tiff => "TIFF",
        })
    }
}
