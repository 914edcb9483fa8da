//! From the wire's request to a spec: every field is looked at, and what is wrong is named as the wire names it.

use std::collections::BTreeMap;

use prost::Message;

use super::text::{image_name, no_controls, no_nul, shown};
use super::{Kind, Spec, container, machine};
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::options::{self, Options, annotation};
use crate::agent::settings::AgentSettings;
use crate::proto::hypervisor::v1::{AgentCreateInstanceRequest, InstanceSpec, InstanceType, NetworkSpec};

/// Longest request that is kept in a journal, and echoed in every list.
const LONGEST_BYTES: usize = 64 << 10;
/// Longest display name.
const LONGEST_NAME: usize = 255;
/// Most labels, and most annotations.
const MOST_PAIRS: usize = 256;
/// Longest key of a label or annotation.
const LONGEST_KEY: usize = 253;
/// Longest value of a label.
const LONGEST_LABEL: usize = 1024;
/// Longest value of an annotation.
const LONGEST_ANNOTATION: usize = 32 << 10;
/// Most cores of an instance.
pub(super) const MOST_CORES: u32 = 1024;

/// A wrong field.
pub(super) fn wrong(field: impl Into<String>) -> impl FnOnce(String) -> AgentError {
    let field = field.into();
    move |problem| AgentError::Invalid { field, problem }
}

/// A number of the wire that must not be negative.
pub(super) fn natural(field: &str, number: i64) -> Result<u64, AgentError> {
    let problem = |_| AgentError::invalid(field, format!("is {number}; expected 0 or more"));
    u64::try_from(number).map_err(problem)
}

