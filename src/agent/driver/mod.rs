//! What a kind of instance needs to be made, started, watched and taken apart. The actor of an instance calls these one at
//! a time; each can be called again after a crash in its middle and then finishes what was begun.

pub mod container;
pub mod fake;
pub mod firecracker;
pub mod qemu;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::record::Exit;
use crate::agent::spec::{Kind, Spec};

/// Where an instance is made and what of.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Its name.
    pub id: InstanceId,
    /// What it is to be.
    pub spec: Arc<Spec>,
    /// A folder of its own.
    pub folder: PathBuf,
    /// A folder of its own for sockets, with a short path.
    pub sockets: PathBuf,
    /// CDI devices it holds.
    pub devices: Vec<String>,
}

/// How a later life of the agent finds a run again: of one driver, in one version, and nobody else's business.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Handle {
    /// [`Driver::name`].
    pub driver: String,
    /// Of `body`'s layout.
    pub version: u32,
    /// What the driver wrote down.
    pub body: serde_json::Value,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// It goes on.
    Running,
    /// It has ended.
    Ended(Exit),
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ability {
    /// Instances of this kind can be made here.
    pub usable: bool,
    /// Versions and accelerators, or why not: a sentence.
    pub detail: String,
    /// What becomes a label of the node: `accelerator=tcg`.
    pub labels: Vec<(String, String)>,
}

/// What an instance has used, since its start, and what it uses now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of all its processors together.
    pub cpu_time_ns: u64,
    /// Periods in which its quota held it back.
    pub cpu_throttled_periods: u64,
    /// Without caches.
    pub memory_used_bytes: u64,
    /// What could be given back.
    pub memory_cache_bytes: u64,
    /// Of its own disk part.
    pub disk_used_bytes: u64,
    /// Since its start.
    pub disk_read_bytes: u64,
    /// Since its start.
    pub disk_written_bytes: u64,
    /// As it sees it.
    pub network_received_bytes: u64,
    /// As it sees it.
    pub network_sent_bytes: u64,
    /// Processes and threads.
    pub processes: u32,
}

/// A console: one source of bytes, one sink, held by the agent alone.
///
/// Bytes are counted from the run's start. A driver that keeps some of them (a ring, a log file) hands out what it kept
/// again and says where that begins: the agent leaves out what it has, so that nothing is lost or doubled over a restart.
#[derive(Debug)]
pub struct Console {
    /// How many bytes the run wrote before the first of `output`.
    pub first: u64,
    /// What it wrote and writes; ends with the run.
    pub output: mpsc::Receiver<Bytes>,
    /// What is typed.
    pub input: mpsc::Sender<ConsoleInput>,
}

/// What goes to a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleInput {
    /// Keys.
    Data(Bytes),
    /// The size of the terminal.
    Resize {
        /// Columns.
        width: u16,
        /// Lines.
        height: u16,
    },
}

/// Something that carries this agent's mark and belongs to no instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    /// `process`, `cgroup`, `mount`, `network device`, `namespace`, `folder`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
}

/// See the module. What blocks is done in a thread for that.
pub trait Driver: Send + Sync + Debug {
    /// What it runs.
    fn kind(&self) -> Kind;

    /// `runc`, `qemu`, `fake`, ...
    fn name(&self) -> &'static str;

    /// Tries whether it works here, by doing it where that is the only way to know. Seconds at most.
    fn probe(&self) -> BoxFuture<'_, Ability>;

    /// Refuses what this driver cannot do, before anything is made.
    ///
    /// # Errors
    /// `Invalid` or `Precondition`, naming the field.
    fn check(&self, spec: &Spec) -> Result<(), AgentError>;

    /// Makes everything that a start needs. What is there already stays.
    fn prepare<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<(), AgentError>>;

    /// Starts it, and is done when it runs.
    fn start<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<Handle, AgentError>>;

    /// Asks it to end by itself, and does not wait.
    fn ask_to_stop<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<(), AgentError>>;

    /// Ends it, whole, and is done when nothing of it runs.
    fn kill<'a>(&'a self, ground: &'a Ground, handle: &'a Handle) -> BoxFuture<'a, Result<(), AgentError>>;

    /// What became of a run: asked after a restart of the agent, and before a start whose handle was not written.
    fn recover<'a>(
        &'a self,
        ground: &'a Ground,
        handle: Option<&'a Handle>,
    ) -> BoxFuture<'a, Result<Option<(Handle, Observed)>, AgentError>>;

    /// Waits until it has ended. Can be dropped and called again.
    fn ended<'a>(&'a self, ground: &'a Ground, handle: &'a Handle)
    -> BoxFuture<'a, Result<Exit, AgentError>>;

    /// Takes away what belongs to a run that has ended: processes that keep it, sockets, network devices.
    fn settle<'a>(&'a self, ground: &'a Ground, handle: &'a Handle) -> BoxFuture<'a, Result<(), AgentError>>;

    /// Takes away everything that was made. What is gone already is no error.
    fn destroy<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<(), AgentError>>;

    /// What it has used.
    fn usage<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Usage, AgentError>>;

    /// Its console. Only one at a time: the agent fans out.
    fn console<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Console, AgentError>>;

    /// Its address as the host sees it; empty when it has none.
    fn address(&self, ground: &Ground, handle: &Handle) -> String;

    /// What carries this agent's mark and belongs to none of these.
    fn orphans<'a>(
        &'a self,
        known: &'a BTreeSet<InstanceId>,
    ) -> BoxFuture<'a, Result<Vec<Orphan>, AgentError>>;

    /// Takes one away.
    fn sweep<'a>(&'a self, orphan: &'a Orphan) -> BoxFuture<'a, Result<(), AgentError>>;

    /// The agent ends: what the driver has for all its instances goes, where no instance is left that needs it. Blocks.
    fn close(&self) {}
}
