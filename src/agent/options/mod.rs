//! What the wire has no fields for: annotations `hypervisor.io/...`. Unknown ones under that prefix are refused, so that a
//! typo is not a wish that nobody heard.

mod parse;

use serde::{Deserialize, Serialize};

pub(in crate::agent) use parse::network;
pub use parse::{NAMES, annotation, parse};

/// What precedes the names of the agent's annotations.
pub const PREFIX: &str = "hypervisor.io/";

/// What the agent reads out of the annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// `autostart`: started as soon as it is made.
    pub autostart: bool,
    /// `restart`: `never` (the default), `on-failure`, `on-failure:N`, `always`.
    pub restart: Restart,
    /// `network`: see [`Network`]; without it the kind's default.
    pub network: Option<Network>,
    /// `cdi-devices`: CDI names, separated by commas.
    pub cdi_devices: Vec<String>,
    /// `gpu-count`: so many CDI devices of the agent's choice, for itself alone.
    pub gpu_count: u32,
    /// `shm-size`: bytes of /dev/shm; 0 is 64 MiB.
    pub shm_bytes: u64,
    /// `ready-line`: it is ready when its console says a line that holds this.
    pub ready_line: Option<String>,
    /// `tty`: a container's console is a terminal. The default is yes.
    pub tty: Option<bool>,
    /// `pids-limit`: processes and threads; 0 is the agent's default.
    pub pids_limit: u32,
    /// `runtime`: a container runtime of the settings; empty is the first that works.
    pub runtime: String,
    /// `user`: `UID[:GID]` inside; empty is the image's.
    pub user: String,
    /// `read-only-root`: the root file system cannot be written to.
    pub read_only_root: bool,
}

/// What is done when it ends and nobody asked for that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Nothing.
    #[default]
    Never,
    /// It is started again unless it ended with 0, at most so often in a row; 0 is without end.
    OnFailure {
        /// Restarts.
        most: u32,
    },
    /// It is started again.
    Always,
}

/// What it can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing: loopback alone.
    None,
    /// The host's own network, without a boundary. Containers.
    Host,
    /// A cable to the host, with exact counters and no route further: a veth pair for containers, a tap for VMs.
    Cable,
    /// QEMU's own user network without routes: an address by DHCP, nothing else, no counters. VMs.
    User,
}
