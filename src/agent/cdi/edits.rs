//! What a CDI device needs, put into a container's OCI configuration. A device file gets its rule in the device group too:
//! without it the container sees a file that it may not open.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use serde_json::{Value, json};

use super::document::{DeviceNode, Edits};
use crate::agent::error::AgentError;

/// Puts edits into `config`, an OCI configuration.
///
/// # Errors
/// `Precondition` for a device file that the host has not.
pub fn apply(edits: &Edits, config: &mut Value) -> Result<(), AgentError> {
    for text in &edits.env {
        let name = variable(text);
        edit(config, "/process", "env", |env| {
            env.retain(|old| old.as_str().map(variable) != Some(name));
            env.push(json!(text));
        });
    }
    for node in &edits.device_nodes {
        let (device, rule) = device(node)?;
        edit(config, "/linux", "devices", |devices| {
            devices.retain(|old| old["path"] != device["path"]);
            devices.push(device);
        });
        edit(config, "/linux/resources", "devices", |rules| rules.push(rule));
    }
    for mount in &edits.mounts {
        let options = if mount.options.is_empty() {
            vec!["ro".to_owned(), "nosuid".to_owned(), "nodev".to_owned(), "bind".to_owned()]
        } else {
            mount.options.clone()
        };
        let entry = json!({
            "destination": mount.container_path,
            "source": mount.host_path,
            "type": mount.kind.as_deref().unwrap_or("bind"),
            "options": options,
        });
        edit(config, "", "mounts", |mounts| mounts.push(entry));
    }
    for hook in &edits.hooks {
        let mut entry = json!({ "path": hook.path, "args": hook.args, "env": hook.env });
        if let Some(timeout) = hook.timeout {
            entry["timeout"] = json!(timeout);
        }
        edit(config, "/hooks", &hook.hook_name, |hooks| hooks.push(entry));
    }
    for group in &edits.additional_gids {
        edit(config, "/process/user", "additionalGids", |groups| {
            if !groups.contains(&json!(group)) {
                groups.push(json!(group));
            }
        });
    }
    Ok(())
}

fn variable(text: &str) -> &str {
    text.split_once('=').map_or(text, |(name, _)| name)
}

/// The device and its rule.
fn device(node: &DeviceNode) -> Result<(Value, Value), AgentError> {
    let host = node.host_path.as_ref().unwrap_or(&node.path);
    let mut kind = node.kind.clone();
    let (mut major, mut minor) = (node.major, node.minor);
    if kind.is_none() || major.is_none() || minor.is_none() {
        let found = std::fs::metadata(host).map_err(|error| {
            AgentError::Precondition(format!("CDI device file {}: {error}", host.display()))
        })?;
        let file = found.file_type();
        let seen = match (file.is_block_device(), file.is_char_device(), file.is_fifo()) {
            (true, ..) => "b",
            (_, true, _) => "c",
            (.., true) => "p",
            _ => {
                return Err(AgentError::Precondition(format!(
                    "CDI device file {} is no device",
                    host.display()
                )));
            }
        };
        kind.get_or_insert_with(|| seen.to_owned());
        major.get_or_insert_with(|| i64::from(rustix::fs::major(found.rdev())));
        minor.get_or_insert_with(|| i64::from(rustix::fs::minor(found.rdev())));
    }
    let mut device = json!({ "path": node.path, "type": kind, "major": major, "minor": minor });
    for (name, value) in [("fileMode", node.file_mode), ("uid", node.uid), ("gid", node.gid)] {
        if let Some(value) = value {
            device[name] = json!(value);
        }
    }
    let access = node.permissions.as_deref().filter(|text| !text.is_empty()).unwrap_or("rwm");
    let rule = json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access });
    Ok((device, rule))
}

/// Changes a list in an object at `place`; both come into being when they are not there.
fn edit(config: &mut Value, place: &str, name: &str, change: impl FnOnce(&mut Vec<Value>)) {
    let mut at = config;
    for step in place.split('/').filter(|step| !step.is_empty()).chain([name]) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[step];
    }
    if !at.is_array() {
        *at = json!([]);
    }
    if let Value::Array(list) = at {
        change(list);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Hook, Mount};
    use super::*;

    #[test]
    fn a_device_brings_its_file_its_rule_its_mounts_hooks_environment_and_groups() {
        let mut config = json!({"process": {"env": ["A=1", "B=2"]}, "linux": {"resources": {"devices": [{"allow": false}]}}});
        let edits = Edits {
            env: vec!["A=9".to_owned()],
            device_nodes: vec![DeviceNode {
                path: "/dev/fake0".into(),
                host_path: Some("/dev/null".into()),
                permissions: Some("rw".to_owned()),
                ..DeviceNode::default()
            }],
            mounts: vec![Mount {
                host_path: "/etc/hostname".to_owned(),
                container_path: "/etc/fake".to_owned(),
                ..Mount::default()
            }],
            hooks: vec![Hook {
                hook_name: "createContainer".to_owned(),
                path: "/usr/bin/true".to_owned(),
                ..Hook::default()
            }],
            additional_gids: vec![44],
        };
        apply(&edits, &mut config).unwrap();
        apply(&Edits { additional_gids: vec![44], ..Edits::default() }, &mut config).unwrap();
        assert_eq!(config["process"]["env"], json!(["B=2", "A=9"]));
        assert_eq!(
            config["linux"]["devices"],
            json!([{"path": "/dev/fake0", "type": "c", "major": 1, "minor": 3}])
        );
        assert_eq!(
            config["linux"]["resources"]["devices"][1],
            json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"})
        );
        assert_eq!(config["mounts"][0]["options"], json!(["ro", "nosuid", "nodev", "bind"]));
        assert_eq!(config["hooks"]["createContainer"][0]["path"], "/usr/bin/true");
        assert_eq!(config["process"]["user"]["additionalGids"], json!([44]));
    }

    #[test]
    fn a_device_file_that_the_host_has_not_is_named() {
        let missing = DeviceNode { path: "/dev/no-such".into(), ..DeviceNode::default() };
        let edits = Edits { device_nodes: vec![missing], ..Edits::default() };
        let error = apply(&edits, &mut json!({})).unwrap_err();
        assert!(matches!(&error, AgentError::Precondition(text) if text.contains("/dev/no-such")), "{error}");
    }
}
