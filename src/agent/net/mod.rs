//! Cables: a network device of the host whose other end is in an instance. There is no bridge, no route and no address
//! translation: a cable reaches the host and nothing further, and its counters are the instance's to the byte. It is IPv4's
//! alone: the host's end has no IPv6.

mod lease;
mod link;
mod namespace;

use std::fs;
use std::net::Ipv4Addr;

use super::error::AgentError;
use super::id::InstanceId;

pub use lease::Cables;

/// An instance's end of a cable.
pub const INSIDE: &str = "eth0";

/// A cable's name and addresses: from its lease until that is released the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cable {
    /// The host's device.
    pub device: String,
    /// What its alias says, so that it is known when the agent that made it is not: `neuro-MARK-ID`.
    pub alias: String,
    /// The host's address.
    pub host: Ipv4Addr,
    /// The instance's address.
    pub guest: Ipv4Addr,
    /// Of both.
    pub prefix: u8,
}

/// Bytes, as the instance sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// To the instance.
    pub received_bytes: u64,
    /// From the instance.
    pub sent_bytes: u64,
}

/// The name of an instance's device: fifteen bytes are the most that Linux takes.
#[must_use]
pub fn device(id: &InstanceId) -> String {
    format!("nv{}", id.short().get(..11).unwrap_or_default())
}

impl Cable {
    /// Lays a veth pair: one end here, the other in the network namespace of a process, both with their addresses and up.
    /// No route is set but that to the other end. One that lies there already is taken away first.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn plug(&self, pid: i32) -> Result<(), AgentError> {
        let failed = |error: String| AgentError::internal(format!("network device {:?}", self.device), error);
        let handle = link::open().map_err(failed)?;
        link::remove(&handle, &self.device).await.map_err(failed)?;
        link::pair(&handle, &self.device, pid.unsigned_abs()).await.map_err(failed)?;
        link::shut(&self.device).map_err(failed)?;
        link::dress(&handle, &self.device, Some(&self.alias), self.host, self.prefix)
            .await
            .map_err(failed)?;
        namespace::dress(pid, self.guest, self.prefix).await.map_err(failed)
    }

    /// Gives a device that somebody else made, a tap, the alias and the host's address, and brings it up.
    ///
    /// # Errors
    /// There is no such device, or the kernel refuses.
    pub async fn dress(&self) -> Result<(), AgentError> {
        let failed = |error: String| AgentError::internal(format!("network device {:?}", self.device), error);
        let handle = link::open().map_err(failed)?;
        link::shut(&self.device).map_err(failed)?;
        link::dress(&handle, &self.device, Some(&self.alias), self.host, self.prefix).await.map_err(failed)
    }
}

/// Takes a device away. One that is gone is no error.
///
/// # Errors
/// The kernel refuses.
pub async fn remove(device: &str) -> Result<(), AgentError> {
    let failed = |error: String| AgentError::internal(format!("network device {device:?}"), error);
    link::remove(&link::open().map_err(failed)?, device).await.map_err(failed)
}

/// What went through a device; nothing when it is not there.
#[must_use]
pub fn counters(device: &str) -> Option<Counters> {
    let number = |name: &str| {
        fs::read_to_string(format!("/sys/class/net/{device}/statistics/{name}")).ok()?.trim().parse().ok()
    };
    Some(Counters { received_bytes: number("tx_bytes")?, sent_bytes: number("rx_bytes")? })
}

/// Devices that carry a mark: name, and the instance that the alias names.
#[must_use]
pub fn marked(mark: &str) -> Vec<(String, String)> {
    let prefix = format!("neuro-{mark}-");
    let Ok(devices) = fs::read_dir("/sys/class/net") else { return Vec::new() };
    devices
        .flatten()
        .filter_map(|device| {
            let alias = fs::read_to_string(device.path().join("ifalias")).ok()?;
            let id = alias.trim().strip_prefix(&prefix)?.to_owned();
            Some((device.file_name().to_str()?.to_owned(), id))
        })
        .collect()
}
