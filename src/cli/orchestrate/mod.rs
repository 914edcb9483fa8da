//! `neuro orchestrate`: sessions over pools of simulators and trainers.
//!
//! Both addresses are bound before the store is opened, so that a wrong port is known at once. The first signal ends
//! calls and streams in an orderly way and closes the store; sessions and instances go on, and the next start adopts
//! them. The second signal does not wait for anybody.

mod data;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::exit::{Exit, Failure, OrExit, Outcome};
use super::output::say;
use super::settings::{LogFlags, SettingFlags};
use crate::fleet::pool::usual_pools;
use crate::fleet::settings::FleetSettings;
use crate::grpc::fleet::Tls;
use crate::telemetry::{logs, metrics};

/// How long blocked threads may hold up the end of the process.
const THREADS_GRACE: Duration = Duration::from_millis(100);

/// Flags of `neuro orchestrate`.
#[derive(Debug, Args)]
pub struct OrchestrateArgs {
    /// Address of the gRPC services; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Address of the dashboard, the REST mirror and the websockets; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8010")]
    http: SocketAddr,
    /// Folder of everything that is kept: the store, snapshots, checkpoints, demonstrations, logs of instances.
    #[arg(long, value_name = "DIR", default_value = "fleet")]
    data: PathBuf,
    /// TOML file of settings; docs/fleet.toml has every key.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Model folder of the policy that drives sessions which ask for `local`.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Check the settings, print them as they are in effect, without secrets, and end.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    logs: SettingFlags<LogFlags>,
}

/// Orchestrates until told to stop.
///
/// # Errors
/// With [`Exit::Usage`], [`Exit::Model`] or [`Exit::Listen`].
pub fn run(args: &OrchestrateArgs) -> Outcome {
    let mut settings = match &args.config {
        Some(path) => FleetSettings::load(path).or_exit(Exit::Usage)?,
        None => FleetSettings::default(),
    };
    if settings.pool.is_empty() {
        settings.pool = usual_pools();
    }
    let tls = tls(&settings)?;
    if args.check {
        let shown = settings.to_toml().or_exit(Exit::Failed)?;
        say(shown.trim_end())?;
        return Ok(Exit::Ok);
    }
    let config = args.logs.load()?.config;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_name("neuro-async").enable_all().build()?;
    let outcome = runtime.block_on(async {
        let _traces = logs::start(&config.telemetry).or_exit(Exit::Usage)?;
        metrics::install().or_exit(Exit::Failed)?;
        serve::serve(args, settings, tls, &config).await
    });
    runtime.shutdown_timeout(THREADS_GRACE);
    outcome
}

/// The certificates of the settings, read.
fn tls(settings: &FleetSettings) -> Result<Option<Tls>, Failure> {
    let access = &settings.access;
    let read = |key: &str, path: &PathBuf| {
        let doing = format!("access.{key}: cannot read {}", path.display());
        std::fs::read_to_string(path).or_exit_with(Exit::Usage, doing)
    };
    if access.tls_cert.as_os_str().is_empty() {
        return Ok(None);
    }
    let client_ca = if access.tls_client_ca.as_os_str().is_empty() {
        None
    } else {
        Some(read("tls_client_ca", &access.tls_client_ca)?)
    };
    Ok(Some(Tls {
        certificate: read("tls_cert", &access.tls_cert)?,
        key: read("tls_key", &access.tls_key)?,
        client_ca,
    }))
}
