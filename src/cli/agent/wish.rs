//! An instance as a JSON file: the fields of CreateInstance by their names, so that the same file is what other clients
//! send. Unknown keys are refused.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::proto::hypervisor::v1::{
    AgentCreateInstanceRequest, DiskSpec, InstanceSpec, InstanceType, NetworkSpec, ResourceLimits,
    VolumeMount,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wish {
    instance_id: String,
    name: String,
    r#type: String,
    spec: Spec,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Spec {
    image: String,
    cpu_cores: i32,
    memory_bytes: i64,
    disks: Vec<Disk>,
    network: Option<Network>,
    kernel: String,
    initrd: String,
    kernel_args: String,
    command: Vec<String>,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    volume_mounts: Vec<Mount>,
    limits: Option<Limits>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Disk {
    name: String,
    size_bytes: i64,
    r#type: String,
    boot: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Network {
    network_id: String,
    subnet_id: String,
    security_groups: Vec<String>,
    assign_public_ip: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Mount {
    name: String,
    mount_path: String,
    read_only: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    cpu_quota: i64,
    cpu_period: i64,
    memory_limit: i64,
    memory_swap: i64,
    io_read_bps: i64,
    io_write_bps: i64,
}

/// The kind that a word stands for: `container` or `INSTANCE_TYPE_CONTAINER`.
pub(super) fn kind(word: &str) -> Result<InstanceType, String> {
    match word.trim_start_matches("INSTANCE_TYPE_").to_ascii_lowercase().as_str() {
        "container" => Ok(InstanceType::Container),
        "vm" => Ok(InstanceType::Vm),
        "microvm" => Ok(InstanceType::Microvm),
        _ => Err(format!("{word:?} is no kind; expected container, vm or microvm")),
    }
}

/// Reads a file's text.
pub(super) fn read(text: &str) -> Result<AgentCreateInstanceRequest, String> {
    let mut document = serde_json::Deserializer::from_str(text);
    let wish: Wish = serde_path_to_error::deserialize(&mut document).map_err(|error| {
        let key = error.path().to_string();
        if key == "." { error.inner().to_string() } else { format!("`{key}`: {}", error.inner()) }
    })?;
    document.end().map_err(|error| error.to_string())?;
    let kind = if wish.r#type.is_empty() { InstanceType::Unspecified } else { kind(&wish.r#type)? };
    let spec = wish.spec;
    let disk = |disk: Disk| DiskSpec {
        name: disk.name,
        size_bytes: disk.size_bytes,
        r#type: disk.r#type,
        boot: disk.boot,
    };
    let mount = |mount: Mount| VolumeMount {
        name: mount.name,
        mount_path: mount.mount_path,
        read_only: mount.read_only,
    };
    Ok(AgentCreateInstanceRequest {
        instance_id: wish.instance_id,
        name: wish.name,
        r#type: kind.into(),
        spec: Some(InstanceSpec {
            image: spec.image,
            cpu_cores: spec.cpu_cores,
            memory_bytes: spec.memory_bytes,
            disks: spec.disks.into_iter().map(disk).collect(),
            network: spec.network.map(|network| NetworkSpec {
                network_id: network.network_id,
                subnet_id: network.subnet_id,
                security_groups: network.security_groups,
                assign_public_ip: network.assign_public_ip,
            }),
            kernel: spec.kernel,
            initrd: spec.initrd,
            kernel_args: spec.kernel_args,
            command: spec.command,
            args: spec.args,
            env: spec.env,
            volume_mounts: spec.volume_mounts.into_iter().map(mount).collect(),
            limits: spec.limits.map(|limits| ResourceLimits {
                cpu_quota: limits.cpu_quota,
                cpu_period: limits.cpu_period,
                memory_limit: limits.memory_limit,
                memory_swap: limits.memory_swap,
                io_read_bps: limits.io_read_bps,
                io_write_bps: limits.io_write_bps,
            }),
        }),
        labels: wish.labels,
        annotations: wish.annotations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_fields_of_the_wire() {
        let request = read(
            r#"{ "instance_id": "a", "type": "INSTANCE_TYPE_CONTAINER",
                 "spec": { "image": "tool:1", "cpu_cores": 2, "env": { "A": "b" }, "limits": { "io_read_bps": 5 },
                           "volume_mounts": [{ "name": "v", "mount_path": "/v", "read_only": true }] },
                 "annotations": { "hypervisor.io/tty": "true" } }"#,
        )
        .unwrap();
        let spec = request.spec.as_ref().unwrap();
        assert_eq!(
            (request.r#type(), spec.image.as_str(), spec.cpu_cores),
            (InstanceType::Container, "tool:1", 2)
        );
        assert_eq!((spec.env["A"].as_str(), spec.limits.unwrap().io_read_bps), ("b", 5));
        assert!(spec.volume_mounts[0].read_only && request.annotations["hypervisor.io/tty"] == "true");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        for (text, said) in [
            (r#"{ "spec": { "imagine": "a" } }"#, "`spec.imagine`: unknown field `imagine`"),
            (r#"{ "spec": { "cpu_cores": "two" } }"#, "`spec.cpu_cores`: invalid type"),
            (r#"{ "type": "jail" }"#, "\"jail\" is no kind"),
            ("{} {}", "trailing characters"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[test]
    fn the_example_of_an_isaac_sim_is_an_instance_that_the_agent_takes() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/agent-isaac-sim.json");
        let request = read(&std::fs::read_to_string(path).unwrap()).unwrap();
        let settings = crate::agent::settings::AgentSettings::default();
        let (_, spec) = crate::agent::spec::check::check(&request, &settings).unwrap();
        assert_eq!((spec.options.gpu_count, spec.options.shm_bytes), (1, 16 << 30));
        assert_eq!(spec.options.ready_line.as_deref(), Some("Isaac Sim Full Streaming App is loaded"));
        assert_eq!(spec.env["ACCEPT_EULA"], "Y");
        assert!(spec.mounts.len() >= 8);
    }
}
