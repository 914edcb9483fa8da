//! The start of a machine: its process, its description, its cable.

use super::api::{Api, ApiError, Machine};
use super::run::Run;
use super::{FirecrackerDriver, NAME, VERSION};
use crate::agent::driver::qemu::plan;
use crate::agent::driver::{Ground, Handle};
use crate::agent::error::AgentError;
use crate::agent::settings::QemuSettings;

impl FirecrackerDriver {
    /// Starts it, and ends it again when it cannot be described.
    pub(super) async fn begin(&self, ground: &Ground) -> Result<Handle, AgentError> {
        let spec = &ground.spec;
        let QemuSettings { kernel, initrd, .. } = &self.options.settings.qemu;
        let images = &self.options.images;
        let kernel = images.file(spec.kernel.as_deref().unwrap_or(kernel), "kernel").await?.path;
        let default = spec.kernel.is_none() && !initrd.is_empty();
        let initrd = match spec.initrd.as_deref().or(default.then_some(initrd)) {
            Some(initrd) => Some(images.file(initrd, "initrd").await?.path),
            None => None,
        };
        let disks = Self::disks(ground, !spec.image.is_empty());
        let cable = self.cable(ground)?;
        let machine = Machine {
            cpu_cores: spec.cpu_cores.max(1),
            memory_bytes: match spec.memory_bytes {
                0 => self.options.settings.limits.memory_bytes,
                asked => asked,
            },
            kernel: &kernel,
            initrd: initrd.as_deref(),
            // It knows no power button; a reboot is how its guests end.
            kernel_line: format!("console=ttyS0 reboot=k panic=1 {}", spec.kernel_args).trim_end().to_owned(),
            disks: disks.iter().map(|(path, _)| path.as_path()).collect(),
            disk_bps: spec.limits.io_read_bps.max(spec.limits.io_write_bps),
            network: cable.as_ref().map(|cable| (cable.device.clone(), plan::mac(&ground.id))),
        };
        let files = Self::files(ground);
        let binary = &self.options.settings.firecracker.binary;
        let run = Run::launch(binary, &self.run_name(&ground.id), &files).await;
        let run = run.map_err(|error| AgentError::internal(format!("start of {}", ground.id), error))?;
        self.runs().insert(ground.id.clone(), run.clone());
        let started = async {
            say(&Api::new(&files.socket)?, &machine).await?;
            Ok::<(), ApiError>(())
        };
        let mut started = started.await.map_err(|error| AgentError::Internal(error.to_string()));
        if let (Ok(()), Some(cable)) = (&started, &cable) {
            started = cable.dress().await;
        }
        if let Err(error) = started {
            run.kill().await.map_err(|error| AgentError::internal("end of firecracker", error))?;
            return Err(error);
        }
        let body = serde_json::to_value(run.process);
        let body = body.map_err(|error| AgentError::internal("handle of a Firecracker", error))?;
        Ok(Handle { driver: NAME.to_owned(), version: VERSION, body })
    }
}

/// Says all of it.
pub(super) async fn say(api: &Api, machine: &Machine<'_>) -> Result<(), ApiError> {
    for request in machine.requests() {
        api.send(&request).await?;
    }
    Ok(())
}
