//! `neuro simulate`: one simulated robot.
//!
//! With `--orchestrator` it attaches there and does what it is told; when nobody is there for `--orphan-s` seconds it
//! ends. Alone it loads a session named `local` at once, for `curl`, a websocket and a ZeroMQ client.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::exit::{Exit, Failure, OrExit, Outcome};
use super::output::say;
use super::render::Logs;
use super::settings::SettingFlags;
use super::signals::Signals;
use crate::http::instance::{Addresses, InstanceState, health, router};
use crate::http::listener::{self, ListenOptions};
use crate::instance::attach::{AttachOptions, Attachment, attach};
use crate::instance::contract::{Load, Scene, Start};
use crate::instance::step::StepServer;
use crate::proto::neuro::ext;
use crate::render::builtin::Builtin;
use crate::scene::shelf::Shelf;
use crate::simulator::{Camera, Relay, Simulator, Steps, join, obey};
use crate::telemetry::{logs, process};

/// The session of a simulator that runs alone.
const LOCAL: &str = "local";
/// How long running requests get to finish.
const GRACE: Duration = Duration::from_secs(1);
/// How long blocked threads (a scenario half read) may hold up the end of the process.
const THREADS_GRACE: Duration = Duration::from_millis(100);
/// Several simulators share a machine: a picture may take a little longer.
const DRAW_THREADS: usize = 2;
const LIMITS: ListenOptions =
    ListenOptions { max_connections: 256, headers_timeout: Duration::from_secs(10) };

/// Flags of `neuro simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port for REST, websocket and pictures; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the reset/step socket; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    zmq_port: u16,
    /// Folder with USDZ files, or one such file; may be given several times.
    #[arg(long, value_name = "DIR", default_value = "scenes")]
    scenes: Vec<PathBuf>,
    /// What to simulate when no orchestrator says: balance, reach or the name of a USDZ file.
    #[arg(long, value_name = "NAME", default_value = "balance", conflicts_with = "orchestrator")]
    environment: String,
    /// Attach to the orchestrator at this URL.
    #[arg(long, value_name = "URL")]
    orchestrator: Option<String>,
    /// UUID of this instance; one is made where none is given.
    #[arg(long, value_name = "UUID")]
    instance_id: Option<uuid::Uuid>,
    /// Display name.
    #[arg(long, default_value = "isaac-sim")]
    name: String,
    /// The pool it belongs to.
    #[arg(long)]
    pool: Option<String>,
    /// The orchestrator's data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A label, key=value; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// File with the key for the orchestrator.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// End after so many seconds without an orchestrator.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    orphan_s: u64,
    /// Join this WebRTC signalling relay as the simulator, with the key if one is given; `{session}` stands for the
    /// session's id.
    #[arg(long, value_name = "URL")]
    signalling: Option<String>,
    #[command(flatten)]
    settings: SettingFlags<Logs>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}

/// Simulates until told to stop.
///
/// # Errors
/// With [`Exit::Usage`] or [`Exit::Listen`].
pub fn run(args: &SimulateArgs) -> Outcome {
    let config = args.settings.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("neuro-async")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let _traces = logs::start(&config.telemetry).or_exit(Exit::Usage)?;
        serve(args).await
    });
    runtime.shutdown_timeout(THREADS_GRACE);
    outcome
}

async fn serve(args: &SimulateArgs) -> Outcome {
    let mut signals = Signals::catch()?;
    let shelf = Shelf::new(args.scenes.clone());
    let labels = labels(args, &shelf);
    let simulator = Simulator::start(shelf)?;

    let endpoint = format!("tcp://{}", SocketAddr::new(args.host, args.zmq_port));
    let steps = StepServer::bind(&endpoint, Steps::new(simulator.clone())).await.or_exit(Exit::Listen)?;
    let address = SocketAddr::new(args.host, args.port);
    let listener =
        TcpListener::bind(address).await.or_exit_with(Exit::Listen, format!("cannot listen on {address}"))?;
    let address = listener.local_addr().or_exit(Exit::Listen)?;
    let addresses = Arc::new(Addresses {
        instance_id: args.instance_id.unwrap_or_else(uuid::Uuid::new_v4).to_string(),
        name: args.name.clone(),
        labels,
        rest_url: format!("http://{address}"),
        control_ws_url: format!("ws://{address}/control"),
        stream_url: format!("http://{address}/stream"),
        zmq_endpoint: steps.endpoint().to_owned(),
        ..Addresses::default()
    });
    let camera = Camera::new(simulator.clone(), Builtin::new(DRAW_THREADS).or_exit(Exit::Failed)?);
    let state = InstanceState { simulator: simulator.clone(), camera, addresses: Arc::clone(&addresses) };
    let (stop, stopped) = oneshot::channel::<()>();
    let mut server = tokio::spawn(listener::serve(listener, router(state), LIMITS, async {
        drop(stopped.await);
    }));
    say(&format!("neuro simulate listening on {}", addresses.rest_url))?;
    say(&format!("neuro simulate steps on {}", addresses.zmq_endpoint))?;

    if let Some(relay) = &args.signalling {
        let relay = Relay { url: relay.clone(), key: key(args)? };
        let answering = join(simulator.clone(), relay, addresses.stream_url.clone());
        drop(tokio::spawn(answering));
    }
    let attached = async {
        match &args.orchestrator {
            Some(url) => Some(follow(args, url, &simulator, &addresses).await),
            None => Some(alone(args, &simulator, &addresses).await),
        }
    };
    let ended = tokio::select! {
        _ = &mut server => return Err(Failure { exit: Exit::Listen, error: anyhow::anyhow!("the server stopped listening") }),
        signal = signals.next() => {
            info!(signal, "stopping");
            Ok(())
        }
        Some(outcome) = attached => outcome,
    };
    drop((steps, stop));
    if tokio::time::timeout(GRACE, &mut server).await.is_err() {
        warn!("running requests were cut off");
    }
    ended.map(|()| Exit::Ok)
}

