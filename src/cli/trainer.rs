//! `neuro trainer`: PPO over simulators, in an orchestrator's pool or alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use tracing::info;

use super::exit::{Exit, Failure, OrExit, Outcome};
use super::output::say;
use super::settings::{FlagSet, SettingFlags};
use super::signals::Signals;
use crate::config::Key;
use crate::instance::attach::{AttachOptions, Pulse, attach};
use crate::proto::neuro::ext;
use crate::telemetry::{logs, process};
use crate::trainer::attend::Desk;
use crate::trainer::{Hyper, News, Plan, local_path, resume, start};

/// How long blocked threads may hold up the end of the process.
const THREADS_GRACE: Duration = Duration::from_secs(2);
/// Before the first order to a run that has not begun ends it, on Ctrl-C.
const FAREWELL: Duration = Duration::from_secs(10);

/// Logs alone.
#[derive(Debug, Clone, Copy)]
pub struct Logs;

impl FlagSet for Logs {
    fn takes(key: &Key) -> bool {
        ["log", "log_format"].contains(&key.name)
    }
}

/// Flags of `neuro trainer`.
#[derive(Debug, Args)]
pub struct TrainerArgs {
    /// Take orders from this orchestrator: `http://127.0.0.1:50051`.
    #[arg(long, value_name = "URL", conflicts_with = "endpoints", required_unless_present = "endpoints")]
    orchestrator: Option<String>,
    /// UUID to register under; a new one where not given.
    #[arg(long, value_name = "UUID", requires = "orchestrator")]
    instance_id: Option<uuid::Uuid>,
    /// Name to show.
    #[arg(long, default_value = "trainer")]
    name: String,
    /// Pool it belongs to.
    #[arg(long, requires = "orchestrator")]
    pool: Option<String>,
    /// Folder for what it has to keep.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Something others may choose it by; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// File with the key to show to the orchestrator.
    #[arg(long, value_name = "FILE", requires = "orchestrator")]
    key_file: Option<PathBuf>,
    /// File with the certificate (PEM) of who signed an https:// orchestrator's.
    #[arg(long, value_name = "FILE", requires = "orchestrator")]
    ca_file: Option<PathBuf>,
    /// End after so many seconds without an orchestrator; 0 never ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    orphan_s: u64,
    /// Taken like every instance takes it; a trainer listens nowhere.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", hide = true)]
    host: std::net::IpAddr,
    /// Train alone, on these simulators: `tcp://127.0.0.1:5555,tcp://127.0.0.1:5556`.
    #[arg(long, value_name = "ENDPOINT,..", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Alone: steps of all simulators together.
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Alone: episodes of all simulators together.
    #[arg(long, value_name = "N", default_value_t = 0)]
    episodes: u64,
    /// Alone: a hyperparameter; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Alone: folder for checkpoints and the model.
    #[arg(long, value_name = "DIR")]
    checkpoints: Option<PathBuf>,
    /// Alone: go on from this checkpoint, or the newest in this folder.
    #[arg(long, value_name = "PATH", default_value = "")]
    restore_from: String,
    /// Alone: folder of a demonstration to learn from; may be given several times.
    #[arg(long, value_name = "DIR")]
    demonstration: Vec<String>,
    #[command(flatten)]
    settings: SettingFlags<Logs>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Trains until done or told to stop.
///
/// # Errors
/// With [`Exit::Usage`], or [`Exit::Failed`] when training fails.
pub fn run(args: &TrainerArgs) -> Outcome {
    let config = args.settings.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("neuro-async")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let _traces = logs::start(&config.telemetry).or_exit(Exit::Usage)?;
        match &args.orchestrator {
            Some(url) => Box::pin(in_pool(args, url)).await,
            None => Box::pin(alone(args)).await,
        }
    });
    runtime.shutdown_timeout(THREADS_GRACE);
    outcome
}

async fn in_pool(args: &TrainerArgs, url: &str) -> Outcome {
    let mut signals = Signals::catch()?;
    let read = |path: &Path| std::fs::read(path).or_exit_with(Exit::Usage, format!("{}", path.display()));
    let key = match &args.key_file {
        Some(path) => {
            Some(String::from_utf8(read(path)?).or_exit_with(Exit::Usage, format!("{}", path.display()))?)
        }
        None => None,
    };
    let ca_pem = args.ca_file.as_deref().map(read).transpose()?;
    let options =
        AttachOptions { orchestrator: url.to_owned(), key, ca_pem, hello: hello(args), pulse: pulse() };
    let mut desk = Desk::new(attach(options).or_exit(Exit::Usage)?);
    say(&format!("neuro trainer {} attaches to {url}", args.name))?;
    let limit = Duration::from_secs(args.orphan_s);
    let orphaned = desk.attachment().orphaned(limit);
    let orphaned = async {
        match limit {
            Duration::ZERO => std::future::pending().await,
            _ => orphaned.await,
        }
    };
    tokio::select! {
        reason = desk.work() => info!(reason, "told to end"),
        () = orphaned => info!(seconds = args.orphan_s, "ends: there is no orchestrator any more"),
        signal = signals.next() => info!(signal, "stopping"),
    }
    tokio::select! {
        () = desk.close() => {}
        _ = signals.next() => return Ok(Exit::CutOff),
    }
    Ok(Exit::Ok)
}

