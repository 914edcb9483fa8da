//! Where events go besides the sessions' own logs.

pub mod redis;
mod words;
