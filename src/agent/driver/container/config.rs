//! The OCI configuration of a container: its spec, its image, its volumes and its devices in the runtime's words.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::confine;
use super::mounts;
use super::user::User;
use crate::agent::cdi::{self, Edits};
use crate::agent::cgroup::DeviceNumber;
use crate::agent::error::AgentError;
use crate::agent::image::RootImage;
use crate::agent::options::Network;
use crate::agent::spec::Spec;

const PERIOD_US: u64 = 100_000;
const SHM_BYTES: u64 = 64 << 20;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What goes into a configuration besides the spec.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) id: &'a str,
    pub(super) mark: &'a str,
    pub(super) spec: &'a Spec,
    pub(super) image: &'a RootImage,
    pub(super) root: PathBuf,
    /// A folder with `hosts` and `resolv.conf`, to be mounted.
    pub(super) names: Option<PathBuf>,
    pub(super) user: User,
    /// Of the spec's mounts, in their order.
    pub(super) volumes: Vec<PathBuf>,
    /// The device whose throughput is limited.
    pub(super) disk: Option<DeviceNumber>,
    pub(super) capabilities: &'a [String],
    pub(super) pids: u32,
    /// The machine counts swap.
    pub(super) swap: bool,
    /// The kernel spares the agent when memory runs short, which what it runs is not to inherit.
    pub(super) spared: bool,
    pub(super) edits: Vec<&'a Edits>,
}

/// What it can reach unless the spec says otherwise: nothing.
pub(super) fn network(spec: &Spec) -> Network {
    spec.options.network.unwrap_or(Network::None)
}

/// It has a terminal unless the spec says otherwise.
pub(super) fn tty(spec: &Spec) -> bool {
    spec.options.tty.unwrap_or(true)
}

/// The configuration, checked against the types that the OCI gives it.
pub(super) fn config(plan: &Plan<'_>) -> Result<Value, AgentError> {
    let args = arguments(plan.spec, plan.image);
    if args.is_empty() {
        return Err(AgentError::Precondition(format!(
            "image {:?} names no program and the spec has no command",
            plan.image.name
        )));
    }
    let cwd = if plan.image.working_dir.starts_with('/') { plan.image.working_dir.as_str() } else { "/" };
    let mut namespaces = vec!["pid", "ipc", "uts", "mount", "cgroup"];
    namespaces.extend((network(plan.spec) != Network::Host).then_some("network"));
    let namespaces: Vec<Value> = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
    let mut config = json!({
        "ociVersion": "1.0.2",
        "hostname": plan.id,
        "root": { "path": plan.root, "readonly": plan.spec.options.read_only_root },
        "process": {
            "terminal": tty(plan.spec),
            "user": { "uid": plan.user.0, "gid": plan.user.1 },
            "args": args,
            "env": environment(plan.spec, plan.image),
            "cwd": cwd,
            "capabilities": confine::capabilities(plan.capabilities, plan.user.0 == 0),
            "noNewPrivileges": true,
            "rlimits": [{ "type": "RLIMIT_CORE", "hard": 0, "soft": 0 }],
        },
        "mounts": mounts(plan),
        "linux": {
            "cgroupsPath": format!("/neuro-{}/{}", plan.mark, plan.id),
            "namespaces": namespaces,
            "resources": resources(plan),
            "seccomp": confine::seccomp(),
            "maskedPaths": confine::masked_paths(),
            "readonlyPaths": confine::read_only_paths(),
        },
    });
    if tty(plan.spec) {
        config["process"]["consoleSize"] = json!({ "height": 24, "width": 80 });
    }
    if plan.spared {
        config["process"]["oomScoreAdj"] = json!(0);
    }
    for edits in &plan.edits {
        cdi::apply(edits, &mut config)?;
    }
    let checked = serde_json::from_value::<oci_spec::runtime::Spec>(config.clone());
    checked.map_err(|error| AgentError::internal("OCI configuration", error))?;
    Ok(config)
}

fn arguments(spec: &Spec, image: &RootImage) -> Vec<String> {
    let (first, rest) = match (spec.command.is_empty(), spec.args.is_empty()) {
        (true, true) => (&image.entrypoint, &image.cmd),
        (true, false) => (&image.entrypoint, &spec.args),
        (false, _) => (&spec.command, &spec.args),
    };
    first.iter().chain(rest).cloned().collect()
}

