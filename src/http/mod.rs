//! The HTTP edge.

pub mod msgpack;
pub mod ndarray;
pub mod openpi;