fn hello(args: &TrainerArgs) -> ext::Hello {
    let mut labels: BTreeMap<String, String> = args.label.iter().cloned().collect();
    labels.entry("algorithms".to_owned()).or_insert_with(|| "PPO".to_owned());
    if let Some(pool) = &args.pool {
        labels.insert("pool".to_owned(), pool.clone());
    }
    ext::Hello {
        instance_id: args.instance_id.unwrap_or_else(uuid::Uuid::new_v4).to_string(),
        name: args.name.clone(),
        role: ext::Role::Trainer.into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        labels: labels.into_iter().collect(),
        memory_mb: process::machine_memory_mb().unwrap_or(0),
        ..Default::default()
    }
}

/// Processor time since the last heartbeat, as a share of one processor's.
fn pulse() -> Pulse {
    let last = std::sync::Mutex::new((Instant::now(), process::read().cpu_seconds));
    Arc::new(move || {
        let now = (Instant::now(), process::read().cpu_seconds);
        let before = {
            let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::replace(&mut *last, now)
        };
        let passed = now.0.duration_since(before.0).as_secs_f64().max(1e-3);
        let used = now.1.zip(before.1).map_or(0.0, |(now, before)| (now - before) / passed);
        ext::Heartbeat { cpu_utilization: used.clamp(0.0, 1.0) as f32, ..Default::default() }
    })
}

async fn alone(args: &TrainerArgs) -> Outcome {
    let mut signals = Signals::catch()?;
    let (run, mut news) = start(plan(args)?).or_exit(Exit::Failed)?;
    loop {
        tokio::select! {
            told = news.recv() => match told {
                Some(News::Progress(progress)) => say(&progress_line(&progress))?,
                Some(News::End(end)) => {
                    say(&end_line(&end))?;
                    let failed = || Failure { exit: Exit::Failed, error: anyhow::anyhow!("{}", end.error) };
                    return if end.success { Ok(Exit::Ok) } else { Err(failed()) };
                }
                None => return Err(anyhow::anyhow!("the training thread ended without a word").into()),
            },
            signal = signals.next() => {
                info!(signal, "stopping");
                drop(news);
                let kept = tokio::time::timeout(FAREWELL, run.stop(true)).await.or_exit(Exit::CutOff)?;
                if let Some(written) = kept.or_exit(Exit::Failed)? {
                    say(&json!({"stopped": signal, "checkpoint_uri": written.uri()}).to_string())?;
                }
                return Ok(Exit::Ok);
            }
        }
    }
}

fn plan(args: &TrainerArgs) -> Result<Plan, Failure> {
    let steps = args.steps.map(|steps| ("total_steps".to_owned(), steps.to_string()));
    let given: Vec<_> = args.set.iter().cloned().chain(steps).collect();
    let given = given.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let plan = Plan {
        hyper: Hyper::read(given).or_exit(Exit::Usage)?,
        total_episodes: args.episodes,
        endpoints: args.endpoints.clone(),
        resume: resume(&args.restore_from).or_exit(Exit::Usage)?,
        checkpoints: match &args.checkpoints {
            Some(folder) => Some(local_path(&folder.to_string_lossy()).or_exit(Exit::Usage)?),
            None => None,
        },
        demonstrations: args.demonstration.clone(),
    };
    plan.checked().or_exit(Exit::Usage)
}

fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

fn progress_line(progress: &ext::Progress) -> String {
    let metric = |name: &str| progress.metrics.get(name).copied().unwrap_or(0.0);
    json!({
        "update": metric("update"),
        "steps": progress.steps,
        "episode": progress.episode,
        "avg_reward": rounded(progress.average_reward, 1),
        "policy_loss": rounded(progress.policy_loss, 4),
        "value_loss": rounded(progress.value_loss, 3),
        "entropy": rounded(progress.entropy, 4),
        "sps": rounded(progress.steps_per_second, 0),
        "rtt_us_p50": rounded(metric("rtt_us_p50"), 0),
        "away": metric("environments_away"),
        "by_hand": metric("environments_by_hand"),
        "imitation_loss": rounded(metric("imitation_loss"), 4),
        "imitation_weight": rounded(metric("imitation_weight"), 4),
    })
    .to_string()
}

fn end_line(end: &ext::TrainingEnd) -> String {
    let metric = |name: &str| end.metrics.get(name).copied().unwrap_or(0.0);
    json!({
        "final": true,
        "success": end.success,
        "error": end.error,
        "avg_reward": rounded(end.final_reward, 1),
        "success_rate": rounded(end.success_rate, 3),
        "episodes": metric("episodes"),
        "steps": metric("steps"),
        "seconds": rounded(end.seconds, 1),
        "sps": rounded(metric("steps_per_second"), 0),
        "model_uri": end.model_uri,
        "checkpoint_uri": end.checkpoint_uri,
    })
    .to_string()
}