/// Looks at every field and fills in what was left out.
///
/// # Errors
/// `Invalid`, naming the field.
pub fn check(
    request: &AgentCreateInstanceRequest,
    settings: &AgentSettings,
) -> Result<(InstanceId, Spec), AgentError> {
    let id: InstanceId = request.instance_id.parse()?;
    let bytes = request.encode_to_vec();
    if bytes.len() > LONGEST_BYTES {
        let problem = format!("has {} bytes; expected at most {LONGEST_BYTES}", bytes.len());
        return Err(AgentError::invalid("request", problem));
    }
    no_controls(&request.name, LONGEST_NAME).map_err(wrong("name"))?;
    let kind = kind(request.r#type)?;
    pairs("labels", &request.labels, LONGEST_LABEL)?;
    pairs("annotations", &request.annotations, LONGEST_ANNOTATION)?;
    let mut options = options::parse(&request.annotations, kind)?;
    let asked = request.spec.as_ref().ok_or_else(|| AgentError::invalid("spec", "is missing"))?;
    network(asked.network.as_ref(), kind, &mut options)?;
    let limits = machine::limits(asked, kind)?;
    let cpu_cores = cores(asked)?;
    let spec = Spec {
        request: bytes,
        name: if request.name.is_empty() { id.to_string() } else { request.name.clone() },
        kind,
        image: image(asked, kind, settings)?,
        cpu_cores,
        memory_bytes: machine::memory(asked, kind, settings)?,
        disks: machine::disks(asked)?,
        kernel: machine::part("spec.kernel", &asked.kernel, kind)?,
        initrd: machine::part("spec.initrd", &asked.initrd, kind)?,
        kernel_args: machine::kernel_args(asked, kind)?,
        command: container::words("spec.command", &asked.command, kind)?,
        args: container::words("spec.args", &asked.args, kind)?,
        env: container::env(&asked.env, kind)?,
        mounts: container::mounts(&asked.volume_mounts, kind)?,
        limits,
        labels: request.labels.clone(),
        options,
    };
    if spec.command.first().is_some_and(String::is_empty) {
        return Err(AgentError::invalid("spec.command[0]", "is empty; expected a program"));
    }
    Ok((id, spec))
}

fn kind(wire: i32) -> Result<Kind, AgentError> {
    match InstanceType::try_from(wire) {
        Ok(InstanceType::Vm) => Ok(Kind::Vm),
        Ok(InstanceType::Container) => Ok(Kind::Container),
        Ok(InstanceType::Microvm) => Ok(Kind::MicroVm),
        Ok(InstanceType::Unspecified) | Err(_) => Err(AgentError::invalid(
            "type",
            format!("is {wire}; expected VM (1), CONTAINER (2) or MICROVM (3)"),
        )),
    }
}

fn pairs(field: &str, pairs: &BTreeMap<String, String>, longest: usize) -> Result<(), AgentError> {
    if pairs.len() > MOST_PAIRS {
        let problem = format!("has {} entries; expected at most {MOST_PAIRS}", pairs.len());
        return Err(AgentError::invalid(field, problem));
    }
    for (key, value) in pairs {
        let named = format!("{field}[{}]", shown(key));
        if key.is_empty() {
            return Err(AgentError::invalid(named, "has no name; expected 1 to 253 bytes"));
        }
        no_controls(key, LONGEST_KEY).map_err(wrong(named.clone()))?;
        no_nul(value, longest).map_err(wrong(named))?;
    }
    Ok(())
}

fn cores(asked: &InstanceSpec) -> Result<u32, AgentError> {
    let cores = u32::try_from(asked.cpu_cores).ok().filter(|cores| *cores <= MOST_CORES);
    let Some(cores) = cores else {
        let problem = format!("is {}; expected 0 to {MOST_CORES}", asked.cpu_cores);
        return Err(AgentError::invalid("spec.cpu_cores", problem));
    };
    if cores > 0 {
        return Ok(cores);
    }
    // As many as its quota fills.
    let (quota, period) =
        asked.limits.as_ref().map_or((0, 0), |limits| (limits.cpu_quota, limits.cpu_period));
    let period = if period > 0 { period } else { machine::USUAL_PERIOD_US };
    let filled = quota.max(0).saturating_add(period - 1) / period;
    Ok(u32::try_from(filled).unwrap_or(MOST_CORES).clamp(1, MOST_CORES))
}

fn image(asked: &InstanceSpec, kind: Kind, settings: &AgentSettings) -> Result<String, AgentError> {
    if !asked.image.is_empty() {
        image_name(&asked.image).map_err(wrong("spec.image"))?;
        return Ok(asked.image.clone());
    }
    let has_kernel = !asked.kernel.is_empty();
    match kind {
        Kind::Container => Err(AgentError::invalid("spec.image", "is empty; expected the name of an image")),
        Kind::Vm if !has_kernel => Err(AgentError::invalid(
            "spec.image",
            "is empty and there is no spec.kernel; expected one of them",
        )),
        Kind::MicroVm if !has_kernel && settings.qemu.kernel.is_empty() => Err(AgentError::invalid(
            "spec.kernel",
            "is empty, and the agent's settings have no qemu.kernel; expected the name of a kernel",
        )),
        Kind::Vm | Kind::MicroVm => Ok(String::new()),
    }
}

/// The wire's networks are of a cloud; a node has only what [`options::Network`] names.
fn network(asked: Option<&NetworkSpec>, kind: Kind, options: &mut Options) -> Result<(), AgentError> {
    let Some(asked) = asked else { return Ok(()) };
    let refuse =
        |field: &str, problem: &str| Err(AgentError::invalid(format!("spec.network.{field}"), problem));
    if !asked.subnet_id.is_empty() {
        return refuse("subnet_id", "is set; this node has no subnets");
    }
    if !asked.security_groups.is_empty() {
        return refuse(
            "security_groups",
            "is set; this node has none, and leaving them out would open what they close",
        );
    }
    if asked.assign_public_ip {
        return refuse("assign_public_ip", "is set; this node has no public addresses");
    }
    if asked.network_id.is_empty() || asked.network_id == "default" {
        return Ok(());
    }
    let network = options::network(&asked.network_id, kind).map_err(wrong("spec.network.network_id"))?;
    match options.network {
        Some(before) if before != network => {
            let problem =
                format!("is {}, and {} says otherwise", shown(&asked.network_id), annotation("network"));
            refuse("network_id", &problem)
        }
        _ => {
            options.network = Some(network);
            Ok(())
        }
    }
}
