//! Playing scenarios: sessions, each a scenario with a clock and a renderer of its own choice.
//!
//! A session's state is owned by one task ([`session`]); everybody else holds a handle and sees the last published
//! view, so that asking for a pose or a state waits for nobody.

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
