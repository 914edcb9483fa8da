//! Containers on an OCI runtime. The agent makes root, limits, network and devices; the runtime puts a process into them; a
//! shim stays with it. The agent talks to the shim, never to the runtime, about a container that runs.

mod check;
mod config;
mod confine;
mod life;
mod link;
mod mounts;
mod orphan;
mod rootfs;
mod run;
mod runtime;
mod start;
#[cfg(test)]
mod tests;
mod usage;
mod user;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::OnceCell;

use super::{Ability, Console, Driver, Ground, Handle, Observed, Orphan, Usage};
use crate::agent::cgroup::{DeviceNumber, Group, Hierarchy, Layout};
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::image::Images;
use crate::agent::net::Cables;
use crate::agent::record::Exit;
use crate::agent::settings::AgentSettings;
use crate::agent::spec::{Kind, Spec};
use crate::agent::volume::Volumes;

use rootfs::Rootfs;
use run::Run;
use runtime::Tried;

/// A rate that limits nothing. A device is counted from the first rule on that names it, so one is set that does no harm.
const NO_LIMIT_BPS: u64 = 1 << 50;

/// What a driver of containers needs to know.
#[derive(Debug, Clone)]
pub struct ContainerOptions {
    /// Of the agent.
    pub settings: AgentSettings,
    /// Stands in every name that outlives the agent.
    pub mark: String,
    /// The agent's folder.
    pub data: PathBuf,
    /// This program, for its shim.
    pub binary: PathBuf,
    /// Where roots come from.
    pub images: Arc<dyn Images>,
    /// Where volumes lie.
    pub volumes: Volumes,
}

/// See the module.
#[derive(Debug)]
pub struct ContainerDriver {
    options: ContainerOptions,
    hierarchy: Hierarchy,
    cables: Cables,
    /// The device that holds the data folder.
    backing: Option<DeviceNumber>,
    /// The machine counts swap.
    swap: bool,
    runtimes: OnceCell<Vec<Tried>>,
}

impl ContainerDriver {
    /// Nothing is tried yet: see [`Driver::probe`].
    ///
    /// # Errors
    /// `Invalid` for a network of cables that is none, `Internal` when the machine's mounts cannot be read.
    pub fn new(options: ContainerOptions) -> Result<Self, AgentError> {
        let hierarchy =
            Hierarchy::of_this_machine().map_err(|error| AgentError::internal("control groups", error))?;
        let cables = Cables::new(&options.settings.container.cable_network, &options.data, &options.mark)?;
        std::fs::create_dir_all(&options.data)
            .map_err(|error| AgentError::internal(options.data.display(), error))?;
        let backing = rootfs::device_of(&options.data);
        let swap = match hierarchy.layout() {
            Layout::V2 => true,
            Layout::V1 | Layout::Hybrid => hierarchy
                .controller("memory")
                .is_some_and(|tree| tree.join("memory.memsw.limit_in_bytes").exists()),
        };
        let driver = Self { options, hierarchy, cables, backing, swap, runtimes: OnceCell::new() };
        if let Some(device) = driver.backing {
            driver.count(device);
        }
        Ok(driver)
    }

    /// Has the kernel count a device's bytes: version 1 does not until a rule names it.
    fn count(&self, device: DeviceNumber) {
        if self.hierarchy.layout() == Layout::V2 {
            return;
        }
        let group = self.hierarchy.group(&format!("neuro-{}", self.options.mark));
        let rule = format!("{}:{} {NO_LIMIT_BPS}", device.0, device.1);
        if let Err(error) = group.write("blkio", "blkio.throttle.write_bps_device", &rule) {
            tracing::warn!(%error, rule, "disk bytes of this device are not counted");
        }
    }

    fn group(&self, id: &InstanceId) -> Group {
        self.hierarchy.group(&format!("neuro-{}/{id}", self.options.mark))
    }

    fn rootfs(ground: &Ground) -> Rootfs {
        let size = ground.spec.disks.first().map_or(0, |disk| disk.size_bytes);
        Rootfs::new(&ground.folder, size)
    }

    fn socket(ground: &Ground) -> PathBuf {
        ground.sockets.join("shim")
    }

    async fn tried(&self) -> &[Tried] {
        let trying = async {
            let mut all = Vec::new();
            for name in &self.options.settings.container.runtimes {
                all.push(runtime::try_out(name, &self.options.data, &self.options.mark).await);
            }
            all
        };
        self.runtimes.get_or_init(|| trying).await
    }

    /// The runtime of that name, or the first that works.
    async fn runtime(&self, name: &str) -> Result<PathBuf, AgentError> {
        let tried = self.tried().await;
        let named = |tried: &&Tried| name.is_empty() || tried.name == name;
        if let Some(works) = tried.iter().filter(named).find(|tried| tried.outcome.is_ok()) {
            return Ok(works.path.clone());
        }
        Err(AgentError::Precondition(format!(
            "no container runtime works here: {}",
            sentence(tried.iter().filter(named))
        )))
    }
}

