//! Recordings: what was asked and answered, as one folder of JSON lines and pictures, and running them again.
//!
//! A recording is `recording.jsonl` and `images/`. Its first line is the header ([`Header`]): which model, statistics
//! and redaction. Every further line is one request ([`Entry`]). Pictures are named by their hash, so a camera that
//! does not move costs one file. One recording has one model: a hot swap begins the next.

mod compare;
mod entry;
mod folder;
mod reader;
mod recorder;
mod utc;
mod writer;

pub use compare::{Comparison, ComponentDifference};
pub use entry::{Entry, Header, PictureRef, Redaction, StatsRef};
pub use reader::{Recording, RecordingError, find, picture};
pub use recorder::{RecordOptions, Recorder};

/// Version of the format, in the header line.
pub const VERSION: u32 = 1;
/// The lines.
pub const LINES: &str = "recording.jsonl";
/// The folder of pictures beside the lines.
pub const IMAGES: &str = "images";
