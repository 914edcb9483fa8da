//! Driving: who may send commands to a simulator, how they get there, and what is kept of it.
//!
//! ```text
//! websocket, gRPC stream --RobotStream--> Wheel (one environment of a session)
//!                                           |- keeper    who drives: a fenced lease in the books
//!                                           |- bridge    the one websocket to the simulator
//!                                           |- recording demonstrations
//!                                           `- autopilot the session's policy, when no person drives
//! ```

mod autopilot;
mod bridge;
mod camera;
mod check;
mod controls;
mod disk;
mod house;
mod keeper;
pub mod lease;
mod look;
mod outbox;
pub mod policy;
mod recording;
pub mod seat;
mod secret;
pub mod stream;
pub mod token;
pub mod wheel;

pub use controls::{ControlOptions, Controls, Presence};
pub use lease::Lease;
pub use policy::{PolicyDriver, RemotePolicy};
pub use seat::Who;
pub use stream::{Ears, RobotStream};
pub use token::{Claims, TokenKey};
pub use wheel::{Heard, Line};

#[cfg(test)]
#[allow(missing_docs, reason = "a fleet in a test is its own description")]
pub mod tests;
