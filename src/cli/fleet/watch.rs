//! `neuro fleet watch`: a session's log, one line an event. A lost connection is taken up again after the last event
//! that was printed, also when the orchestrator was started anew meanwhile.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tonic::{Code, Request, Status};

use super::link::{Where, refused};
use super::words;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{complain, say};
use crate::proto::neuro::ext::session_event::Kind;
use crate::proto::neuro::ext::{Phase, SessionEvent, WatchSessionRequest};

/// Between two tries, at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(300);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Flags of `neuro fleet watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    at: Where,
    /// The session's id.
    session: String,
    /// Begin after this event; 0: with the first that is kept.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    after: i64,
    /// End instead of connecting again.
    #[arg(long)]
    once: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Prints events until the session has ended; [`Exit::Failed`] when it failed.
///
/// # Errors
/// When the orchestrator refuses; with `--once`, when it cannot be reached.
pub async fn run(args: &WatchArgs) -> Outcome {
    let mut last = args.after;
    let mut phase = Phase::Unspecified;
    let mut wait = FIRST_WAIT;
    loop {
        let before = last;
        match follow(args, &mut last, &mut phase).await {
            Ok(()) => {
                return Ok(if phase == Phase::Failed { Exit::Failed } else { Exit::Ok });
            }
            Err(Lost::For(failure)) => return Err(failure),
            Err(Lost::Line(failure)) if args.once => return Err(failure),
            Err(Lost::Line(failure)) => {
                if last > before || wait == FIRST_WAIT {
                    complain(&format!("{}; going on after event {last}", failure.line()));
                    wait = FIRST_WAIT;
                }
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Why it stopped short.
enum Lost {
    /// The line: it may come back.
    Line(Failure),
    /// For good.
    For(Failure),
}

fn lost(status: &Status) -> Lost {
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal | Code::Aborted => {
            Lost::Line(refused(status))
        }
        _ => Lost::For(refused(status)),
    }
}

async fn follow(args: &WatchArgs, last: &mut i64, phase: &mut Phase) -> Result<(), Lost> {
    let connected = args.at.connect().await;
    let mut link = connected.map_err(|failure| match failure.exit {
        Exit::Usage => Lost::For(failure),
        _ => Lost::Line(failure),
    })?;
    let request = WatchSessionRequest { session_id: args.session.clone(), resume_after: *last };
    // No deadline: a session may live for days.
    let answer = link.sessions.watch_session(Request::new(request)).await.map_err(|status| lost(&status))?;
    let mut events = answer.into_inner();
    while let Some(event) = events.message().await.map_err(|status| lost(&status))? {
        *last = event.seq.max(*last);
        if let Some(Kind::Phase(change)) = &event.kind {
            *phase = change.to();
        }
        let line = if args.json { object(&event).to_string() } else { sentence(&event) };
        say(&line).map_err(|error| Lost::For(error.into()))?;
    }
    Ok(())
}

fn sentence(event: &SessionEvent) -> String {
    let what = match &event.kind {
        Some(Kind::Phase(change)) => {
            let reason =
                if change.reason.is_empty() { String::new() } else { format!(": {}", change.reason) };
            format!("{} -> {}{reason}", words::phase(change.from), words::phase(change.to))
        }
        Some(Kind::Progress(progress)) => format!(
            "episode {}, {} steps, average reward {:.2}, {:.0} steps/s",
            progress.episode, progress.steps, progress.average_reward, progress.steps_per_second
        ),
        Some(Kind::Control(change)) => {
            let user = if change.user.is_empty() { String::new() } else { format!(" ({})", change.user) };
            let (from, to) = (words::controller(change.from), words::controller(change.to));
            format!("control: {from} -> {to}{user}, fence {}", change.fence)
        }
        Some(Kind::Instance(change)) if change.replaced_by.is_empty() => {
            format!("instance {} {}", change.instance_id, change.event)
        }
        Some(Kind::Instance(change)) => {
            format!("instance {} {} by {}", change.instance_id, change.event, change.replaced_by)
        }
        Some(Kind::Gap(gap)) => format!("events up to {} are no longer kept", gap.upto),
        Some(Kind::Demonstration(one)) => {
            format!(
                "demonstration {} by {}: {} steps, reward {:.2}",
                one.id, one.user, one.steps, one.total_reward
            )
        }
        Some(Kind::TrainingEnd(end)) if end.success => format!(
            "training ended: reward {:.2} after {:.1} s, model {}",
            end.final_reward, end.seconds, end.model_uri
        ),
        Some(Kind::TrainingEnd(end)) => format!("training failed: {}", end.error),
        None => "an event of a kind this program does not know".to_owned(),
    };
    format!("{:>6}  {}  {what}", event.seq, words::clock(event.at_ms))
}

fn object(event: &SessionEvent) -> Value {
    let mut whole = match &event.kind {
        Some(Kind::Phase(change)) => {
            json!({ "type": "phase", "from": words::phase(change.from), "to": words::phase(change.to), "reason": change.reason })
        }
        Some(Kind::Progress(progress)) => json!({
            "type": "progress", "episode": progress.episode, "total_episodes": progress.total_episodes,
            "average_reward": progress.average_reward, "policy_loss": progress.policy_loss,
            "value_loss": progress.value_loss, "entropy": progress.entropy, "steps": progress.steps,
            "steps_per_second": progress.steps_per_second, "metrics": progress.metrics,
        }),
        Some(Kind::Control(change)) => json!({
            "type": "control", "from": words::controller(change.from), "to": words::controller(change.to),
            "user": change.user, "fence": change.fence,
        }),
        Some(Kind::Instance(change)) => json!({
            "type": "instance", "instance_id": change.instance_id, "event": change.event,
            "replaced_by": change.replaced_by,
        }),
        Some(Kind::Gap(gap)) => json!({ "type": "gap", "upto": gap.upto }),
        Some(Kind::Demonstration(one)) => json!({
            "type": "demonstration", "id": one.id, "instance_id": one.instance_id, "user": one.user,
            "started_at_ms": one.started_at_ms, "steps": one.steps, "total_reward": one.total_reward, "uri": one.uri,
            "sha256": one.sha256,
        }),
        Some(Kind::TrainingEnd(end)) => json!({
            "type": "training_end", "success": end.success, "error": end.error, "model_uri": end.model_uri,
            "checkpoint_uri": end.checkpoint_uri, "final_reward": end.final_reward, "success_rate": end.success_rate,
            "seconds": end.seconds, "metrics": end.metrics,
        }),
        None => json!({ "type": "unknown" }),
    };
    whole["seq"] = event.seq.into();
    whole["at_ms"] = event.at_ms.into();
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::neuro::ext::{InstanceChange, PhaseChange};

    fn event(kind: Kind) -> SessionEvent {
        SessionEvent { seq: 12, at_ms: 1_763_731_445_123, kind: Some(kind) }
    }

    #[test]
    fn an_event_is_a_line_and_an_object() {
        let kind = Kind::Phase(PhaseChange { from: 4, to: 5, reason: "started".to_owned() });
        assert_eq!(sentence(&event(kind.clone())), "    12  13:24:05  ready -> running: started");
        let object = object(&event(kind));
        assert_eq!(
            (&object["type"], &object["to"], &object["seq"]),
            (&json!("phase"), &json!("running"), &json!(12))
        );
        let lost =
            InstanceChange { instance_id: "a".into(), event: "replaced".into(), replaced_by: "b".into() };
        assert!(sentence(&event(Kind::Instance(lost))).ends_with("instance a replaced by b"));
    }
}
