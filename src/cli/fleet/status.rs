//! `neuro fleet status`: how the whole fleet is.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::link::{Link, Where, refused, timed};
use super::sessions::all;
use super::words;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::say;
use crate::cli::table;
use crate::proto::neuro::orchestrator::{
    HealthCheckRequest, ResourcePoolStatusRequest, ResourcePoolStatusResponse,
};

/// Flags of `neuro fleet status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    at: Where,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Says how the fleet is; [`Exit::Failed`] when it takes no sessions.
///
/// # Errors
/// When nobody answers.
pub async fn run(args: &StatusArgs) -> Outcome {
    let mut link = args.at.connect().await?;
    // A fleet that drains says so as a status, not in the answer.
    let health = link.orchestrator.health_check(timed(HealthCheckRequest { detailed: false })).await;
    let (healthy, version, reason) = match health {
        Ok(answer) => {
            let answer = answer.into_inner();
            (answer.healthy, answer.version, String::new())
        }
        Err(status) if status.code() == tonic::Code::Unavailable => {
            (false, String::new(), status.message().to_owned())
        }
        Err(status) => return Err(refused(&status)),
    };
    let pools = pools(&mut link).await?;
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for session in all(&mut link, "", &[]).await? {
        *phases.entry(words::phase(session.phase)).or_default() += 1;
    }
    let instances = instances(&pools);
    if args.json {
        let list = instances.iter().map(|[role, id, status, session, paired, gpus]| {
            json!({ "role": role, "id": id, "status": status, "session_id": session, "paired_with": paired, "gpus": gpus })
        });
        let list: Vec<serde_json::Value> = list.collect();
        let whole = json!({
            "healthy": healthy, "reason": reason, "version": version, "sessions": phases, "instances": list,
        });
        say(&whole.to_string())?;
    } else {
        let state =
            if healthy { "takes sessions".to_owned() } else { format!("takes no sessions: {reason}") };
        say(&format!("orchestrator {version} {state}"))?;
        let counted: Vec<String> = phases.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
        let none = "none".to_owned();
        say(&format!("sessions: {}", if counted.is_empty() { none } else { counted.join(", ") }))?;
        table::print(["role", "instance", "status", "session", "paired with", "gpus"], &instances)?;
    }
    Ok(if healthy { Exit::Ok } else { Exit::Failed })
}

async fn pools(link: &mut Link) -> Result<ResourcePoolStatusResponse, Failure> {
    let request = ResourcePoolStatusRequest { include_isaac_pool: true, include_training_pool: true };
    let answer = link.orchestrator.get_resource_pool_status(timed(request)).await;
    Ok(answer.map_err(|status| refused(&status))?.into_inner())
}

fn instances(pools: &ResourcePoolStatusResponse) -> Vec<[String; 6]> {
    let simulators = pools.isaac_pool.iter().flat_map(|pool| &pool.instances).map(|one| {
        let cells = [&one.instance_id, &one.status, &one.session_id, &one.paired_with, &one.gpu_id];
        let [id, status, session, paired, gpu] = cells.map(Clone::clone);
        ["simulator".to_owned(), id, status, session, paired, gpu]
    });
    let trainers = pools.training_pool.iter().flat_map(|pool| &pool.instances).map(|one| {
        let paired = match one.paired_isaac_count {
            0 => String::new(),
            count => format!("{count} simulators"),
        };
        let [id, status, session] = [&one.instance_id, &one.status, &one.session_id].map(Clone::clone);
        ["trainer".to_owned(), id, status, session, paired, one.gpu_ids.join(",")]
    });
    simulators.chain(trainers).collect()
}