/// What the simulator can do.
fn labels(args: &SimulateArgs, shelf: &Shelf) -> BTreeMap<String, String> {
    let files = shelf.list();
    let scenes = files.iter().filter_map(|path| path.file_name()?.to_str());
    let environments: Vec<&str> = ["balance", "reach"].into_iter().chain(scenes).collect();
    let mut labels = BTreeMap::from([("environments".to_owned(), environments.join(","))]);
    labels.extend(args.pool.iter().map(|pool| ("pool".to_owned(), pool.clone())));
    labels.extend(args.labels.iter().cloned());
    labels
}

/// Loads a session of its own and runs it for ever.
async fn alone(args: &SimulateArgs, simulator: &Simulator, addresses: &Addresses) -> Result<(), Failure> {
    let scene = Scene {
        environment: args.environment.clone(),
        enable_shadows: true,
        enable_physics: true,
        ..Scene::default()
    };
    simulator.load(LOCAL, Load { scene_config: scene, ..Load::default() }).await.or_exit(Exit::Usage)?;
    simulator.run(LOCAL, Start::default()).await.or_exit(Exit::Failed)?;
    say(&format!("neuro simulate ready: {} in session {LOCAL}", args.environment))?;
    say(&format!("  control {}/{LOCAL}?fence=0", addresses.control_ws_url))?;
    say(&format!("  picture {}/{LOCAL}", addresses.stream_url))?;
    std::future::pending().await
}

/// Does what the orchestrator says, until it says to end or is gone for too long.
async fn follow(
    args: &SimulateArgs,
    url: &str,
    simulator: &Simulator,
    addresses: &Arc<Addresses>,
) -> Result<(), Failure> {
    let mut attachment = attached(args, url, simulator, addresses)?;
    say(&format!("neuro simulate attaches to {url} as {} ({})", addresses.name, addresses.instance_id))?;
    let orphaned = attachment.orphaned(Duration::from_secs(args.orphan_s));
    tokio::select! {
        reason = obey(simulator, &mut attachment) => info!(reason, "the orchestrator ends this instance"),
        () = orphaned => warn!(seconds = args.orphan_s, "no orchestrator: ending"),
    }
    Ok(())
}

/// What opens the orchestrator's doors, if they are locked.
fn key(args: &SimulateArgs) -> Result<Option<String>, Failure> {
    let Some(path) = &args.key_file else { return Ok(None) };
    let doing = format!("--key-file {}", path.display());
    let key = std::fs::read_to_string(path).or_exit_with(Exit::Usage, doing)?;
    Ok(Some(key.trim().to_owned()))
}

fn attached(
    args: &SimulateArgs,
    url: &str,
    simulator: &Simulator,
    addresses: &Arc<Addresses>,
) -> Result<Attachment, Failure> {
    let hello = ext::Hello {
        instance_id: addresses.instance_id.clone(),
        name: addresses.name.clone(),
        role: ext::Role::Simulator.into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        control_ws_url: addresses.control_ws_url.clone(),
        zmq_endpoint: addresses.zmq_endpoint.clone(),
        rest_url: addresses.rest_url.clone(),
        stream_url: addresses.stream_url.clone(),
        labels: addresses.labels.clone().into_iter().collect(),
        memory_mb: process::machine_memory_mb().unwrap_or(0),
        ..ext::Hello::default()
    };
    let (simulator, addresses) = (simulator.clone(), Arc::clone(addresses));
    let pulse = move || {
        let health = health(&simulator, &addresses);
        ext::Heartbeat {
            fps: health.fps,
            frame_count: health.frame_count,
            simulation_time: health.sim_time,
            cpu_utilization: health.cpu_utilization,
            session_id: health.session,
            client_connected: health.client_connected,
            last_command_ms: health.last_command_ms,
            ..ext::Heartbeat::default()
        }
    };
    let options = AttachOptions {
        orchestrator: url.to_owned(),
        key: key(args)?,
        ca_pem: None,
        hello,
        pulse: Arc::new(pulse),
    };
    attach(options).or_exit(Exit::Usage)
}
