//! Taking a range of time elsewhere: as MCAP for other people's viewers, as PNG files, as a table of poses.
//!
//! Drawing and writing overlap: a bounded number of instants is drawn ahead of the one being written, so memory does not
//! depend on the length. A picture that cannot be drawn leaves a gap which the export names; one without any picture is
//! an error. Dropping the future of an export stops its drawing, and leaves its output unfinished.

mod csv;
mod error;
mod mcap;
mod names;
mod png;
mod report;
mod request;
mod run;
mod sink;
#[cfg(test)]
mod tests;

pub use error::ExportError;
pub use report::{Missing, Report};
pub use request::{
    ExportCamera, ExportPlan, ExportRequest, Format, MAX_RATE_HZ, MIN_RATE_HZ, MIN_SCALE, RequestError,
};
pub use run::{planner, to_folder, to_stream};
pub use sink::ChannelSink;
