//! MicroVMs of Firecracker, behind the same face as those of QEMU.
//!
//! **Not run on a real Firecracker**: it needs a KVM that works, and the machines this was written on have none. What is
//! tested is what it says over the API, against answers in the API's own words; see `tests.rs`.

pub mod api;
mod found;
mod parts;
mod run;
mod start;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::net::unix::pipe;

use self::api::{Api, ApiError, Request};
use self::run::{Files, Run};
use super::qemu::{Keep, Line, absent, aside};
use super::{Ability, Console, Driver, Ground, Handle, Observed, Orphan, Usage};
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::image::Images;
use crate::agent::options::Network;
use crate::agent::process::Process;
use crate::agent::record::Exit;
use crate::agent::settings::AgentSettings;
use crate::agent::spec::{Kind, Spec};

const NAME: &str = "firecracker";
const VERSION: u32 = 1;
/// Cores of a machine.
const CORES: u32 = 32;

/// What a driver is made with.
#[derive(Debug, Clone)]
pub struct FirecrackerOptions {
    /// The agent's.
    pub settings: AgentSettings,
    /// Of this agent.
    pub mark: String,
    /// The agent's data folder.
    pub data: PathBuf,
    /// Where disks and kernels come from.
    pub images: Arc<dyn Images>,
}

/// See the module.
#[derive(Debug)]
pub struct FirecrackerDriver {
    options: FirecrackerOptions,
    runs: Mutex<HashMap<InstanceId, Run>>,
}

impl FirecrackerDriver {
    /// For microVMs.
    #[must_use]
    pub fn new(options: FirecrackerOptions) -> Self {
        Self { options, runs: Mutex::new(HashMap::new()) }
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<InstanceId, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Firecracker takes letters, digits and hyphens.
    fn run_name(&self, id: &InstanceId) -> String {
        format!("neuro-{}-{}", self.options.mark, id.short())
    }

    fn files(ground: &Ground) -> Files {
        Files {
            socket: ground.sockets.join("api.sock"),
            keys: ground.sockets.join("keys"),
            console: ground.folder.join("console.log"),
            log: ground.folder.join("firecracker.log"),
        }
    }

    fn run(&self, ground: &Ground, handle: &Handle) -> Result<Run, AgentError> {
        let unknown = |why: String| AgentError::internal("handle of a Firecracker", why);
        if (handle.driver.as_str(), handle.version) != (NAME, VERSION) {
            return Err(unknown(format!("is of {} {}", handle.driver, handle.version)));
        }
        let process: Process =
            serde_json::from_value(handle.body.clone()).map_err(|error| unknown(error.to_string()))?;
        let mut runs = self.runs();
        match runs.get(&ground.id).filter(|run| run.process == process) {
            Some(run) => Ok(run.clone()),
            None => {
                let run = Run::found(process, &Self::files(ground).log);
                runs.insert(ground.id.clone(), run.clone());
                Ok(run)
            }
        }
    }

    async fn find_again(
        &self,
        ground: &Ground,
        handle: Option<&Handle>,
    ) -> Result<Option<(Handle, Observed)>, AgentError> {
        let handle = match handle {
            Some(handle) => handle.clone(),
            None => match found::with_id(&self.run_name(&ground.id)).await {
                Some(process) => Handle { driver: NAME.to_owned(), version: VERSION, body: json!(process) },
                None => return Ok(None),
            },
        };
        let observed = self.run(ground, &handle)?.outcome().await;
        Ok(Some((handle, observed.map_or(Observed::Running, Observed::Ended))))
    }

    async fn attach(&self, ground: &Ground, handle: &Handle) -> Result<Console, AgentError> {
        let files = Self::files(ground);
        let limits = &self.options.settings.limits;
        let keep = Keep { log_bytes: limits.console_log_bytes, scrollback_bytes: limits.scrollback_bytes };
        let keys = pipe::OpenOptions::new().open_sender(&files.keys).ok();
        let line = keys.map(|keys| Line { wakes: tokio::io::empty(), keys });
        let process = self.run(ground, handle)?.process;
        let opened = super::qemu::open_console(&files.console, line, process, keep).await;
        opened.map_err(|error| AgentError::internal(format!("console of {}", ground.id), error))
    }

    async fn clear_away(&self, ground: &Ground) -> Result<(), AgentError> {
        let failed = |error: std::io::Error| AgentError::internal(format!("removal of {}", ground.id), error);
        let files = Self::files(ground);
        if let Some(process) = found::with_id(&self.run_name(&ground.id)).await {
            Run::found(process, &files.log).kill().await.map_err(failed)?;
        }
        self.runs().remove(&ground.id);
        self.cables()?.release(ground.id.as_str())?;
        let mut all = vec![files.socket, files.keys, files.log, aside(&files.console), files.console];
        for (disk, _) in Self::disks(ground, !ground.spec.image.is_empty()) {
            all.extend([disk.with_extension("draft"), disk]);
        }
        all.iter().try_for_each(|path| absent(path)).map_err(failed)
    }
}

impl Driver for FirecrackerDriver {
    fn kind(&self) -> Kind {
        Kind::MicroVm
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn probe(&self) -> BoxFuture<'_, Ability> {
        Box::pin(self.try_here())
    }

