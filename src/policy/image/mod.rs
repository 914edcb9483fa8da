//! Pictures: decoding what a client sent, and resizing it exactly as the field does.

pub mod coefficients;
pub mod decode;
pub mod error;
pub mod limits;
pub mod normalise;
pub mod resize;
pub mod rgb;

pub use decode::decode;
pub use error::{Format, ImageError};
pub use limits::DecodeLimits;
pub use normalise::normalise;
pub use resize::resize_bicubic;
pub use rgb::Rgb8;
