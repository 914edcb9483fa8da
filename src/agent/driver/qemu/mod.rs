//! VMs (`q35`) and microVMs (`microvm`) of QEMU, a process each, without anything between it and the agent.
//!
//! QEMU is not a child that must be kept: when the agent is gone it goes on, listens on its sockets, writes its console into
//! a file, and stays when its guest has ended, so that whoever comes back learns how. A guest that switches itself off has
//! ended well. One whose kernel panics has failed, if that kernel has the driver of `pvpanic`; without it, it hangs. One that
//! starts anew goes on.
//!
//! A microVM that is emulated has no timer to set its clock by: it takes the host's time stamp counter for one of 1 GHz, so
//! its time runs too fast. The kernel argument `tsc_early_khz=KHZ` with the host's own rate mends that.

mod cage;
pub mod canary;
mod check;
mod command;
mod console;
mod disks;
mod face;
mod found;
mod launch;
mod live;
pub mod outcome;
mod parts;
pub mod plan;
pub mod qcow2;
pub mod qmp;
mod usage;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::OnceCell;

use self::cage::Cage;
use self::canary::Finding;
use self::live::Live;
use self::plan::Sockets;
use super::{Console, Ground, Handle, Observed, Usage};
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::image::Images;
use crate::agent::process::Process;
use crate::agent::settings::AgentSettings;
use crate::agent::spec::Kind;

pub(super) use self::check::check;
pub(super) use self::console::{Keep, Line, open as open_console};
pub(super) use self::disks::USUAL_DISK_BYTES;
pub(super) use self::found::all as processes;
pub(super) use self::launch::{absent, aside, born, fetch, private, put_aside};
pub(super) use self::live::end;

const NAME: &str = "qemu";
const VERSION: u32 = 1;

/// What a driver is made with.
#[derive(Debug, Clone)]
pub struct QemuOptions {
    /// The agent's.
    pub settings: AgentSettings,
    /// Of this agent, in every name that outlives it.
    pub mark: String,
    /// The agent's data folder.
    pub data: PathBuf,
    /// Where disks and kernels come from.
    pub images: Arc<dyn Images>,
}

/// See the module. One for VMs and one for microVMs.
#[derive(Debug)]
pub struct QemuDriver {
    kind: Kind,
    options: QemuOptions,
    finding: OnceCell<Finding>,
    lives: Mutex<HashMap<InstanceId, Arc<Live>>>,
}

/// What a handle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    process: Process,
}

impl QemuDriver {
    /// For `Kind::Vm` or `Kind::MicroVm`.
    #[must_use]
    pub fn new(kind: Kind, options: QemuOptions) -> Self {
        Self { kind, options, finding: OnceCell::new(), lives: Mutex::new(HashMap::new()) }
    }

    /// What works here: tried once.
    pub async fn finding(&self) -> &Finding {
        let qemu = &self.options.settings.qemu;
        self.finding.get_or_init(|| canary::find(&qemu.binary, &qemu.accelerator, &self.options.data)).await
    }

    /// `neuro-MARK-ID`.
    fn run_name(&self, id: &InstanceId) -> String {
        format!("neuro-{}-{id}", self.options.mark)
    }

    fn lives(&self) -> MutexGuard<'_, HashMap<InstanceId, Arc<Live>>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run behind a handle.
    fn live(&self, ground: &Ground, handle: &Handle) -> Result<Arc<Live>, AgentError> {
        let body = read(handle)?;
        let mut lives = self.lives();
        if let Some(live) = lives.get(&ground.id).filter(|live| live.process == body.process) {
            return Ok(Arc::clone(live));
        }
        let live = Arc::new(Live::new(body.process, Sockets::in_folder(&ground.sockets), None));
        lives.insert(ground.id.clone(), Arc::clone(&live));
        Ok(live)
    }

    async fn begin(&self, ground: &Ground) -> Result<Handle, AgentError> {
        let finding = self.finding().await;
        let Some(accelerator) = finding.accelerator else {
            return Err(AgentError::Precondition(format!(
                "no {} runs here: {}",
                self.kind.name(),
                finding.reason
            )));
        };
        let plan = self.plan(ground, accelerator).await?;
        let (settings, mark) = (&self.options.settings, &self.options.mark);
        let cage = Cage::new(mark, &ground.id, settings.limits.pids, plan.memory_bytes);
        let launched = launch::launch(&settings.qemu.binary, &plan, &ground.folder, &cage).await;
        let live = match launched {
            Ok(live) => live,
            Err(error) => {
                self.uncage(&ground.id).await?;
                return Err(error);
            }
        };
        if let Err(error) = self.plug(ground, &plan.link).await {
            live.kill().await.map_err(|error| AgentError::internal("end of QEMU", error))?;
            self.uncage(&ground.id).await?;
            return Err(error);
        }
        let handle = write(live.process)?;
        self.lives().insert(ground.id.clone(), Arc::new(live));
        Ok(handle)
    }

