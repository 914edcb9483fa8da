//! `neuro agent ls`: the instances.

use clap::Args;
use serde_json::{Value, json};

use super::link::{ANSWER_TIME, Where, refused, timed};
use crate::cli::exit::{Exit, Outcome};
use crate::cli::output::say;
use crate::cli::table;
use crate::proto::hypervisor::v1::{Instance, InstanceState, InstanceType};

/// Flags of `neuro agent ls`.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    #[command(flatten)]
    at: Where,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Prints a line an instance.
///
/// # Errors
/// When nobody answers.
pub(super) async fn run(args: &LsArgs) -> Outcome {
    let mut link = args.at.connect().await?;
    let answer = link.list_instances(timed((), ANSWER_TIME)).await.map_err(|status| refused(&status))?;
    let instances = answer.into_inner().instances;
    if args.json {
        for instance in &instances {
            say(&object(instance).to_string())?;
        }
        return Ok(Exit::Ok);
    }
    let rows: Vec<[String; 7]> = instances
        .iter()
        .map(|one| {
            let image = one.spec.as_ref().map(|spec| spec.image.clone()).unwrap_or_default();
            let [id, name, ip, reason] =
                [&one.id, &one.name, &one.ip_address, &one.error_message].map(Clone::clone);
            [id, name, kind(one).to_owned(), state(one).to_owned(), image, ip, reason]
        })
        .collect();
    table::print(["id", "name", "kind", "state", "image", "address", "why"], &rows)?;
    Ok(Exit::Ok)
}

pub(super) fn kind(instance: &Instance) -> &'static str {
    match instance.r#type() {
        InstanceType::Vm => "vm",
        InstanceType::Container => "container",
        InstanceType::Microvm => "microvm",
        InstanceType::Unspecified => "unknown",
    }
}

pub(super) fn state(instance: &Instance) -> &'static str {
    match instance.state() {
        InstanceState::Pending => "pending",
        InstanceState::Creating => "creating",
        InstanceState::Running => "running",
        InstanceState::Stopped => "stopped",
        InstanceState::Failed => "failed",
        InstanceState::Deleting => "deleting",
        InstanceState::Unspecified => "unknown",
    }
}

/// An instance for other programs.
pub(super) fn object(instance: &Instance) -> Value {
    let ms = |at: Option<prost_types::Timestamp>| {
        at.map(|at| at.seconds.saturating_mul(1000).saturating_add(i64::from(at.nanos) / 1_000_000))
    };
    let metadata = instance.metadata.clone().unwrap_or_default();
    json!({
        "id": instance.id, "name": instance.name, "kind": kind(instance), "state": state(instance),
        "reason": instance.error_message, "image": instance.spec.as_ref().map(|spec| &spec.image),
        "node_id": instance.node_id, "ip_address": instance.ip_address, "labels": metadata.labels,
        "annotations": metadata.annotations, "created_at_ms": ms(instance.created_at),
        "updated_at_ms": ms(instance.updated_at), "started_at_ms": ms(instance.started_at),
        "ended_at_ms": ms(instance.ended_at), "exit_code": instance.exit_code, "restarts": instance.restarts,
        "ready": instance.ready, "devices": instance.devices,
    })
}
