//! Pictures: decoding what a client sent, and resizing it exactly as the field does.
//!
//! The chain is [`decode_base64`] (JSON wires), [`decode`], [`resize_bicubic`], [`normalise`]; each step gives what
//! the Python libraries that policies were trained with give, so that a policy sees the pixels it knows.

pub mod base64;
pub mod coefficients;
pub mod decode;
pub mod error;
pub mod limits;
pub mod normalise;
pub mod resize;
pub mod rgb;

pub use base64::{Base64Error, decode_base64};
pub use decode::decode;
pub use error::{Format, ImageError};
pub use limits::DecodeLimits;
pub use normalise::{normalise, to_unit_chw};
pub use resize::resize_bicubic;
pub use rgb::Rgb8;

#[cfg(test)]
mod conformance;