    async fn uncage(&self, id: &InstanceId) -> Result<(), AgentError> {
        let removed = cage::remove(&self.options.mark, id).await;
        removed.map_err(|error| AgentError::internal(format!("control group of {id}"), error))
    }

    async fn find_again(
        &self,
        ground: &Ground,
        handle: Option<&Handle>,
    ) -> Result<Option<(Handle, Observed)>, AgentError> {
        let handle = match handle {
            Some(handle) => handle.clone(),
            None => match found::named(&self.run_name(&ground.id)).await.first().copied() {
                Some(process) => write(process)?,
                None => return Ok(None),
            },
        };
        let live = self.live(ground, &handle)?;
        let observed = match live.outcome().await {
            Ok(Some(exit)) => Observed::Ended(exit),
            Ok(None) => Observed::Running,
            Err(error) => {
                // Its process runs: whoever waits for its end hears of it.
                tracing::warn!(instance = %ground.id, %error, "a machine that runs does not answer");
                Observed::Running
            }
        };
        Ok(Some((handle, observed)))
    }

    async fn measure(&self, ground: &Ground, handle: &Handle) -> Result<Usage, AgentError> {
        let live = self.live(ground, handle)?;
        let gone = || AgentError::Precondition(format!("instance {} does not run", ground.id));
        let mut usage = usage::of_process(&live.process.stat().ok_or_else(gone)?);
        let failed = |error: qmp::QmpError| AgentError::internal(format!("instance {}", ground.id), error);
        let blocks = live.execute("query-blockstats", Value::Null).await.map_err(failed)?;
        (usage.disk_read_bytes, usage.disk_written_bytes) = usage::disk_bytes(&blocks);
        let asked = serde_json::json!({"path": "/machine/peripheral/balloon", "property": "guest-stats"});
        let memory = live.execute("qom-get", asked).await.ok().as_ref().and_then(usage::guest_memory);
        if let Some((used, cache)) = memory {
            (usage.memory_used_bytes, usage.memory_cache_bytes) = (used, cache);
        }
        usage.disk_used_bytes = disks::used_bytes(&ground.folder);
        let link = self.link(&ground.id, &ground.spec);
        (usage.network_received_bytes, usage.network_sent_bytes) = parts::counters(&link);
        Ok(usage)
    }

    async fn attach(&self, ground: &Ground, handle: &Handle) -> Result<Console, AgentError> {
        let live = self.live(ground, handle)?;
        let limits = &self.options.settings.limits;
        let keep = Keep { log_bytes: limits.console_log_bytes, scrollback_bytes: limits.scrollback_bytes };
        let line =
            UnixStream::connect(&Sockets::in_folder(&ground.sockets).console).await.ok().map(|socket| {
                let (wakes, keys) = socket.into_split();
                Line { wakes, keys }
            });
        open_console(&self.console_log(ground), line, live.process, keep)
            .await
            .map_err(|error| AgentError::internal(format!("console of {}", ground.id), error))
    }

    fn console_log(&self, ground: &Ground) -> PathBuf {
        ground.folder.join("console.log")
    }

    async fn clear_away(&self, ground: &Ground) -> Result<(), AgentError> {
        let failed = |error: std::io::Error| AgentError::internal(format!("removal of {}", ground.id), error);
        for process in found::named(&self.run_name(&ground.id)).await {
            Live::new(process, Sockets::in_folder(&ground.sockets), None).kill().await.map_err(failed)?;
        }
        self.lives().remove(&ground.id);
        self.uncage(&ground.id).await?;
        self.unplug(ground)?;
        let log = self.console_log(ground);
        let files = [launch::aside(&log), log, ground.folder.join(launch::COMPLAINTS)];
        for file in disks::overlays(&ground.folder).iter().chain(&files) {
            absent(file).map_err(failed)?;
        }
        parts::remove_sockets(ground).map_err(failed)
    }
}

fn read(handle: &Handle) -> Result<Body, AgentError> {
    let unknown = |why: String| AgentError::internal("handle of a QEMU", why);
    if (handle.driver.as_str(), handle.version) != (NAME, VERSION) {
        return Err(unknown(format!(
            "is of {} {}; expected {NAME} {VERSION}",
            handle.driver, handle.version
        )));
    }
    Body::deserialize(&handle.body).map_err(|error| unknown(error.to_string()))
}

fn write(process: Process) -> Result<Handle, AgentError> {
    let body = serde_json::to_value(Body { process })
        .map_err(|error| AgentError::internal("handle of a QEMU", error))?;
    Ok(Handle { driver: NAME.to_owned(), version: VERSION, body })
}
