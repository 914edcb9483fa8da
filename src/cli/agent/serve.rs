//! `neuro agent serve`, and `neuro agent` alone: the agent, until it is told to stop. Instances go on; the next start finds
//! them again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use rustix::process::{Signal, getpid, kill_process};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::doors::{Doors, doors, exposed};
use super::drivers::{self, Parts};
use super::metrics;
use crate::agent::cluster::{Pace, Reports};
use crate::agent::image::store::ImageStore;
use crate::agent::node::House;
use crate::agent::settings::AgentSettings;
use crate::agent::store::Crash;
use crate::agent::{Agent, AgentOptions};
use crate::cli::exit::{Exit, Failure, OrExit, Outcome};
use crate::cli::output::say;
use crate::cli::settings::{LogFlags, SettingFlags};
use crate::cli::signals::Signals;
use crate::grpc::GrpcError;
use crate::grpc::agent::{AgentGrpcOptions, Profile, serve_agent};
use crate::telemetry::{logs, metrics as telemetry};

/// How long calls get to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long blocked threads may hold up the end of the process.
const THREADS_GRACE: Duration = Duration::from_millis(100);

/// The two forms in which instances and their figures are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum WireProfile {
    /// As the service's document has them.
    Document,
    /// As the Go server's compute.proto has them.
    Upstream,
}

/// Flags of `neuro agent serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address of the service; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50052")]
    listen: SocketAddr,
    /// Whose messages are spoken there.
    #[arg(long, value_enum, value_name = "PROFILE", default_value_t = WireProfile::Document)]
    wire_profile: WireProfile,
    /// One more address of the same service, for the Go server, which has its own messages.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_upstream: Option<SocketAddr>,
    /// Address of /metrics and /healthz, plain HTTP.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Folder of everything that is kept: instances, images, volumes, the audit log.
    #[arg(long, env = "NEURO_AGENT_DATA", value_name = "DIR", default_value = "agent")]
    data: PathBuf,
    /// TOML file of settings; docs/agent.toml has every key.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tell the cluster at the end that the node goes. Without it the node stays known until its lease has run out.
    #[arg(long)]
    deregister: bool,
    /// Check the settings, print them as they are in effect, and end.
    #[arg(long)]
    check: bool,
    /// Drivers with nothing behind them, for tests.
    #[arg(long, hide = true)]
    fake: bool,
    /// Kills itself at this step of the journal, counted from the first: for tests.
    #[arg(long, value_name = "N", hide = true)]
    crash_at_step: Option<u64>,
    #[command(flatten)]
    logs: SettingFlags<LogFlags>,
}

/// What runs until the end.
struct Servers {
    stop: watch::Sender<bool>,
    grpc: Vec<JoinHandle<Result<(), GrpcError>>>,
    metrics: Option<JoinHandle<std::io::Result<()>>>,
}

/// Serves until told to stop.
///
/// # Errors
/// With [`Exit::Usage`] or [`Exit::Listen`].
pub(super) fn run(args: &ServeArgs) -> Outcome {
    let settings = match &args.config {
        Some(path) => AgentSettings::load(path).or_exit(Exit::Usage)?,
        None => AgentSettings::default(),
    };
    if args.check {
        let shown = settings.to_toml().or_exit(Exit::Failed)?;
        say(shown.trim_end())?;
        return Ok(Exit::Ok);
    }
    let doors = doors(&settings.access)?;
    let config = args.logs.load()?.config;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_name("neuro-async").enable_all().build()?;
    let outcome = runtime.block_on(async {
        let _traces = logs::start(&config.telemetry).or_exit(Exit::Usage)?;
        telemetry::install().or_exit(Exit::Failed)?;
        serve(args, settings, doors).await
    });
    runtime.shutdown_timeout(THREADS_GRACE);
    outcome
}

async fn serve(args: &ServeArgs, settings: AgentSettings, doors: Doors) -> Outcome {
    let started = Instant::now();
    let mut signals = Signals::catch()?;
    for address in exposed([Some(args.listen), args.listen_upstream], &settings.access, &doors) {
        warn!(
            "ANYBODY WHO REACHES {address} IS ROOT ON THIS MACHINE: set [access] tls_client_ca or keys; open = true says \
             that this is meant"
        );
    }
    let grpc = bind(args.listen, "--listen").await?;
    let address = grpc.local_addr().or_exit(Exit::Listen)?;
    let upstream = match args.listen_upstream {
        Some(address) => Some(bind(address, "--listen-upstream").await?),
        None => None,
    };
    let scraped = match args.metrics {
        Some(address) => Some(bind(address, "--metrics").await?),
        None => None,
    };
    let agent = open(args, &settings).await?;

    let mut said = format!("neuro agent listening on grpc://{address}");
    for (name, listener) in [("upstream", &upstream), ("http", &scraped)] {
        if let Some(listener) = listener {
            said.push_str(&format!(" {name}://{}", listener.local_addr().or_exit(Exit::Listen)?));
        }
    }
    let profile = match args.wire_profile {
        WireProfile::Document => Profile::Document,
        WireProfile::Upstream => Profile::Upstream,
    };
    let mut servers = start(&agent, profile, grpc, upstream, scraped, doors);
    let reports = Reports::begin(&agent, &settings, address, Pace::default());
    say(&said)?;
    info!(data = %agent.data().display(), node = agent.node().node_id, ms = started.elapsed().as_millis(), "ready");

    tokio::select! {
        failure = early(&mut servers) => return Err(failure),
        signal = signals.next() => info!(signal, "stopping: instances go on"),
    }
    finish(servers, reports, &agent, &mut signals, args.deregister).await
}