fn environment(spec: &Spec, image: &RootImage) -> Vec<String> {
    let mut all: BTreeMap<&String, &String> = image.env.iter().collect();
    all.extend(&spec.env);
    let mut lines: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    for default in std::iter::once(PATH).chain(tty(spec).then_some("TERM=xterm")) {
        let name = default.split_once('=').map_or(default, |(name, _)| name);
        if !all.keys().any(|given| *given == name) {
            lines.push(default.to_owned());
        }
    }
    lines
}

fn mounts(plan: &Plan<'_>) -> Vec<Value> {
    let mount = |to: &str, kind: &str, from: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": from, "options": options });
    let shm = match plan.spec.options.shm_bytes {
        0 => SHM_BYTES,
        bytes => bytes,
    };
    let mut all = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &format!("size={shm}")],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        // Its own with the host's network, too: a view of the host's would bring what is mounted below that.
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ];
    for (file, target) in [("hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf")] {
        if let Some(from) = plan.names.as_ref().map(|folder| folder.join(file)).filter(|from| from.is_file())
        {
            all.push(mount(
                target,
                "bind",
                &from.display().to_string(),
                &["bind", "ro", "nosuid", "nodev", "noexec"],
            ));
        }
    }
    for (asked, folder) in plan.spec.mounts.iter().zip(&plan.volumes) {
        let access = match (asked.read_only, asked.read_only && !mounts::below(folder).is_empty()) {
            (false, _) => "rw",
            (true, false) => "ro",
            // Of what is mounted in it, too. Older kernels and runtimes do not know it.
            (true, true) => "rro",
        };
        all.push(mount(
            &asked.path,
            "bind",
            &folder.display().to_string(),
            &["rbind", access, "nosuid", "nodev"],
        ));
    }
    all
}

fn resources(plan: &Plan<'_>) -> Value {
    let limits = &plan.spec.limits;
    let period = if limits.cpu_period_us == 0 { PERIOD_US } else { limits.cpu_period_us };
    let quota = match limits.cpu_quota_us {
        0 => u64::from(plan.spec.cpu_cores.max(1)).saturating_mul(period),
        quota => quota,
    };
    let pids = if plan.spec.options.pids_limit == 0 { plan.pids } else { plan.spec.options.pids_limit };
    let rule = |kind: &str, major: i64, minor: Option<i64>, access: &str| json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access });
    let mut devices = vec![json!({ "allow": false, "access": "rwm" })];
    // null, zero, full, random, urandom, tty, console, ptmx and pseudo-terminals.
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        devices.push(rule("c", major, Some(minor), "rwm"));
    }
    devices.push(json!({ "allow": true, "type": "c", "major": 136, "access": "rwm" }));
    let mut resources = json!({
        "devices": devices,
        "cpu": { "quota": quota, "period": period },
        "pids": { "limit": pids },
    });
    let memory = if limits.memory_bytes == 0 { plan.spec.memory_bytes } else { limits.memory_bytes };
    if memory > 0 {
        resources["memory"] = json!({ "limit": memory });
        if plan.swap {
            resources["memory"]["swap"] = json!(limits.memory_and_swap_bytes.max(memory));
        }
    }
    if let Some((major, minor)) = plan.disk {
        let mut throttle = serde_json::Map::new();
        for (name, rate) in
            [("throttleReadBpsDevice", limits.io_read_bps), ("throttleWriteBpsDevice", limits.io_write_bps)]
        {
            if rate > 0 {
                throttle.insert(name.to_owned(), json!([{ "major": major, "minor": minor, "rate": rate }]));
            }
        }
        if !throttle.is_empty() {
            resources["blockIO"] = Value::Object(throttle);
        }
    }
    resources
}

/// Writes the bundle's file.
pub(super) fn write(bundle: &Path, config: &Value) -> std::io::Result<()> {
    std::fs::create_dir_all(bundle)?;
    std::fs::write(bundle.join("config.json"), serde_json::to_vec(config)?)
}
