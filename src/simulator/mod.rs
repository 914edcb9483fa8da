//! A small simulator for one machine: an arm that balances a pole or reaches for a target, or the scene of a NuRec
//! scenario to drive through. One process simulates one session at a time, under the fence it was granted with.
//!
//! [`Simulator`] is the way in: REST, the orchestrator's stream and the step socket ask it for the same typed things, and
//! one thread carries them out.

mod arm;
mod balance;
mod camera;
mod cartpole;
mod command;
mod drive;
mod engine;
mod error;
mod handle;
#[cfg(test)]
mod handle_tests;
mod inverse;
mod orders;
#[cfg(test)]
mod orders_tests;
mod panda;
mod rail;
mod random;
mod reach;
mod robot_sketch;
mod session;
mod shape;
mod signalling;
mod sketch;
mod snapshot;
mod steps;
mod surroundings;
mod world;

pub use camera::{Camera, Viewer};
pub use engine::{Ending, Heard, Said, Vitals};
pub use error::SimulatorError;
pub use handle::{Client, Simulator};
pub use orders::obey;
pub use session::{COMMAND_HOLD, Controller, Phase};
pub use signalling::{Relay, join};
pub use sketch::{Recording, Scenery, Sketch, Thing};
pub use steps::Steps;
pub use world::STEP_S;