fn sentence<'a>(tried: impl Iterator<Item = &'a Tried>) -> String {
    let said = tried.map(|tried| match &tried.outcome {
        Ok(version) => format!("{} works ({version})", tried.name),
        Err(problem) => format!("{} {problem}", tried.name),
    });
    said.collect::<Vec<_>>().join("; ")
}

/// Work that blocks, in a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AgentError> + Send + 'static,
) -> Result<T, AgentError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|error| AgentError::internal("a thread of the container driver", error))?
}

impl Driver for ContainerDriver {
    fn kind(&self) -> Kind {
        Kind::Container
    }

    fn name(&self) -> &'static str {
        "oci"
    }

    fn probe(&self) -> BoxFuture<'_, Ability> {
        async {
            let tried = self.tried().await;
            let works = tried.iter().find(|tried| tried.outcome.is_ok());
            Ability {
                usable: works.is_some(),
                detail: sentence(tried.iter()),
                labels: works
                    .iter()
                    .map(|works| ("container-runtime".to_owned(), works.name.clone()))
                    .chain([(
                        "cgroups".to_owned(),
                        format!("{:?}", self.hierarchy.layout()).to_ascii_lowercase(),
                    )])
                    .collect(),
            }
        }
        .boxed()
    }

    fn check(&self, spec: &Spec) -> Result<(), AgentError> {
        check::check(spec, &self.options.settings.container)
    }

    fn prepare<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<(), AgentError>> {
        self.make(ground).boxed()
    }

    fn start<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<Handle, AgentError>> {
        self.begin(ground).boxed()
    }

    fn ask_to_stop<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<(), AgentError>> {
        async move { self.ask(ground, &Run::of(handle)?).await }.boxed()
    }

    fn kill<'a>(&'a self, ground: &'a Ground, handle: &'a Handle) -> BoxFuture<'a, Result<(), AgentError>> {
        async move {
            let (init, group) = (Run::of(handle)?.file.init, self.group(&ground.id));
            blocking(move || run::end(init, &group)).await
        }
        .boxed()
    }

    fn recover<'a>(
        &'a self,
        ground: &'a Ground,
        handle: Option<&'a Handle>,
    ) -> BoxFuture<'a, Result<Option<(Handle, Observed)>, AgentError>> {
        self.find(ground, handle).boxed()
    }

    fn ended<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Exit, AgentError>> {
        async move { self.outcome(ground, &Run::of(handle)?).await }.boxed()
    }

    fn settle<'a>(&'a self, ground: &'a Ground, handle: &'a Handle) -> BoxFuture<'a, Result<(), AgentError>> {
        async move { self.tidy(ground, Some(&Run::of(handle)?)).await }.boxed()
    }

    fn destroy<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<(), AgentError>> {
        self.take_apart(ground).boxed()
    }

    fn usage<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Usage, AgentError>> {
        async move {
            let run = Run::of(handle)?;
            let (group, rootfs, backing) = (self.group(&ground.id), Self::rootfs(ground), self.backing);
            blocking(move || Ok(usage::usage(&group, &rootfs, backing, run.plan.device.as_deref()))).await
        }
        .boxed()
    }

    fn console<'a>(
        &'a self,
        ground: &'a Ground,
        _handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Console, AgentError>> {
        async move {
            let failed = |error| AgentError::internal(format!("console of {}", ground.id), error);
            link::console(&Self::socket(ground)).await.map_err(failed)
        }
        .boxed()
    }

    fn address(&self, _ground: &Ground, handle: &Handle) -> String {
        Run::of(handle).map(|run| run.plan.address).unwrap_or_default()
    }

    fn orphans<'a>(
        &'a self,
        known: &'a BTreeSet<InstanceId>,
    ) -> BoxFuture<'a, Result<Vec<Orphan>, AgentError>> {
        let (mark, data) = (self.options.mark.clone(), self.options.data.clone());
        let (hierarchy, cables, known) = (self.hierarchy.clone(), self.cables.clone(), known.clone());
        blocking(move || Ok(orphan::find(&mark, &data, &hierarchy, &cables, &known))).boxed()
    }

    fn sweep<'a>(&'a self, orphan: &'a Orphan) -> BoxFuture<'a, Result<(), AgentError>> {
        let options = &self.options;
        orphan::sweep(orphan, &options.mark, &options.data, &self.hierarchy, &self.cables).boxed()
    }

    fn close(&self) {
        self.hierarchy.group(&format!("neuro-{}", self.options.mark)).remove_if_empty();
    }
}
