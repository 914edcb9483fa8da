//! The settings of an agent: one TOML file, every key with a default, unknown keys refused. docs/agent.toml shows them all.

mod check;
#[cfg(test)]
mod document_tests;
mod load;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::config::document::SettingsError;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// Who this node is.
    pub node: NodeSettings,
    /// What instances get that ask for nothing, and the most they may ask for.
    pub limits: LimitSettings,
    /// Containers.
    pub container: ContainerSettings,
    /// VMs and microVMs of QEMU.
    pub qemu: QemuSettings,
    /// MicroVMs of Firecracker.
    pub firecracker: FirecrackerSettings,
    /// CDI.
    pub cdi: CdiSettings,
    /// Volumes that lie elsewhere than in the data folder: name to folder.
    pub volumes: BTreeMap<String, PathBuf>,
    /// Where the node reports.
    pub cluster: ClusterSettings,
    /// Certificates and keys.
    pub access: AccessSettings,
}

/// Who this node is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSettings {
    /// Empty for the machine's.
    pub hostname: String,
    /// As others reach it; empty for the address of the default route.
    pub ip: String,
    /// Free.
    pub region: String,
    /// Free.
    pub zone: String,
    /// Free.
    pub labels: BTreeMap<String, String>,
}

/// What instances get and may have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Bytes for a VM that asks for none.
    pub memory_bytes: u64,
    /// Instances of the node.
    pub instances: u32,
    /// Memory that all instances together may ask for, as a share of the machine's.
    pub memory_share: f64,
    /// Cores that all instances together may ask for, as a share of the machine's. Many wait most of the time.
    pub cpu_share: f64,
    /// Processes and threads of a container that sets none.
    pub pids: u32,
    /// Bytes of console output that are kept.
    pub scrollback_bytes: u64,
    /// Bytes of a console's log file, after which it begins anew.
    pub console_log_bytes: u64,
    /// Seconds until a stop kills that gave no time.
    pub stop_s: f64,
    /// Operations at once; others wait.
    pub operations: u32,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            instances: 1000,
            memory_share: 0.9,
            cpu_share: 256.0,
            pids: 4096,
            scrollback_bytes: 1 << 20,
            console_log_bytes: 8 << 20,
            stop_s: 30.0,
            operations: 8,
        }
    }
}

/// Containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerSettings {
    /// OCI runtimes, the first that works first: a name in PATH or a path.
    pub runtimes: Vec<String>,
    /// Capabilities beyond the small default set.
    pub capabilities: Vec<String>,
    /// Addresses of cables between host and containers: a /30 of it each.
    pub cable_network: String,
}

impl Default for ContainerSettings {
    fn default() -> Self {
        Self {
            runtimes: ["runc", "youki", "crun"].map(str::to_owned).to_vec(),
            capabilities: Vec::new(),
            cable_network: "10.213.0.0/16".to_owned(),
        }
    }
}

/// VMs and microVMs of QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QemuSettings {
    /// A name in PATH or a path.
    pub binary: String,
    /// A name in PATH or a path.
    pub img: String,
    /// `auto` (a canary guest decides), `kvm`, `tcg`.
    pub accelerator: String,
    /// Kernel of microVMs that name none: a name in the image store.
    pub kernel: String,
    /// Its initrd.
    pub initrd: String,
}

impl Default for QemuSettings {
    fn default() -> Self {
        Self {
            binary: "qemu-system-x86_64".to_owned(),
            img: "qemu-img".to_owned(),
            accelerator: "auto".to_owned(),
            kernel: String::new(),
            initrd: String::new(),
        }
    }
}

/// MicroVMs of Firecracker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FirecrackerSettings {
    /// A path; empty runs microVMs in QEMU.
    pub binary: String,
}

/// CDI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CdiSettings {
    /// Folders of CDI documents, the last wins.
    pub folders: Vec<PathBuf>,
    /// The kind of which `gpu-count` takes devices.
    pub gpu_kind: String,
    /// Kinds whose devices one instance has for itself alone.
    pub exclusive: Vec<String>,
}

impl Default for CdiSettings {
    fn default() -> Self {
        Self {
            folders: vec!["/etc/cdi".into(), "/var/run/cdi".into()],
            gpu_kind: "nvidia.com/gpu".to_owned(),
            exclusive: vec!["nvidia.com/gpu".to_owned()],
        }
    }
}

/// Where the node reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    /// `http://host:port` of a ClusterService; empty reports nowhere.
    pub server: String,
    /// `http://host:port` of etcd members, whose first that answers gets the node's record; empty writes none.
    pub etcd: Vec<String>,
}

/// Certificates and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSettings {
    /// PEM; empty speaks without TLS.
    pub tls_cert: PathBuf,
    /// PEM.
    pub tls_key: PathBuf,
    /// PEM; callers must show a certificate of it.
    pub tls_client_ca: PathBuf,
    /// File with one key a line; callers must show one as `authorization: Bearer` or `x-api-key`. Empty asks for none.
    pub keys: PathBuf,
    /// May others than this machine call without certificate or key.
    pub open: bool,
}
