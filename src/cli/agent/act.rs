//! `neuro agent start|stop|restart|rm`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::link::{ANSWER_TIME, Where, refused, timed};
use super::ls::{object, state};
use crate::cli::exit::{Exit, Outcome};
use crate::cli::output::say;
use crate::proto::hypervisor::v1::{
    AgentDeleteInstanceRequest, AgentInstanceRequest, AgentRestartInstanceRequest, AgentStopInstanceRequest,
    Instance,
};

/// How long an agent may take whose instances end by themselves: the time it gives them is its own.
const PATIENT: Duration = Duration::from_secs(3600);

/// An instance.
#[derive(Debug, Args)]
pub(super) struct OneArgs {
    #[command(flatten)]
    at: Where,
    /// Its id.
    id: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// An instance that ends.
#[derive(Debug, Args)]
pub(super) struct ForceArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Kill it at once.
    #[arg(long, short)]
    force: bool,
}

/// An instance that ends in time.
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    #[command(flatten)]
    how: ForceArgs,
    /// Seconds until it is killed; 0 leaves it to the agent.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=86_400))]
    timeout: i32,
}

pub(super) async fn start(args: &OneArgs) -> Outcome {
    let mut link = args.at.connect().await?;
    let request = AgentInstanceRequest { instance_id: args.id.clone() };
    let answer = link.start_instance(timed(request, PATIENT)).await.map_err(|status| refused(&status))?;
    show(&answer.into_inner(), args.json)
}

pub(super) async fn stop(args: &StopArgs) -> Outcome {
    let ForceArgs { one, force } = &args.how;
    let mut link = one.at.connect().await?;
    let request = AgentStopInstanceRequest {
        instance_id: one.id.clone(),
        force: *force,
        timeout_seconds: args.timeout,
    };
    let time = PATIENT.saturating_add(Duration::from_secs(u64::from(args.timeout.unsigned_abs())));
    let answer = link.stop_instance(timed(request, time)).await.map_err(|status| refused(&status))?;
    show(&answer.into_inner(), one.json)
}

pub(super) async fn restart(args: &ForceArgs) -> Outcome {
    let mut link = args.one.at.connect().await?;
    let request = AgentRestartInstanceRequest { instance_id: args.one.id.clone(), force: args.force };
    let answer = link.restart_instance(timed(request, PATIENT)).await.map_err(|status| refused(&status))?;
    show(&answer.into_inner(), args.one.json)
}

pub(super) async fn rm(args: &ForceArgs) -> Outcome {
    let mut link = args.one.at.connect().await?;
    let request = AgentDeleteInstanceRequest { instance_id: args.one.id.clone(), force: args.force };
    link.delete_instance(timed(request, PATIENT.max(ANSWER_TIME)))
        .await
        .map_err(|status| refused(&status))?;
    if args.one.json {
        say(&json!({ "id": args.one.id, "state": "gone" }).to_string())?;
    } else {
        say(&format!("{} is gone", args.one.id))?;
    }
    Ok(Exit::Ok)
}

/// Says how an instance stands after what was asked for.
pub(super) fn show(instance: &Instance, json: bool) -> Outcome {
    if json {
        say(&object(instance).to_string())?;
    } else {
        let reason = match instance.error_message.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        say(&format!("{} is {}{reason}", instance.id, state(instance)))?;
    }
    Ok(Exit::Ok)
}
