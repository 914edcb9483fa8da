//! The console of an instance: one source, a ring and a file that keep what it said, and any number of readers.

mod hub;
mod log;
mod pump;
mod ready;
mod words;

pub use hub::{Attached, Hub, Output, Reader, not_running};
pub use pump::Source;
