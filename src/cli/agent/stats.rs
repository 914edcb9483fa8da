//! `neuro agent stats`: what instances use, as a table that stays where it is.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use tonic::Code;

use super::link::{ANSWER_TIME, Link, Where, refused, timed};
use super::{ls, size};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::say;
use crate::cli::signals::Signals;
use crate::cli::table;
use crate::proto::hypervisor::v1::{AgentInstanceRequest, Instance, InstanceState, InstanceStats};

/// Instances that are asked about at once.
const AT_ONCE: usize = 16;

/// Puts the cursor where the table begins, and takes away what is below.
const HOME: &str = "\x1b[H\x1b[2J";

/// Flags of `neuro agent stats`.
#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    at: Where,
    /// Ids; all that run when none is named.
    ids: Vec<String>,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    every: f64,
    /// Look once.
    #[arg(long)]
    once: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Prints figures until interrupted.
///
/// # Errors
/// When nobody answers.
pub(super) async fn run(args: &StatsArgs) -> Outcome {
    let every = Duration::try_from_secs_f64(args.every.max(0.1)).unwrap_or(Duration::from_secs(2));
    let live = !args.once && !args.json && std::io::stdout().is_terminal();
    let mut link = args.at.connect().await?;
    let mut signals = Signals::catch()?;
    loop {
        let figures = figures(&mut link, &args.ids).await?;
        if live {
            say(HOME)?;
        }
        show(&figures, args.json)?;
        if args.once {
            return Ok(Exit::Ok);
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = signals.next() => return Ok(Exit::Ok),
        }
    }
}

async fn figures(link: &mut Link, ids: &[String]) -> Result<Vec<(Instance, InstanceStats)>, Failure> {
    let answer = link.list_instances(timed((), ANSWER_TIME)).await.map_err(|status| refused(&status))?;
    let there = answer.into_inner().instances;
    if let Some(missing) = ids.iter().find(|id| there.iter().all(|one| one.id != **id)) {
        return Err(Failure { exit: Exit::Failed, error: anyhow!("no instance {missing:?}") });
    }
    let wanted = there.into_iter().filter(|one| match ids {
        [] => one.state() == InstanceState::Running,
        ids => ids.contains(&one.id),
    });
    let link = &*link;
    let asked = stream::iter(wanted).map(|one| async move {
        let request = AgentInstanceRequest { instance_id: one.id.clone() };
        let answer = link.clone().get_instance_stats(timed(request, ANSWER_TIME)).await;
        (one, answer)
    });
    let mut figures = Vec::new();
    let mut asked = std::pin::pin!(asked.buffered(AT_ONCE));
    while let Some((one, answer)) = asked.next().await {
        match answer {
            Ok(answer) => figures.push((one, answer.into_inner())),
            // It ended meanwhile.
            Err(status)
                if [Code::FailedPrecondition, Code::NotFound].contains(&status.code()) && ids.is_empty() => {}
            Err(status) => return Err(refused(&status)),
        }
    }
    Ok(figures)
}

fn show(figures: &[(Instance, InstanceStats)], json: bool) -> std::io::Result<()> {
    if json {
        for (_, stats) in figures {
            say(&object(stats).to_string())?;
        }
        return Ok(());
    }
    let rows: Vec<[String; 8]> = figures
        .iter()
        .map(|(one, stats)| {
            let gpus = stats
                .gpus
                .iter()
                .map(|gpu| format!("{:.0} % {}", gpu.utilization_percent, size::show(gpu.memory_used_bytes)));
            [
                one.id.clone(),
                ls::kind(one).to_owned(),
                format!("{:.1} %", stats.cpu_usage_percent),
                size::show(stats.memory_usage_bytes),
                format!("{} / {}", size::show(stats.disk_read_bytes), size::show(stats.disk_write_bytes)),
                format!("{} / {}", size::show(stats.network_rx_bytes), size::show(stats.network_tx_bytes)),
                stats.processes.to_string(),
                gpus.collect::<Vec<_>>().join(", "),
            ]
        })
        .collect();
    table::print(["id", "kind", "cpu", "memory", "disk r/w", "net rx/tx", "procs", "gpus"], &rows)
}

fn object(stats: &InstanceStats) -> serde_json::Value {
    let gpus: Vec<_> = stats
        .gpus
        .iter()
        .map(|gpu| {
            json!({
                "device": gpu.device, "utilization_percent": gpu.utilization_percent,
                "memory_used_bytes": gpu.memory_used_bytes, "memory_total_bytes": gpu.memory_total_bytes,
            })
        })
        .collect();
    json!({
        "id": stats.instance_id, "cpu_usage_percent": stats.cpu_usage_percent, "cpu_time_ns": stats.cpu_time_ns,
        "cpu_throttled_periods": stats.cpu_throttled_periods, "memory_usage_bytes": stats.memory_usage_bytes,
        "memory_cache_bytes": stats.memory_cache_bytes, "disk_usage_bytes": stats.disk_usage_bytes,
        "disk_read_bytes": stats.disk_read_bytes, "disk_write_bytes": stats.disk_write_bytes,
        "network_rx_bytes": stats.network_rx_bytes, "network_tx_bytes": stats.network_tx_bytes,
        "processes": stats.processes, "gpus": gpus,
    })
}
