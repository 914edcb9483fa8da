//! What a QEMU is started with, every name resolved.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::agent::id::InstanceId;
use crate::agent::spec::{Kind, Limits};

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU.
    Tcg,
}

impl Accelerator {
    /// As settings, labels and QEMU have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// Where its network device leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It has none.
    None,
    /// To QEMU, which gives it an address and nothing else.
    User,
    /// To a tap of this name, which comes and goes with QEMU.
    Tap(String),
}

/// Where QEMU listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sockets {
    /// The monitor.
    pub monitor: PathBuf,
    /// The monitor for when the first one serves somebody else.
    pub rescue: PathBuf,
    /// The serial line.
    pub console: PathBuf,
}

impl Sockets {
    /// In a folder with a short path.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let [monitor, rescue, console] =
            ["qmp.sock", "rescue.sock", "console.sock"].map(|name| folder.join(name));
        Self { monitor, rescue, console }
    }
}

/// A disk: an overlay of the instance's own over a file of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskPlan {
    /// qcow2.
    pub overlay: PathBuf,
    /// Its file and format (`qcow2`, `raw`); none for a disk that was empty.
    pub base: Option<(PathBuf, String)>,
    /// As the guest sees it.
    pub serial: String,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// VM or microVM.
    pub kind: Kind,
    /// `neuro-MARK-ID`.
    pub name: String,
    /// What executes it.
    pub accelerator: Accelerator,
    /// Cores.
    pub cpu_cores: u32,
    /// Bytes.
    pub memory_bytes: u64,
    /// Without it the first disk is booted.
    pub kernel: Option<PathBuf>,
    /// With a kernel.
    pub initrd: Option<PathBuf>,
    /// From the request.
    pub kernel_args: String,
    /// The boot disk first.
    pub disks: Vec<DiskPlan>,
    /// Bytes a second of all disks together.
    pub limits: Limits,
    /// Where its network device leads.
    pub link: Link,
    /// Of a guest on a cable, with its prefix. A kernel is told; a guest that boots its disk must know.
    pub address: Option<(Ipv4Addr, u8)>,
    /// Of its network device.
    pub mac: String,
    /// Where it listens.
    pub sockets: Sockets,
    /// What it wrote on its serial line.
    pub console_log: PathBuf,
}

/// An address of the locally administered range QEMU uses, the same for the same id.
#[must_use]
pub fn mac(id: &InstanceId) -> String {
    let short = id.short();
    let part = |at: usize| short.get(at..at + 2).unwrap_or("00");
    format!("52:54:00:{}:{}:{}", part(0), part(2), part(4))
}
