//! Where instances come from. A backend only *provides* them: what it starts registers on its own, and sessions are given
//! registered instances only, so a warm one is never waited for. What [`pool`](super::pool) decides, a backend does.
//!
//! [`process`] starts them on this machine, [`agent`] in containers on many, [`slurm`] and [`ray`] as jobs of a cluster,
//! [`fixed`] has a list of running ones.

pub mod agent;
pub mod command;
pub mod fixed;
pub mod mark;
pub mod process;
pub mod ray;
pub mod slurm;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use futures_util::future::BoxFuture;

use super::error::FleetError;
use super::ids::InstanceId;

/// What instances are told at their start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// This program: it can be a simulator and a trainer too.
    pub binary: PathBuf,
    /// `http://host:port` of the gRPC listener, as instances reach it.
    pub orchestrator_url: String,
    /// `http://host:port` of the HTTP listener, as instances reach it.
    pub http_url: String,
    /// The data folder.
    pub data: PathBuf,
    /// The file with the key that instances show; `None` when everybody may attach.
    pub key_file: Option<PathBuf>,
}

/// An instance that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Birth {
    /// Its UUID, made here: what attaches under it is what was started.
    pub instance: InstanceId,
    /// Its display name.
    pub name: String,
}

/// An instance that a backend started, in this life of the server or an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provided {
    /// Its UUID.
    pub instance: InstanceId,
    /// Its display name.
    pub name: String,
    /// How far it is.
    pub state: Provision,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provision {
    /// It waits for its turn in a cluster.
    Waiting,
    /// Its process runs. Whether it attached is another matter.
    Running,
    /// It is over.
    Ended {
        /// How, in a sentence, with the last lines it wrote.
        reason: String,
    },
}

/// Provides instances of one pool.
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// `process`, `static`, `agent`, `slurm`, `ray`.
    fn kind(&self) -> &'static str;

    /// Whether instances can be started and stopped here.
    fn elastic(&self) -> bool {
        true
    }

    /// Starts one. Done when it is on its way, not when it attaches.
    fn start(&self, birth: Birth) -> BoxFuture<'_, Result<(), FleetError>>;

    /// Ends one. Done when it is over or being ended for good; one that is over already is no error.
    fn stop(&self, instance: InstanceId) -> BoxFuture<'_, Result<(), FleetError>>;

    /// All that are there, and those that ended since the last call.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Provided>, FleetError>>;

    /// Returns when one has ended, where the backend hears of it by itself; otherwise never: [`list`](Self::list) tells.
    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// The backend of a pool as it is configured.
///
/// # Errors
/// `Invalid`, naming the key, when the pool's settings do not fit its backend; `Internal` when its files can not be read.
pub fn of_pool(
    pool: &super::settings::Pool,
    launch: &Launch,
) -> Result<std::sync::Arc<dyn Backend>, FleetError> {
    let command = || command::InstanceCommand::new(pool, launch);
    Ok(match pool.backend.as_str() {
        "" | "process" => std::sync::Arc::new(process::ProcessBackend::open(pool, command()?, &launch.data)?),
        "static" => std::sync::Arc::new(fixed::FixedBackend),
        "agent" => std::sync::Arc::new(agent::AgentBackend::new(pool, command()?, &launch.data)?),
        "slurm" => std::sync::Arc::new(slurm::SlurmBackend::new(pool, command()?, &launch.data)?),
        "ray" => std::sync::Arc::new(ray::RayBackend::new(pool, command()?, &launch.data)?),
        other => {
            let problem = format!(
                "of pool {:?} is {other:?}; expected process, static, agent, slurm or ray",
                pool.name
            );
            return Err(FleetError::invalid("backend", problem));
        }
    })
}

/// A cluster that does not answer is tried again.
fn unavailable(message: String) -> FleetError {
    FleetError::Unavailable { message, retry_after: std::time::Duration::from_secs(5) }
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
