//! Every message in both profiles against bytes that Python's protobuf made of the published tables
//! (tests/clients/agent/golden.py).

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;
use prost_types::Timestamp;

type Golden = BTreeMap<String, BTreeMap<String, String>>;

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/agent/golden.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The value that the script gives a field.
fn n(field: &str) -> i64 {
    1000 + field.bytes().map(i64::from).sum::<i64>()
}

fn i(field: &str) -> i32 {
    n(field) as i32
}

fn at(field: &str) -> Option<Timestamp> {
    Some(Timestamp { seconds: n(field), nanos: 500_000_000 })
}

fn map(field: &str) -> BTreeMap<String, String> {
    [("a".to_owned(), field.to_owned()), ("b.c/d".to_owned(), "x".to_owned())].into()
}

fn list(field: &str) -> Vec<String> {
    vec![field.to_owned(), String::new()]
}

fn hex(message: &impl Message) -> String {
    message.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What both profiles share, made by hand of one profile's types.
macro_rules! shared {
    ($name:ident, $profile:literal, [$($wire:tt)+], { $($own:item)* }) => {
        mod $name {
            use super::*;
            use $($wire)+ as wire;

            $($own)*

            fn metadata() -> Option<wire::Metadata> {
                Some(wire::Metadata { labels: map("Metadata.labels"), annotations: map("Metadata.annotations") })
            }

            fn spec() -> wire::InstanceSpec {
                let s = |field: &str| format!("InstanceSpec.{field}");
                wire::InstanceSpec {
                    image: s("image"),
                    cpu_cores: i("InstanceSpec.cpu_cores"),
                    memory_bytes: n("InstanceSpec.memory_bytes"),
                    disks: vec![wire::DiskSpec {
                        name: "DiskSpec.name".into(),
                        size_bytes: n("DiskSpec.size_bytes"),
                        r#type: "DiskSpec.type".into(),
                        boot: true,
                    }],
                    network: Some(wire::NetworkSpec {
                        network_id: "NetworkSpec.network_id".into(),
                        subnet_id: "NetworkSpec.subnet_id".into(),
                        security_groups: list("NetworkSpec.security_groups"),
                        assign_public_ip: true,
                    }),
                    kernel: s("kernel"),
                    initrd: s("initrd"),
                    kernel_args: s("kernel_args"),
                    command: list("InstanceSpec.command"),
                    args: list("InstanceSpec.args"),
                    env: map("InstanceSpec.env"),
                    volume_mounts: vec![wire::VolumeMount {
                        name: "VolumeMount.name".into(),
                        mount_path: "VolumeMount.mount_path".into(),
                        read_only: true,
                    }],
                    limits: Some(wire::ResourceLimits {
                        cpu_quota: n("ResourceLimits.cpu_quota"),
                        cpu_period: n("ResourceLimits.cpu_period"),
                        memory_limit: n("ResourceLimits.memory_limit"),
                        memory_swap: n("ResourceLimits.memory_swap"),
                        io_read_bps: n("ResourceLimits.io_read_bps"),
                        io_write_bps: n("ResourceLimits.io_write_bps"),
                    }),
                }
            }

            fn resources() -> Option<wire::Resources> {
                Some(wire::Resources {
                    cpu_cores: i("Resources.cpu_cores"),
                    memory_bytes: n("Resources.memory_bytes"),
                    disk_bytes: n("Resources.disk_bytes"),
                    gpu_count: i("Resources.gpu_count"),
                })
            }

            fn conditions() -> Vec<wire::NodeCondition> {
                vec![wire::NodeCondition {
                    r#type: "NodeCondition.type".into(),
                    status: "NodeCondition.status".into(),
                    reason: "NodeCondition.reason".into(),
                    message: "NodeCondition.message".into(),
                    last_transition_time: at("NodeCondition.last_transition_time"),
                }]
            }

            fn all() -> Vec<(&'static str, String)> {
                use wire::*;
                let create = AgentCreateInstanceRequest {
                    instance_id: "AgentCreateInstanceRequest.instance_id".into(),
                    name: "AgentCreateInstanceRequest.name".into(),
                    r#type: InstanceType::Microvm.into(),
                    spec: Some(spec()),
                    labels: map("AgentCreateInstanceRequest.labels"),
                    annotations: map("AgentCreateInstanceRequest.annotations"),
                };
                let delete = AgentDeleteInstanceRequest {
                    instance_id: "AgentDeleteInstanceRequest.instance_id".into(),
                    force: true,
                };
                let one = AgentInstanceRequest { instance_id: "AgentInstanceRequest.instance_id".into() };
                let stop = AgentStopInstanceRequest {
                    instance_id: "AgentStopInstanceRequest.instance_id".into(),
                    force: true,
                    timeout_seconds: i("AgentStopInstanceRequest.timeout_seconds"),
                };
                let restart = AgentRestartInstanceRequest {
                    instance_id: "AgentRestartInstanceRequest.instance_id".into(),
                    force: true,
                };
                let input = agent_console_input::Input::Data("AgentConsoleInput.data".into());
                let size = AgentConsoleResize {
                    width: i("AgentConsoleResize.width"),
                    height: i("AgentConsoleResize.height"),
                };
                let register = RegisterNodeRequest {
                    hostname: "RegisterNodeRequest.hostname".into(),
                    ip: "RegisterNodeRequest.ip".into(),
                    port: i("RegisterNodeRequest.port"),
                    role: NodeRole::Worker.into(),
                    region: "RegisterNodeRequest.region".into(),
                    zone: "RegisterNodeRequest.zone".into(),
                    capacity: resources(),
                    metadata: metadata(),
                    supported_instance_types: list("RegisterNodeRequest.supported_instance_types"),
                };
                let registered = RegisterNodeResponse {
                    node_id: "RegisterNodeResponse.node_id".into(),
                    heartbeat_interval_seconds: n("RegisterNodeResponse.heartbeat_interval_seconds"),
                    lease_ttl_seconds: n("RegisterNodeResponse.lease_ttl_seconds"),
                };
                let beat = HeartbeatRequest {
                    node_id: "HeartbeatRequest.node_id".into(),
                    status: NodeStatus::Draining.into(),
                    conditions: conditions(),
                    allocated: resources(),
                };
                let command = NodeCommand {
                    id: "NodeCommand.id".into(),
                    r#type: "NodeCommand.type".into(),
                    parameters: map("NodeCommand.parameters"),
                };
                let beaten = HeartbeatResponse {
                    accepted: true,
                    next_heartbeat_seconds: n("HeartbeatResponse.next_heartbeat_seconds"),
                    commands: vec![command.clone()],
                };
                let gone = DeregisterNodeRequest { node_id: "DeregisterNodeRequest.node_id".into() };
                let update = UpdateNodeStatusRequest {
                    node_id: "UpdateNodeStatusRequest.node_id".into(),
                    status: NodeStatus::Draining.into(),
                    conditions: conditions(),
                    allocated: resources(),
                };
                let node = Node {
                    id: "Node.id".into(),
                    hostname: "Node.hostname".into(),
                    ip: "Node.ip".into(),
                    port: i("Node.port"),
                    role: NodeRole::Worker.into(),
                    status: NodeStatus::Draining.into(),
                    region: "Node.region".into(),
                    zone: "Node.zone".into(),
                    capacity: resources(),
                    allocatable: resources(),
                    allocated: resources(),
                    conditions: conditions(),
                    metadata: metadata(),
                    supported_instance_types: list("Node.supported_instance_types"),
                    created_at: at("Node.created_at"),
                    last_seen: at("Node.last_seen"),
                };
                vec![
                    ("AgentCreateInstanceRequest", hex(&create)),
                    ("AgentDeleteInstanceRequest", hex(&delete)),
                    ("AgentInstanceRequest", hex(&one)),
                    ("AgentStopInstanceRequest", hex(&stop)),
                    ("AgentRestartInstanceRequest", hex(&restart)),
                    ("AgentConsoleInput", hex(&AgentConsoleInput { input: Some(input) })),
                    ("AgentConsoleResize", hex(&size)),
                    ("AgentConsoleOutput", hex(&AgentConsoleOutput { data: "AgentConsoleOutput.data".into() })),
                    ("InstanceSpec", hex(&spec())),
                    ("Metadata", hex(&metadata().unwrap())),
                    ("Resources", hex(&resources().unwrap())),
                    ("NodeCondition", hex(&conditions()[0])),
                    ("RegisterNodeRequest", hex(&register)),
                    ("RegisterNodeResponse", hex(&registered)),
                    ("DeregisterNodeRequest", hex(&gone)),
                    ("HeartbeatRequest", hex(&beat)),
                    ("HeartbeatResponse", hex(&beaten)),
                    ("NodeCommand", hex(&command)),
                    ("UpdateNodeStatusRequest", hex(&update)),
                    ("Node", hex(&node)),
                    ("Instance", hex(&instance())),
                    ("InstanceStats", hex(&stats())),
                    ("AgentListInstancesResponse", hex(&AgentListInstancesResponse { instances: vec![instance()] })),
                ]
            }

            #[test]
            fn messages_are_the_bytes_that_python_makes_of_the_published_tables() {
                let mut golden = golden().remove($profile).unwrap();
                for (name, bytes) in all() {
                    assert_eq!(bytes, golden.remove(name).unwrap(), "{name}");
                }
                // These are parts of others, and were compared there.
                for inner in ["DiskSpec", "NetworkSpec", "VolumeMount", "ResourceLimits", "GpuStats"] {
                    golden.remove(inner);
                }
                assert!(golden.is_empty(), "not compared: {golden:?}");
            }
        }
    };
}

shared!(document, "document", [crate::proto::hypervisor::v1], {
    fn instance() -> wire::Instance {
        wire::Instance {
            id: "Instance.id".into(),
            name: "Instance.name".into(),
            r#type: wire::InstanceType::Microvm.into(),
            state: wire::InstanceState::Deleting.into(),
            spec: Some(spec()),
            node_id: "Instance.node_id".into(),
            ip_address: "Instance.ip_address".into(),
            metadata: metadata(),
            error_message: "Instance.error_message".into(),
            created_at: at("Instance.created_at"),
            updated_at: at("Instance.updated_at"),
            started_at: at("Instance.started_at"),
            ended_at: at("Instance.ended_at"),
            exit_code: Some(i("Instance.exit_code")),
            restarts: i("Instance.restarts"),
            ready: true,
            devices: list("Instance.devices"),
        }
    }

    fn stats() -> wire::InstanceStats {
        let s = |field: &str| n(&format!("InstanceStats.{field}"));
        wire::InstanceStats {
            instance_id: "InstanceStats.instance_id".into(),
            cpu_usage_percent: s("cpu_usage_percent") as f32 + 0.25,
            memory_usage_bytes: s("memory_usage_bytes"),
            disk_read_bytes: s("disk_read_bytes"),
            disk_write_bytes: s("disk_write_bytes"),
            network_rx_bytes: s("network_rx_bytes"),
            network_tx_bytes: s("network_tx_bytes"),
            cpu_time_ns: s("cpu_time_ns"),
            memory_cache_bytes: s("memory_cache_bytes"),
            collected_at: at("InstanceStats.collected_at"),
            disk_usage_bytes: s("disk_usage_bytes"),
            gpus: vec![wire::GpuStats {
                device: "GpuStats.device".into(),
                utilization_percent: n("GpuStats.utilization_percent") as f32 + 0.25,
                memory_used_bytes: n("GpuStats.memory_used_bytes"),
                memory_total_bytes: n("GpuStats.memory_total_bytes"),
            }],
            cpu_throttled_periods: s("cpu_throttled_periods"),
            processes: i("InstanceStats.processes"),
        }
    }
});

shared!(upstream, "upstream", [crate::proto::hypervisor_upstream::v1], {
    fn instance() -> wire::Instance {
        wire::Instance {
            id: "Instance.id".into(),
            name: "Instance.name".into(),
            r#type: wire::InstanceType::Microvm.into(),
            state: wire::InstanceState::Deleting.into(),
            spec: Some(spec()),
            node_id: "Instance.node_id".into(),
            ip_address: "Instance.ip_address".into(),
            metadata: metadata(),
            state_reason: "Instance.state_reason".into(),
            created_at: at("Instance.created_at"),
            started_at: at("Instance.started_at"),
        }
    }

    fn stats() -> wire::InstanceStats {
        let s = |field: &str| n(&format!("InstanceStats.{field}"));
        wire::InstanceStats {
            instance_id: "InstanceStats.instance_id".into(),
            cpu_usage_percent: s("cpu_usage_percent") as f64 + 0.25,
            cpu_time_ns: s("cpu_time_ns"),
            memory_used_bytes: s("memory_used_bytes"),
            memory_cache_bytes: s("memory_cache_bytes"),
            disk_read_bytes: s("disk_read_bytes"),
            disk_write_bytes: s("disk_write_bytes"),
            network_rx_bytes: s("network_rx_bytes"),
            network_tx_bytes: s("network_tx_bytes"),
            collected_at: at("InstanceStats.collected_at"),
        }
    }
});
