//! The drivers of an agent, by its settings.

use std::path::Path;
use std::sync::Arc;

use crate::agent::driver::Driver;
use crate::agent::driver::fake::{FakeDriver, World};
use crate::agent::error::AgentError;
use crate::agent::image::Images;
use crate::agent::settings::AgentSettings;
use crate::agent::spec::Kind;

/// What drivers are made of.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) settings: &'a AgentSettings,
    /// Absolute.
    pub(super) data: &'a Path,
    pub(super) mark: &'a str,
    pub(super) images: Arc<dyn Images>,
    /// Nothing real, for tests of everything around it.
    pub(super) fake: bool,
}

/// One for every kind, and several where the settings name several.
///
/// # Errors
/// When a driver cannot be made of these settings.
pub(super) fn all(parts: &Parts<'_>) -> Result<Vec<Arc<dyn Driver>>, AgentError> {
    if parts.fake {
        let world = World::default();
        let one = |kind| Arc::new(FakeDriver::new(kind, world.clone())) as Arc<dyn Driver>;
        return Ok([Kind::Container, Kind::Vm, Kind::MicroVm].map(one).into());
    }
    Ok(Vec::new())
}
