//! Making a container and starting it.

use std::fs;
use std::path::Path;

use super::config::{self, Plan};
use super::run::{self, PlanFile, Run};
use super::{ContainerDriver, blocking, rootfs, user};
use crate::agent::cdi::Registry;
use crate::agent::driver::{Driver as _, Ground, Handle};
use crate::agent::error::AgentError;
use crate::agent::image::RootImage;
use crate::agent::net::Cable;
use crate::agent::options::Network;
use crate::agent::process;
use crate::agent::shim::{ExitFile, RunFile, ShimOptions, note};

impl ContainerDriver {
    /// What outlives a run: folders, and the disk.
    pub(super) async fn make(&self, ground: &Ground) -> Result<(), AgentError> {
        self.options.images.root(&ground.spec.image).await?;
        for mount in &ground.spec.mounts {
            self.options.volumes.find(&mount.volume)?;
        }
        let rootfs = Self::rootfs(ground);
        blocking(move || rootfs.make()).await
    }

    /// A run. When it cannot begin, nothing is left of it.
    pub(super) async fn begin(&self, ground: &Ground) -> Result<Handle, AgentError> {
        let runtime = self.runtime(&ground.spec.options.runtime).await?;
        let image = self.options.images.root(&ground.spec.image).await?;
        let outcome = self.attempt(ground, runtime, image).await;
        match outcome {
            Ok(run) => run.handle(self.name()),
            Err(error) => {
                if let Err(also) = self.tidy(ground, None).await {
                    tracing::warn!(id = %ground.id, error = %also, "what a failed start left could not be taken away");
                }
                Err(error)
            }
        }
    }

    async fn attempt(
        &self,
        ground: &Ground,
        runtime: std::path::PathBuf,
        image: RootImage,
    ) -> Result<Run, AgentError> {
        let registry = self.registry(ground);
        let edits = registry.edits(&ground.devices)?;
        let network = config::network(&ground.spec);
        let cable = match network {
            Network::Cable => Some(self.cables.lease(&ground.id)?),
            _ => None,
        };
        let rootfs = Self::rootfs(ground);
        let (mounting, layers) = (rootfs.clone(), image.layers.clone());
        let name = format!("neuro-{}-{}", self.options.mark, ground.id);
        let (folder, sockets) = (ground.folder.clone(), ground.sockets.clone());
        blocking(move || {
            clear(&folder)?;
            fs::create_dir_all(&sockets).map_err(|error| AgentError::internal(sockets.display(), error))?;
            mounting.mount(&layers, &name)
        })
        .await?;
        let own = rootfs.device();
        if let Some(device) = own {
            self.count(device);
        }
        let who = match ground.spec.options.user.as_str() {
            "" => image.user.as_str(),
            given => given,
        };
        let user = user::resolve(who, &rootfs.root())?;
        let volumes = &self.options.volumes;
        let volumes: Result<Vec<_>, _> =
            ground.spec.mounts.iter().map(|mount| volumes.folder(&mount.volume, user)).collect();
        let plan = Plan {
            id: ground.id.as_str(),
            mark: &self.options.mark,
            spec: &ground.spec,
            image: &image,
            root: rootfs.root(),
            names: Some(names(ground, network, cable.as_ref())?),
            user,
            volumes: volumes?,
            disk: own.or(self.backing),
            capabilities: &self.options.settings.container.capabilities,
            pids: self.options.settings.limits.pids,
            swap: self.swap,
            spared: process::own_oom_score().is_some_and(|score| score < 0),
            edits,
        };
        let config = config::config(&plan)?;
        let failed = |error| AgentError::internal(format!("bundle of {}", ground.id), error);
        config::write(&ground.folder.join("bundle"), &config).map_err(failed)?;
        let plan = PlanFile {
            runtime: runtime.clone(),
            stop_signal: image.stop_signal.clone(),
            device: cable.as_ref().map(|cable| cable.device.clone()),
            address: cable.as_ref().map(|cable| cable.guest.to_string()).unwrap_or_default(),
        };
        note(&ground.folder, PlanFile::NAME, &plan).map_err(failed)?;
        let shim = ShimOptions {
            mark: self.options.mark.clone(),
            id: ground.id.to_string(),
            folder: ground.folder.clone(),
            socket: Self::socket(ground),
            runtime,
            tty: config::tty(&ground.spec),
            hold: cable.is_some(),
        };
        run::launch(&self.options.binary, &shim, plan, cable.as_ref()).await
    }

    /// Documents are read at every start: a driver that was updated meanwhile has written new ones.
    fn registry(&self, ground: &Ground) -> Registry {
        if ground.devices.is_empty() {
            Registry::default()
        } else {
            Registry::read(&self.options.settings.cdi.folders)
        }
    }
}

/// What an earlier run wrote down is none of this one's.
fn clear(folder: &Path) -> Result<(), AgentError> {
    for name in [RunFile::NAME, ExitFile::NAME] {
        rootfs::gone(fs::remove_file(folder.join(name)))
            .map_err(|error| AgentError::internal(name, error))?;
    }
    Ok(())
}

/// Names of hosts: its own, and with the host's network the host's.
fn names(ground: &Ground, network: Network, cable: Option<&Cable>) -> Result<std::path::PathBuf, AgentError> {
    let folder = ground.folder.join("names");
    let failed = |error| AgentError::internal(folder.display(), error);
    fs::create_dir_all(&folder).map_err(failed)?;
    let own = cable.map_or_else(|| "127.0.1.1".to_owned(), |cable| cable.guest.to_string());
    let mut hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n{own}\t{}\n", ground.id);
    if let Some(cable) = cable {
        hosts.push_str(&format!("{}\thost\n", cable.host));
    }
    let mut resolver = String::new();
    if network == Network::Host {
        hosts.push_str(&fs::read_to_string("/etc/hosts").unwrap_or_default());
        resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    }
    fs::write(folder.join("hosts"), hosts).map_err(failed)?;
    fs::write(folder.join("resolv.conf"), resolver).map_err(failed)?;
    Ok(folder)
}
