//! `neuro agent doctor`: tries what can be run on this machine, and says why not. Nothing is left behind.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::drivers::{self, Parts};
use crate::agent::cdi;
use crate::agent::driver::Ability;
use crate::agent::image::store::ImageStore;
use crate::agent::settings::AgentSettings;
use crate::cli::exit::{Exit, OrExit, Outcome};
use crate::cli::output::say;

/// For a driver to find out.
const PROBE: Duration = Duration::from_secs(90);

/// Flags of `neuro agent doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The agent's data folder: canary guests take their kernels from its image store.
    #[arg(long, env = "NEURO_AGENT_DATA", value_name = "DIR", default_value = "agent")]
    data: PathBuf,
    /// The agent's settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object a driver.
    #[arg(long)]
    json: bool,
    /// Try drivers with nothing behind them.
    #[arg(long, hide = true)]
    fake: bool,
}

/// Says what works; [`Exit::Failed`] when nothing does.
///
/// # Errors
/// [`Exit::Usage`] for settings that are wrong.
pub(super) async fn run(args: &DoctorArgs) -> Outcome {
    let settings = match &args.config {
        Some(path) => AgentSettings::load(path).or_exit(Exit::Usage)?,
        None => AgentSettings::default(),
    };
    let made = !args.data.exists();
    std::fs::create_dir_all(&args.data)?;
    let data = args.data.canonicalize()?;
    let images = Arc::new(ImageStore::open(&data).or_exit(Exit::Failed)?);
    // Of nobody: an agent that runs beside this is not disturbed.
    let mark: String = uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect();
    let parts = Parts { settings: &settings, data: &data, mark: &mark, images, fake: args.fake };
    let drivers = drivers::all(&parts).or_exit(Exit::Failed)?;
    let probes = drivers.iter().map(|driver| async {
        let begun = Instant::now();
        let ability = tokio::time::timeout(PROBE, driver.probe()).await.unwrap_or_else(|_| Ability {
            usable: false,
            detail: format!("the probe did not end within {} s", PROBE.as_secs()),
            labels: Vec::new(),
        });
        (driver.kind().name(), driver.name(), ability, begun.elapsed())
    });
    let found = futures_util::future::join_all(probes).await;
    for (kind, name, ability, took) in &found {
        if args.json {
            let labels: std::collections::BTreeMap<_, _> = ability.labels.iter().cloned().collect();
            let line = json!({
                "kind": kind, "driver": name, "usable": ability.usable, "detail": ability.detail, "labels": labels,
                "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            });
            say(&line.to_string())?;
        } else {
            let yes = if ability.usable { "yes" } else { "no " };
            let took_s = took.as_secs_f64();
            say(&format!("{yes}  {kind:9}  {name:11}  {} ({took_s:.1} s)", ability.detail))?;
        }
    }
    let close = {
        let (drivers, data) = (drivers.clone(), data.clone());
        move || {
            drivers.iter().for_each(|driver| driver.close());
            if made { std::fs::remove_dir_all(data) } else { Ok(()) }
        }
    };
    tokio::task::spawn_blocking(close).await.or_exit(Exit::Failed)??;
    let devices = cdi::Registry::read(&settings.cdi.folders).inventory();
    let devices: Vec<&str> = devices.keys().map(String::as_str).collect();
    if args.json {
        say(&json!({ "cdi_devices": devices }).to_string())?;
    } else if devices.is_empty() {
        say("no   CDI devices: no document in the configured folders names one")?;
    } else {
        say(&format!("yes  CDI devices: {}", devices.join(", ")))?;
    }
    Ok(if found.iter().any(|(_, _, ability, _)| ability.usable) { Exit::Ok } else { Exit::Failed })
}
