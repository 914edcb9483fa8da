//! Whether an answer is the picture that was asked for, as far as its first bytes tell. Nothing is decoded here.

use bytes::Bytes;

use crate::render::{Encoding, Frame, RenderError};

const JPEG_START: &[u8] = &[0xff, 0xd8, 0xff];
const PNG_START: &[u8] = b"\x89PNG\r\n\x1a\n";

pub(super) fn check(bytes: Bytes, encoding: Encoding, place: &str) -> Result<Frame, RenderError> {
    let (start, expected) = match encoding {
        Encoding::Jpeg(_) => (JPEG_START, "JPEG"),
        Encoding::Png => (PNG_START, "PNG"),
    };
    if bytes.is_empty() {
        return Err(RenderError::Empty { place: place.to_owned() });
    }
    if !bytes.starts_with(start) {
        return Err(RenderError::NotAPicture { place: place.to_owned(), bytes: bytes.len(), expected });
    }
    Ok(Frame { bytes })
}