    fn check(&self, spec: &Spec) -> Result<(), AgentError> {
        super::qemu::check(Kind::MicroVm, &self.options.settings.qemu, spec)?;
        if spec.cpu_cores > CORES {
            let problem = format!("is {}; expected at most {CORES}", spec.cpu_cores);
            return Err(AgentError::invalid("spec.cpu_cores", problem));
        }
        if spec.options.network == Some(Network::User) {
            return Err(AgentError::invalid(
                "hypervisor.io/network",
                "is \"user\"; Firecracker has none or cable",
            ));
        }
        if spec.disks.iter().skip(1).any(|disk| disk.boot) {
            return Err(AgentError::invalid("spec.disks", "expected the boot disk first"));
        }
        Ok(())
    }

    fn prepare<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(self.make_parts(ground))
    }

    fn start<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<Handle, AgentError>> {
        Box::pin(self.begin(ground))
    }

    fn ask_to_stop<'a>(
        &'a self,
        ground: &'a Ground,
        _handle: &'a Handle,
    ) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(async {
            let failed = |error: ApiError| AgentError::Internal(error.to_string());
            let api = Api::new(&Self::files(ground).socket).map_err(failed)?;
            api.send(&Request::action("SendCtrlAltDel")).await.map(drop).map_err(failed)
        })
    }

    fn kill<'a>(&'a self, ground: &'a Ground, handle: &'a Handle) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(async {
            let killed = self.run(ground, handle)?.kill().await;
            killed.map_err(|error| AgentError::internal(format!("end of {}", ground.id), error))
        })
    }

    fn recover<'a>(
        &'a self,
        ground: &'a Ground,
        handle: Option<&'a Handle>,
    ) -> BoxFuture<'a, Result<Option<(Handle, Observed)>, AgentError>> {
        Box::pin(self.find_again(ground, handle))
    }

    fn ended<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Exit, AgentError>> {
        Box::pin(async {
            let exit = self.run(ground, handle)?.ended().await;
            exit.map_err(|error| AgentError::internal(format!("watch over {}", ground.id), error))
        })
    }

    fn settle<'a>(&'a self, ground: &'a Ground, handle: &'a Handle) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(async {
            let failed = |error: std::io::Error| AgentError::internal(format!("end of {}", ground.id), error);
            self.run(ground, handle)?.kill().await.map_err(failed)?;
            self.runs().remove(&ground.id);
            let files = Self::files(ground);
            [files.socket, files.keys].iter().try_for_each(|path| absent(path)).map_err(failed)
        })
    }

    fn destroy<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(self.clear_away(ground))
    }

    fn usage<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Usage, AgentError>> {
        Box::pin(self.measure(ground, handle))
    }

    fn console<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Console, AgentError>> {
        Box::pin(self.attach(ground, handle))
    }

    fn address(&self, ground: &Ground, _handle: &Handle) -> String {
        self.cable(ground).ok().flatten().map_or_else(String::new, |cable| cable.guest.to_string())
    }

    fn orphans<'a>(
        &'a self,
        known: &'a BTreeSet<InstanceId>,
    ) -> BoxFuture<'a, Result<Vec<Orphan>, AgentError>> {
        Box::pin(self.strays(known))
    }

    fn sweep<'a>(&'a self, orphan: &'a Orphan) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(self.end_stray(orphan))
    }
}
