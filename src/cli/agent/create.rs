//! `neuro agent create`: from flags, from a file, or from a file with flags over it.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::act::show;
use super::link::{Where, refused, timed};
use super::{size, wish};
use crate::agent::options::PREFIX;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::proto::hypervisor::v1::{
    AgentCreateInstanceRequest, AgentInstanceRequest, DiskSpec, InstanceSpec, InstanceType, ResourceLimits,
    VolumeMount,
};

/// How long an agent may take to make an instance: images are copied.
const MAKING: std::time::Duration = std::time::Duration::from_secs(600);

/// Flags of `neuro agent create`.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    at: Where,
    /// Its id; the file's when not given.
    id: Option<String>,
    /// What it runs instead of the image's program, with its arguments.
    #[arg(last = true)]
    command: Vec<String>,
    /// JSON file with the fields of CreateInstance; flags go over it.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// container, vm or microvm; a container when neither this nor the file says.
    #[arg(long, value_name = "KIND", value_parser = wish::kind)]
    kind: Option<InstanceType>,
    /// A name in the agent's image store.
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Its display name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Cores.
    #[arg(long, value_name = "COUNT")]
    cpus: Option<i32>,
    /// Of a core, or of several: 0.2, 1.5. A limit below whole cores.
    #[arg(long, value_name = "SHARE")]
    cpu_quota: Option<f64>,
    /// Memory: 512m, 16g.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    memory: Option<i64>,
    /// Size of the root disk, enforced: 10g.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    disk: Option<i64>,
    /// Kernel of a VM without firmware: a name in the image store.
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// Its initrd.
    #[arg(long, value_name = "NAME")]
    initrd: Option<String>,
    /// Its arguments.
    #[arg(long, value_name = "TEXT")]
    kernel_args: Option<String>,
    /// A variable of its environment.
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// A named volume: cache:/var/cache, data:/data:ro.
    #[arg(long, short, value_name = "NAME:PATH[:ro]")]
    volume: Vec<String>,
    /// GPUs: a count, or CDI names.
    #[arg(long, value_name = "COUNT|DEVICE,..")]
    gpu: Option<String>,
    /// none, cable, host (containers), user (VMs).
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// never, on-failure, on-failure:N, always.
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// A label.
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// An annotation; those of the agent begin with hypervisor.io/.
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    /// Start it too.
    #[arg(long)]
    start: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Makes an instance.
///
/// # Errors
/// [`Exit::Usage`] for flags or a file that are wrong; when the agent refuses.
pub(super) async fn run(args: &CreateArgs) -> Outcome {
    let request = request(args).map_err(|problem| Failure { exit: Exit::Usage, error: anyhow!(problem) })?;
    let id = request.instance_id.clone();
    let mut link = args.at.connect().await?;
    let made = link.create_instance(timed(request, MAKING)).await.map_err(|status| refused(&status))?;
    let mut instance = made.into_inner();
    if args.start {
        let start = timed(AgentInstanceRequest { instance_id: id }, MAKING);
        instance = link.start_instance(start).await.map_err(|status| refused(&status))?.into_inner();
    }
    show(&instance, args.json)
}

fn request(args: &CreateArgs) -> Result<AgentCreateInstanceRequest, String> {
    let mut request = match &args.from {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("--from {}: {error}", path.display()))?;
            wish::read(&text).map_err(|error| format!("--from {}: {error}", path.display()))?
        }
        None => AgentCreateInstanceRequest::default(),
    };
    if let Some(kind) = args.kind {
        request.set_type(kind);
    } else if request.r#type() == InstanceType::Unspecified {
        request.set_type(InstanceType::Container);
    }
    put(&mut request.instance_id, args.id.as_ref());
    put(&mut request.name, args.name.as_ref());
    if request.name.is_empty() {
        request.name.clone_from(&request.instance_id);
    }
    for pair in &args.label {
        let (name, value) = pair_of("--label", pair)?;
        request.labels.insert(name, value);
    }
    for pair in &args.annotation {
        let (name, value) = pair_of("--annotation", pair)?;
        request.annotations.insert(name, value);
    }
    let mut note = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            request.annotations.insert(format!("{PREFIX}{name}"), value.clone());
        }
    };
    note("network", &args.network);
    note("restart", &args.restart);
    let counted = args.gpu.as_ref().is_some_and(|gpu| gpu.bytes().all(|byte| byte.is_ascii_digit()));
    note(if counted { "gpu-count" } else { "cdi-devices" }, &args.gpu);
    apply(args, request.spec.get_or_insert_default())?;
    Ok(request)
}

fn apply(args: &CreateArgs, spec: &mut InstanceSpec) -> Result<(), String> {
    put(&mut spec.image, args.image.as_ref());
    put(&mut spec.kernel, args.kernel.as_ref());
    put(&mut spec.initrd, args.initrd.as_ref());
    put(&mut spec.kernel_args, args.kernel_args.as_ref());
    put(&mut spec.cpu_cores, args.cpus.as_ref());
    put(&mut spec.memory_bytes, args.memory.as_ref());
    if let Some(share) = args.cpu_quota {
        if !(share > 0.0 && share <= 1024.0) {
            return Err(format!("--cpu-quota is {share}; expected more than 0"));
        }
        let limits = spec.limits.get_or_insert_with(ResourceLimits::default);
        (limits.cpu_quota, limits.cpu_period) = ((share * 100_000.0).round() as i64, 100_000);
    }
    if let Some(size_bytes) = args.disk {
        match spec.disks.iter_mut().find(|disk| disk.boot) {
            Some(disk) => disk.size_bytes = size_bytes,
            None => spec.disks.insert(
                0,
                DiskSpec { name: "root".to_owned(), size_bytes, r#type: String::new(), boot: true },
            ),
        }
    }
    for pair in &args.env {
        let (name, value) = pair_of("--env", pair)?;
        spec.env.insert(name, value);
    }
    for volume in &args.volume {
        let (rest, read_only) = match volume.strip_suffix(":ro") {
            Some(rest) => (rest, true),
            None => (volume.as_str(), false),
        };
        let (name, path) = rest
            .split_once(':')
            .ok_or_else(|| format!("--volume {volume}: expected NAME:PATH or NAME:PATH:ro"))?;
        spec.volume_mounts.push(VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            read_only,
        });
    }
    if let [program, rest @ ..] = args.command.as_slice() {
        spec.command = vec![program.clone()];
        spec.args = rest.to_vec();
    }
    Ok(())
}

fn put<T: Clone>(into: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        into.clone_from(value);
    }
}

fn pair_of(flag: &str, pair: &str) -> Result<(String, String), String> {
    let pair_parts = pair.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair_parts.ok_or_else(|| format!("{flag} {pair}: expected NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}
