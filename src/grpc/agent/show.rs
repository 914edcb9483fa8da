//! Instances and their figures as messages. Everything that differs between the profiles is in this file.

use prost::Message;
use prost_types::Timestamp;

use crate::agent::Stats;
use crate::agent::record::{Record, State};
use crate::proto::hypervisor::v1 as own;
use crate::proto::hypervisor_upstream::v1 as upstream;

/// A message of one profile as the same message of the other; for those that do not differ.
pub(super) fn same<A: Message, B: Message + Default>(message: &A) -> B {
    // What was encoded a line above can be decoded.
    B::decode(message.encode_to_vec().as_slice()).unwrap_or_default()
}

/// An instance in the agent's own profile.
pub(super) fn instance(record: &Record, node_id: &str) -> own::Instance {
    let request = own::AgentCreateInstanceRequest::decode(record.spec.request.as_slice()).unwrap_or_default();
    own::Instance {
        id: record.id.to_string(),
        name: request.name,
        r#type: request.r#type,
        state: state(record.state).into(),
        spec: request.spec,
        node_id: node_id.to_owned(),
        ip_address: record.ip.clone(),
        metadata: Some(own::Metadata { labels: request.labels, annotations: request.annotations }),
        error_message: record.reason.clone(),
        created_at: instant(record.created_ms),
        updated_at: instant(record.updated_ms),
        started_at: instant(record.started_ms),
        ended_at: instant(record.ended_ms),
        exit_code: record.exit.as_ref().map(|exit| exit.code),
        restarts: i32::try_from(record.restarts).unwrap_or(i32::MAX),
        ready: record.ready,
        devices: record.devices.clone(),
    }
}

/// An instance as the Go server reads it.
pub(super) fn upstream_instance(record: &Record, node_id: &str) -> upstream::Instance {
    let own = instance(record, node_id);
    upstream::Instance {
        id: own.id,
        name: own.name,
        r#type: own.r#type,
        state: own.state,
        spec: own.spec.map(|spec| same(&spec)),
        node_id: own.node_id,
        ip_address: own.ip_address,
        metadata: own.metadata.map(|metadata| same(&metadata)),
        state_reason: own.error_message,
        created_at: own.created_at,
        started_at: own.started_at,
    }
}

/// Figures in the agent's own profile.
pub(super) fn stats(id: &str, stats: &Stats) -> own::InstanceStats {
    let usage = &stats.usage;
    own::InstanceStats {
        instance_id: id.to_owned(),
        cpu_usage_percent: stats.cpu_percent as f32,
        memory_usage_bytes: signed(usage.memory_used_bytes),
        disk_read_bytes: signed(usage.disk_read_bytes),
        disk_write_bytes: signed(usage.disk_written_bytes),
        network_rx_bytes: signed(usage.network_received_bytes),
        network_tx_bytes: signed(usage.network_sent_bytes),
        cpu_time_ns: signed(usage.cpu_time_ns),
        memory_cache_bytes: signed(usage.memory_cache_bytes),
        collected_at: instant(stats.collected_ms),
        disk_usage_bytes: signed(usage.disk_used_bytes),
        gpus: stats
            .gpus
            .iter()
            .map(|gpu| own::GpuStats {
                device: gpu.device.clone(),
                utilization_percent: gpu.utilization_percent as f32,
                memory_used_bytes: signed(gpu.memory_used_bytes),
                memory_total_bytes: signed(gpu.memory_total_bytes),
            })
            .collect(),
        cpu_throttled_periods: signed(usage.cpu_throttled_periods),
        processes: i32::try_from(usage.processes).unwrap_or(i32::MAX),
    }
}

/// Figures as the Go server reads them.
pub(super) fn upstream_stats(id: &str, stats: &Stats) -> upstream::InstanceStats {
    let usage = &stats.usage;
    upstream::InstanceStats {
        instance_id: id.to_owned(),
        cpu_usage_percent: stats.cpu_percent,
        cpu_time_ns: signed(usage.cpu_time_ns),
        memory_used_bytes: signed(usage.memory_used_bytes),
        memory_cache_bytes: signed(usage.memory_cache_bytes),
        disk_read_bytes: signed(usage.disk_read_bytes),
        disk_write_bytes: signed(usage.disk_written_bytes),
        network_rx_bytes: signed(usage.network_received_bytes),
        network_tx_bytes: signed(usage.network_sent_bytes),
        collected_at: instant(stats.collected_ms),
    }
}

const fn state(state: State) -> own::InstanceState {
    match state {
        State::Pending => own::InstanceState::Pending,
        State::Creating => own::InstanceState::Creating,
        State::Running => own::InstanceState::Running,
        State::Stopped => own::InstanceState::Stopped,
        State::Failed => own::InstanceState::Failed,
        State::Deleting => own::InstanceState::Deleting,
    }
}

/// Unix ms as the wire has it; nothing for what has not been yet.
fn instant(at_ms: i64) -> Option<Timestamp> {
    let nanos = i32::try_from(at_ms.rem_euclid(1000)).unwrap_or(0).saturating_mul(1_000_000);
    (at_ms != 0).then(|| Timestamp { seconds: at_ms.div_euclid(1000), nanos })
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::GpuFigures;
    use crate::agent::driver::Usage;

    fn figures() -> Stats {
        Stats {
            usage: Usage {
                cpu_time_ns: 1,
                cpu_throttled_periods: 2,
                memory_used_bytes: 3,
                memory_cache_bytes: 4,
                disk_used_bytes: 5,
                disk_read_bytes: 6,
                disk_written_bytes: 7,
                network_received_bytes: 8,
                network_sent_bytes: u64::MAX,
                processes: 9,
            },
            cpu_percent: 12.5,
            collected_ms: 1_763_731_445_123,
            gpus: vec![GpuFigures {
                device: "nvidia.com/gpu=0".into(),
                utilization_percent: 50.0,
                memory_used_bytes: 10,
                memory_total_bytes: 11,
            }],
        }
    }

    #[test]
    fn both_profiles_say_the_same_figures_at_their_own_numbers() {
        let (own, other) = (stats("a", &figures()), upstream_stats("a", &figures()));
        assert_eq!((own.cpu_usage_percent, other.cpu_usage_percent), (12.5, 12.5));
        assert_eq!((own.memory_usage_bytes, other.memory_used_bytes), (3, 3));
        assert_eq!((own.disk_write_bytes, other.disk_write_bytes), (7, 7));
        assert_eq!((own.network_rx_bytes, own.network_tx_bytes), (8, i64::MAX));
        assert_eq!(
            (own.cpu_time_ns, own.disk_usage_bytes, own.cpu_throttled_periods, own.processes),
            (1, 5, 2, 9)
        );
        assert_eq!(own.gpus[0].memory_total_bytes, 11);
        assert_eq!(own.collected_at, Some(Timestamp { seconds: 1_763_731_445, nanos: 123_000_000 }));
        assert_eq!(own.collected_at, other.collected_at);
    }

    #[test]
    fn instants_that_have_not_been_are_left_out() {
        assert_eq!(instant(0), None);
        assert_eq!(instant(-1), Some(Timestamp { seconds: -1, nanos: 999_000_000 }));
    }
}
