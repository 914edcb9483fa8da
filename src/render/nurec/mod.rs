//! Pictures from NVIDIA's NuRec, or from whatever speaks `nre.grpc.protos.sensorsim.SensorsimService`, such as
//! `neuro render`.
//!
//! | rule | value |
//! |---|---|
//! | connect | on first use, and again after it broke; at most 2 s |
//! | deadline | 10 s; 60 s until the first answer of a connection, since a fresh NuRec compiles kernels then |
//! | retried | `UNAVAILABLE`, a connection that broke, and two messages of a NuRec that is warming up; after 0.5 s, then 2 s, never past the deadline |
//! | not retried | a connection that is refused, and every other status |
//! | in flight | 8 requests; more wait, on their own deadline |
//! | batch | `batch_render_rgb` until a connection answers `UNIMPLEMENTED`; then single requests in parallel |
//! | messages | 64 MiB |
//!
//! No HTTP/2 pings: gRPC servers end connections whose clients ping more than they allow. A peer that hangs is noticed by
//! the deadline, which also opens a new connection.

mod call;
mod camera;
mod client;
mod connection;
mod options;
mod picture;
mod pose;
mod probe;
mod request;
mod status;

pub use camera::{from_wire as camera_from_wire, to_wire as camera_to_wire};
pub use client::{NurecClient, Version};
pub use options::{AddressError, MAX_MESSAGE_BYTES, NurecOptions};
pub use pose::{from_wire as pose_from_wire, to_wire as pose_to_wire};
pub use request::{from_wire as shot_from_wire, to_wire as shot_to_wire};