async fn open(args: &ServeArgs, settings: &AgentSettings) -> Result<Agent, Failure> {
    let data = args.data.clone();
    // The folder is the agent's while it is looked at; the agent takes it again at once.
    let house = tokio::task::spawn_blocking(move || House::open(&data)).await.or_exit(Exit::Failed)?;
    let House { data, node, .. } =
        house.or_exit_with(Exit::Usage, format!("--data {}", args.data.display()))?;
    let images = Arc::new(ImageStore::open(&data).or_exit(Exit::Failed)?);
    let parts = Parts { settings, data: &data, mark: &node.mark, images: images.clone(), fake: args.fake };
    let drivers = drivers::all(&parts).or_exit(Exit::Failed)?;
    let mut options = AgentOptions::new(settings.clone(), data, drivers, images);
    options.crash = args.crash_at_step.map(crash_at);
    Agent::open(options).await.or_exit(Exit::Failed)
}

/// Ends this process at a step of the journal, with nothing tidied.
fn crash_at(step: u64) -> Crash {
    let steps = AtomicU64::new(0);
    Arc::new(move |name| {
        if steps.fetch_add(1, Ordering::Relaxed).saturating_add(1) == step {
            warn!(step, name, "killed here, as asked");
            kill_process(getpid(), Signal::KILL).ok();
        }
    })
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.or_exit_with(Exit::Listen, format!("{flag}: cannot listen on {address}"))
}

fn start(
    agent: &Agent,
    profile: Profile,
    grpc: TcpListener,
    upstream: Option<TcpListener>,
    scraped: Option<TcpListener>,
    doors: Doors,
) -> Servers {
    let (stop, stopping) = watch::channel(false);
    let serve = |listener, profile| {
        let options = AgentGrpcOptions {
            agent: agent.clone(),
            profile,
            keys: doors.keys.clone(),
            tls: doors.tls.clone(),
            stopping: stopping.clone(),
        };
        tokio::spawn(serve_agent(listener, options))
    };
    let mut servers = vec![serve(grpc, profile)];
    servers.extend(upstream.map(|listener| serve(listener, Profile::Upstream)));
    let metrics = scraped.map(|listener| {
        let mut stopped = stopping.clone();
        let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
        tokio::spawn(metrics::serve(listener, agent.clone(), stop))
    });
    Servers { stop, grpc: servers, metrics }
}

/// Why a server ended before it was told to.
async fn early(servers: &mut Servers) -> Failure {
    let metrics = async {
        match &mut servers.metrics {
            Some(task) => drop(task.await),
            None => std::future::pending().await,
        }
    };
    let error = tokio::select! {
        (ended, ..) = futures_util::future::select_all(&mut servers.grpc) => match ended {
            Ok(Ok(())) => anyhow!("the gRPC server stopped listening"),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        },
        () = metrics => anyhow!("the metrics server stopped listening"),
    };
    Failure { exit: Exit::Listen, error }
}

async fn finish(
    servers: Servers,
    reports: Reports,
    agent: &Agent,
    signals: &mut Signals,
    deregister: bool,
) -> Outcome {
    servers.stop.send_replace(true);
    let ended = async {
        drop(futures_util::future::join_all(servers.grpc).await);
        if let Some(metrics) = servers.metrics {
            drop(metrics.await);
        }
        reports.end(deregister).await;
    };
    let mut exit = Exit::Ok;
    tokio::select! {
        () = ended => {}
        () = tokio::time::sleep(GRACE) => {
            warn!(grace_seconds = GRACE.as_secs(), "the grace ran out: calls that still ran are cut off, what they asked for goes on");
            exit = Exit::CutOff;
        }
        signal = signals.next() => {
            warn!(signal, "stopping at once");
            exit = Exit::CutOff;
        }
    }
    tokio::select! {
        () = agent.shutdown() => info!("stopped: instances go on"),
        signal = signals.next() => {
            warn!(signal, "stopping at once");
            exit = Exit::CutOff;
        }
    }
    Ok(exit)
}
