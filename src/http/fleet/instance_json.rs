//! Instances and pools as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::words;
use crate::fleet::rows::GpuRef;
use crate::fleet::view::{InstanceView, PoolView};
use crate::proto::neuro::ext;

/// A simulator or trainer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Instance {
    /// Its UUID.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// `simulator` or `trainer`.
    pub role: &'static str,
    /// Its pool.
    pub pool: String,
    /// The machine it runs on.
    pub node: String,
    /// The version it says it is.
    pub version: String,
    /// `idle`, `busy`, `draining`, `away` (its lease runs) or `lost`.
    pub state: &'static str,
    /// Raised by every grant; orders with a lower one are refused.
    pub fence: u64,
    /// The session that holds it.
    pub session_id: Option<String>,
    /// Which environment of that session it is.
    pub env_index: Option<u32>,
    /// Until when sessions on it may stay, while it drains, Unix ms.
    pub drain_until_ms: Option<i64>,
    /// When it was first seen, Unix ms.
    pub registered_ms: i64,
    /// What it can do.
    pub labels: BTreeMap<String, String>,
    /// Its GPUs.
    pub gpus: Vec<Gpu>,
    /// Its memory, in MiB; 0 where it did not say.
    pub memory_mb: u64,
    /// Its reset/step socket.
    pub zmq_endpoint: String,
    /// What it last said; null before its first heartbeat after a restart.
    pub pulse: Option<Pulse>,
}

/// A heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Pulse {
    /// When it came, Unix ms.
    pub at_ms: i64,
    /// Physics or training steps a second, measured.
    pub fps: f64,
    /// Steps since the scene was loaded.
    pub frame_count: i64,
    /// Seconds of simulated time.
    pub simulation_time_s: f64,
    /// 0 to 1.
    pub cpu_utilization: f64,
    /// Whether somebody drives it.
    pub client_connected: bool,
    /// When the last command came, Unix ms; 0 for never.
    pub last_command_ms: i64,
}

/// A GPU.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Gpu {
    /// As `nvidia-smi` counts.
    pub index: u32,
    /// Its UUID; empty where nobody said.
    pub uuid: String,
    /// Its model.
    pub name: String,
    /// MiB; 0 where nobody said.
    pub memory_total_mb: i64,
    /// MiB.
    pub memory_used_mb: i64,
    /// 0 to 1.
    pub utilization: f64,
    /// Degrees Celsius.
    pub temperature_c: i32,
    /// Watts.
    pub power_watts: f64,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// `process`, `static`, `slurm`, `ray`, ...
    pub backend: String,
    /// `simulator` or `trainer`.
    pub role: &'static str,
    /// Instances being started.
    pub starting: u32,
    /// Idle ones that are kept ready.
    pub warm: u32,
    /// At most so many.
    pub max: u32,
    /// Why the last start failed; empty when it did not.
    pub trouble: String,
    /// Its instances.
    pub instances: Vec<Instance>,
}

impl From<&PoolView> for Pool {
    fn from(pool: &PoolView) -> Self {
        Self {
            name: pool.name.clone(),
            backend: pool.backend.clone(),
            role: pool.role.name(),
            starting: pool.starting,
            warm: pool.warm,
            max: pool.max,
            trouble: pool.trouble.clone(),
            instances: pool.instances.iter().map(Instance::from).collect(),
        }
    }
}

impl From<&InstanceView> for Instance {
    fn from(view: &InstanceView) -> Self {
        let row = &view.row;
        let said = view.pulse.as_ref().map_or(&[][..], |pulse| &pulse.heartbeat.gpus);
        let gpus = if said.is_empty() { row.gpus.iter().map(Gpu::from).collect() } else { gpus(said) };
        Self {
            id: row.id.to_string(),
            name: row.name.clone(),
            role: row.role.name(),
            pool: row.pool.clone(),
            node: row.node.clone(),
            version: row.version.clone(),
            state: words::state(row),
            fence: row.fence.0,
            session_id: row.holder.as_ref().map(|holder| holder.session.to_string()),
            env_index: row.holder.as_ref().map(|holder| holder.env_index),
            drain_until_ms: row.drain_until_ms,
            registered_ms: row.registered_ms,
            labels: row.labels.clone(),
            gpus,
            memory_mb: row.memory_mb,
            zmq_endpoint: row.endpoints.zmq_endpoint.clone(),
            pulse: view.pulse.as_ref().map(|pulse| Pulse {
                at_ms: pulse.at_ms,
                fps: rounded(pulse.heartbeat.fps),
                frame_count: pulse.heartbeat.frame_count,
                simulation_time_s: pulse.heartbeat.simulation_time,
                cpu_utilization: rounded(f64::from(pulse.heartbeat.cpu_utilization)),
                client_connected: pulse.heartbeat.client_connected,
                last_command_ms: pulse.heartbeat.last_command_ms,
            }),
        }
    }
}

/// GPUs as instances and NVML tell them.
#[must_use]
pub fn gpus(said: &[ext::Gpu]) -> Vec<Gpu> {
    said.iter().map(Gpu::from).collect()
}

impl From<&ext::Gpu> for Gpu {
    fn from(gpu: &ext::Gpu) -> Self {
        Self {
            index: u32::try_from(gpu.index).unwrap_or_default(),
            uuid: gpu.uuid.clone(),
            name: gpu.name.clone(),
            memory_total_mb: gpu.memory_total_mb,
            memory_used_mb: gpu.memory_used_mb,
            utilization: rounded(f64::from(gpu.utilization)),
            temperature_c: gpu.temperature_c,
            power_watts: rounded(f64::from(gpu.power_watts)),
        }
    }
}

impl From<&GpuRef> for Gpu {
    fn from(gpu: &GpuRef) -> Self {
        Self {
            index: gpu.index,
            uuid: gpu.uuid.clone(),
            name: gpu.name.clone(),
            memory_total_mb: 0,
            memory_used_mb: 0,
            utilization: 0.0,
            temperature_c: 0,
            power_watts: 0.0,
        }
    }
}

/// Three decimals: more is noise, and would make every heartbeat a change.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
