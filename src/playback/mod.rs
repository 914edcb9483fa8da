//! Playing scenarios: sessions, each a scenario with a clock and a renderer of its own choice.
//!
//! Orders change a session one at a time under a lock that is never held across an await ([`session`]); everybody else
//! sees the last published view, so that asking for a pose or a state waits for nobody.

mod docker;
mod error;
mod eyes;
mod session;
mod world;

pub use docker::DockerOptions;
pub use error::WorldError;
pub use eyes::{Eyes, EyesOptions, RendererKind};
pub use session::{SeekTo, Session, Ticked, View};
pub use world::{DEFAULT_SESSION, LoadOrder, Restarted, SessionSummary, World, WorldHealth, WorldOptions};
