//! From a prepared request to the model thread: queue, batches, deadlines, cancellation.
//!
//! Two named threads a model: one owns the queue and never computes, one owns the network and never waits for
//! anything but work. They talk through bounded channels, so a slow step cannot grow memory, and the queue
//! can answer superseded and late requests while a step runs.

mod job;
mod lane;
mod queue;

pub use job::{Done, Job};
pub use lane::Lane;
