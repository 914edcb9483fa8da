//! `neuro fleet sessions`: a list.

use clap::Args;
use serde_json::json;

use super::link::{Link, Where, refused, timed};
use super::words;
use crate::cli::exit::{Exit, Failure, OrExit, Outcome};
use crate::cli::output::say;
use crate::cli::table;
use crate::fleet::clock::now_ms;
use crate::proto::neuro::ext::{ListSessionsRequest, Phase, SessionSummary};

/// Sessions on a page.
const PAGE: i32 = 500;

/// Flags of `neuro fleet sessions`.
#[derive(Debug, Args)]
pub struct SessionsArgs {
    #[command(flatten)]
    at: Where,
    /// Only those of this owner.
    #[arg(long, default_value = "")]
    owner: String,
    /// Only those in these phases: queued, allocating, starting, ready, running, paused, recovering, stopping, stopped,
    /// completed, failed, preempted.
    #[arg(long, value_delimiter = ',', value_parser = read_phase)]
    phase: Vec<Phase>,
    /// Those that have ended too.
    #[arg(long, conflicts_with = "phase")]
    all: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

fn read_phase(word: &str) -> Result<Phase, String> {
    let known = Phase::from_str_name(&word.to_uppercase()).filter(|phase| *phase != Phase::Unspecified);
    known.ok_or_else(|| format!("{word:?} is no phase; running and queued are some"))
}

/// Prints the list.
///
/// # Errors
/// When nobody answers, or the orchestrator refuses.
pub async fn run(args: &SessionsArgs) -> Outcome {
    let mut link = args.at.connect().await?;
    let mut list = all(&mut link, &args.owner, &args.phase).await?;
    if !args.all && args.phase.is_empty() {
        list.retain(|session| !ended(session));
    }
    if args.json {
        for session in &list {
            let line = json!({
                "session_id": session.session_id, "mode": session.mode, "phase": words::phase(session.phase),
                "owner": session.owner, "instance_ids": session.instance_ids, "created_at_ms": session.created_at_ms,
                "idle_ms": session.idle_ms, "backend": session.backend,
            });
            say(&line.to_string())?;
        }
        return Ok(Exit::Ok);
    }
    let now = now_ms();
    let rows: Vec<[String; 7]> = list
        .iter()
        .map(|session| {
            [
                session.session_id.clone(),
                session.mode.clone(),
                words::phase(session.phase),
                session.owner.clone(),
                session.instance_ids.len().to_string(),
                words::age(now - session.created_at_ms),
                words::age(session.idle_ms),
            ]
        })
        .collect();
    if rows.is_empty() {
        say("no sessions")?;
    }
    table::print(["session", "mode", "phase", "owner", "instances", "age", "idle"], &rows)
        .or_exit(Exit::Failed)?;
    Ok(Exit::Ok)
}

fn ended(session: &SessionSummary) -> bool {
    let phase = Phase::try_from(session.phase).unwrap_or_default();
    matches!(phase, Phase::Stopped | Phase::Completed | Phase::Failed | Phase::Preempted)
}

/// Every page of the list.
///
/// # Errors
/// What the orchestrator says.
pub async fn all(link: &mut Link, owner: &str, phases: &[Phase]) -> Result<Vec<SessionSummary>, Failure> {
    let mut request = ListSessionsRequest {
        owner: owner.to_owned(),
        phases: phases.iter().map(|phase| i32::from(*phase)).collect(),
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut list = Vec::new();
    loop {
        let answer = link.sessions.list_sessions(timed(request.clone())).await;
        let page = answer.map_err(|status| refused(&status))?.into_inner();
        list.extend(page.sessions);
        if page.next_page_token.is_empty() {
            return Ok(list);
        }
        request.page_token = page.next_page_token;
    }
}
