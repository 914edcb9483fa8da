//! `neuro fleet drain`: no new sessions here.

use clap::Args;
use serde_json::json;

use super::link::{Where, refused, timed};
use crate::cli::exit::{Exit, Outcome};
use crate::cli::output::say;
use crate::proto::neuro::ext::{DrainRequest, UndrainRequest};

/// Flags of `neuro fleet drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    at: Where,
    /// An instance's UUID; the whole fleet when not given.
    instance: Option<String>,
    /// How long sessions may stay, in seconds.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(i32).range(0..=604_800))]
    deadline: i32,
    /// Also sessions that a person drives.
    #[arg(long)]
    force: bool,
    /// Take sessions again.
    #[arg(long, conflicts_with_all = ["force", "deadline"])]
    undo: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Drains, and names the sessions that are still there.
///
/// # Errors
/// When nobody answers, or the orchestrator refuses.
pub async fn run(args: &DrainArgs) -> Outcome {
    let mut link = args.at.connect().await?;
    let instance_id = args.instance.clone().unwrap_or_default();
    let what = args.instance.as_deref().unwrap_or("the fleet");
    if args.undo {
        let answer = link.pools.undrain(timed(UndrainRequest { instance_id })).await;
        answer.map_err(|status| refused(&status))?;
        let said = format!("{what} takes sessions again");
        say(&if args.json { json!({ "draining": false }).to_string() } else { said })?;
        return Ok(Exit::Ok);
    }
    let request = DrainRequest { instance_id, deadline_s: args.deadline, force: args.force };
    let answer = link.pools.drain(timed(request)).await.map_err(|status| refused(&status))?.into_inner();
    if args.json {
        say(&json!({ "draining": true, "sessions": answer.sessions }).to_string())?;
        return Ok(Exit::Ok);
    }
    match answer.sessions.as_slice() {
        [] => say(&format!("{what} takes no new sessions; none runs there"))?,
        sessions => {
            say(&format!("{what} takes no new sessions; these may stay for {} s:", args.deadline))?;
            for session in sessions {
                say(&format!("  {session}"))?;
            }
        }
    }
    Ok(Exit::Ok)
}
