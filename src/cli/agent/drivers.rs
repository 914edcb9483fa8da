//! The drivers of an agent, by its settings.

use std::path::Path;
use std::sync::Arc;

use crate::agent::driver::Driver;
use crate::agent::driver::container::{ContainerDriver, ContainerOptions};
use crate::agent::driver::fake::{FakeDriver, World};
use crate::agent::driver::firecracker::{FirecrackerDriver, FirecrackerOptions};
use crate::agent::driver::qemu::{QemuDriver, QemuOptions};
use crate::agent::error::AgentError;
use crate::agent::image::Images;
use crate::agent::settings::AgentSettings;
use crate::agent::spec::Kind;
use crate::agent::volume::Volumes;

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

/// Every driver; of several for a kind the agent takes the first that works.
///
/// # Errors
/// When a driver cannot be made of these settings.
pub(super) fn all(parts: &Parts<'_>) -> Result<Vec<Arc<dyn Driver>>, AgentError> {
    if parts.fake {
        let world = World::default();
        let one = |kind| Arc::new(FakeDriver::new(kind, world.clone())) as Arc<dyn Driver>;
        return Ok([Kind::Container, Kind::Vm, Kind::MicroVm].map(one).into());
    }
    let (settings, data) = (parts.settings.clone(), parts.data.to_owned());
    let (mark, images) = (parts.mark.to_owned(), parts.images.clone());
    // A shim is this program, by another sub-command.
    let binary =
        std::env::current_exe().map_err(|error| AgentError::internal("the path of this program", error))?;
    let container = ContainerOptions {
        settings: settings.clone(),
        mark: mark.clone(),
        data: data.clone(),
        binary,
        images: images.clone(),
        volumes: Volumes::new(&data, settings.volumes.clone()),
    };
    let qemu = QemuOptions {
        settings: settings.clone(),
        mark: mark.clone(),
        data: data.clone(),
        images: images.clone(),
    };
    let mut drivers: Vec<Arc<dyn Driver>> = vec![Arc::new(ContainerDriver::new(container)?)];
    if !settings.firecracker.binary.is_empty() {
        drivers.push(Arc::new(FirecrackerDriver::new(FirecrackerOptions { settings, mark, data, images })));
    }
    for kind in [Kind::Vm, Kind::MicroVm] {
        drivers.push(Arc::new(QemuDriver::new(kind, qemu.clone())));
    }
    Ok(drivers)
}
