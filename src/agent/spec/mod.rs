//! What an instance is to be: checked, with the agent's defaults filled in. Names in it are names: none is ever used as a
//! path of the host.

pub mod check;
mod container;
mod machine;
#[cfg(test)]
mod tests;
pub mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::options::Options;

/// What runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A virtual machine with firmware, PCI and disks.
    Vm,
    /// Processes in namespaces.
    Container,
    /// A virtual machine with nothing but virtio, started from a kernel.
    MicroVm,
}

impl Kind {
    /// As registration and settings have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Container => "container",
            Self::MicroVm => "microvm",
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The request as it came, `AgentCreateInstanceRequest` with its maps in order: what is echoed, and what tells the same
    /// request from another. In the file as base64.
    #[serde(with = "wire")]
    pub request: Vec<u8>,
    /// Its display name.
    pub name: String,
    /// What runs it.
    pub kind: Kind,
    /// In the image store.
    pub image: String,
    /// Cores it may use; at least 1.
    pub cpu_cores: u32,
    /// Bytes; for a container a limit, or 0 for none.
    pub memory_bytes: u64,
    /// The boot disk first; empty for the image's own size.
    pub disks: Vec<Disk>,
    /// In the image store; for a microVM and for a VM that boots without firmware.
    pub kernel: Option<String>,
    /// In the image store.
    pub initrd: Option<String>,
    /// Appended to the agent's own.
    pub kernel_args: String,
    /// Replaces the image's entry point when it is not empty.
    pub command: Vec<String>,
    /// Replaces the image's arguments when `command` or this is not empty.
    pub args: Vec<String>,
    /// On top of the image's.
    pub env: BTreeMap<String, String>,
    /// Named volumes.
    pub mounts: Vec<Mount>,
    /// What it may use.
    pub limits: Limits,
    /// Free.
    pub labels: BTreeMap<String, String>,
    /// What the agent reads out of the annotations.
    pub options: Options,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Unique in its instance.
    pub name: String,
    /// Bytes; 0 for the image's size, or no quota.
    pub size_bytes: u64,
    /// It is started from this one.
    pub boot: bool,
}

/// A volume in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// In the volume store.
    pub volume: String,
    /// Absolute, inside.
    pub path: String,
    /// It cannot be written to.
    pub read_only: bool,
}

/// What it may use; 0 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Microseconds of processor time a period; 0 is `cpu_cores` whole ones.
    pub cpu_quota_us: u64,
    /// Microseconds.
    pub cpu_period_us: u64,
    /// Bytes; 0 is the spec's `memory_bytes`.
    pub memory_bytes: u64,
    /// Bytes of memory and swap together; 0 is no swap.
    pub memory_and_swap_bytes: u64,
    /// Bytes a second.
    pub io_read_bps: u64,
    /// Bytes a second.
    pub io_write_bps: u64,
}

/// Bytes of the wire in a text file.
mod wire {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(input)?).map_err(D::Error::custom)
    }
}
