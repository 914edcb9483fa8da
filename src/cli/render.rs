//! `neuro render`: draw scenes for other programs, as a NuRec service does.
//!
//! Ends as `neuro serve` does: the first signal lets running pictures finish, the second does not. Clients are told to go
//! and get a moment for it; one that keeps its connection without asking for anything does not hold up the end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::exit::{Exit, Failure, OrExit, Outcome};
use super::output::say;
use super::settings::{FlagSet, SettingFlags};
use super::signals::Signals;
use crate::config::Key;
use crate::grpc::sensorsim::{Drawing, SceneShelf, SensorsimService};
use crate::grpc::{GrpcError, serve_sensorsim};
use crate::render::builtin::Builtin;
use crate::scene::LoadLimits;
use crate::telemetry::logs;

/// How long running pictures get to finish.
const GRACE: Duration = Duration::from_secs(10);

/// How long clients that ask for nothing get to close their connections, and answers to leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// How often to look whether anything is still being drawn.
const GLANCE: Duration = Duration::from_millis(20);

/// How long blocked threads (a scene half read) may hold up the end of the process.
const THREADS_GRACE: Duration = Duration::from_millis(100);

/// Logs alone.
#[derive(Debug, Clone, Copy)]
pub struct Logs;

impl FlagSet for Logs {
    fn takes(key: &Key) -> bool {
        ["log", "log_format"].contains(&key.name)
    }
}

/// Flags of `neuro render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: std::net::IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 46435)]
    port: u16,
    /// Folder with USDZ files, or one such file; may be given several times.
    #[arg(long, value_name = "DIR", default_value = "scenes")]
    scenes: Vec<PathBuf>,
    /// Let clients end this server.
    #[arg(long)]
    allow_shut_down: bool,
    /// Threads to draw with; 0 takes one a processor.
    #[arg(long = "draw-threads", value_name = "N", default_value_t = 0)]
    draw_threads: usize,
    #[command(flatten)]
    settings: SettingFlags<Logs>,
}

/// Draws until told to stop.
///
/// # Errors
/// With [`Exit::Usage`] or [`Exit::Listen`].
pub fn run(args: &RenderArgs) -> Outcome {
    let config = args.settings.load()?.config;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_name("neuro-async").enable_all().build()?;
    let outcome = runtime.block_on(async {
        let _traces = logs::start(&config.telemetry).or_exit(Exit::Usage)?;
        serve(args).await
    });
    runtime.shutdown_timeout(THREADS_GRACE);
    outcome
}

async fn serve(args: &RenderArgs) -> Outcome {
    let mut signals = Signals::catch()?;
    for folder in &args.scenes {
        let doing = format!("--scenes {}", folder.display());
        std::fs::metadata(folder).or_exit_with(Exit::Usage, doing)?;
    }
    let threads = match args.draw_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let renderer = Arc::new(Builtin::new(threads).or_exit(Exit::Failed)?);
    let shelf = Arc::new(SceneShelf::new(args.scenes.clone(), LoadLimits::default()));
    let asked = Arc::new(Notify::new());
    let shut_down = args.allow_shut_down.then(|| Arc::clone(&asked));
    let service = SensorsimService::new(renderer, Arc::clone(&shelf), shut_down);

    let drawing = service.drawing();
    let address = SocketAddr::new(args.host, args.port);
    let listener =
        TcpListener::bind(address).await.or_exit_with(Exit::Listen, format!("cannot listen on {address}"))?;
    let address = listener.local_addr().or_exit(Exit::Listen)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = serve_sensorsim(listener, service, async {
        drop(stopped.await);
    });
    let mut server = tokio::spawn(serving);
    say(&format!("neuro render listening on {address}"))?;
    let scenes = SceneShelf::ids(&shelf).await.or_exit(Exit::Usage)?;
    info!(scenes = scenes.len(), threads, "ready to draw");

    tokio::select! {
        ended = &mut server => return Err(early(ended)),
        signal = signals.next() => info!(signal, "stopping: running pictures finish"),
        () = asked.notified() => info!("stopping because a client asked: running pictures finish"),
    }
    drop(stop);
    finish(server, &drawing, &mut signals).await
}

async fn finish(
    mut server: JoinHandle<Result<(), GrpcError>>,
    drawing: &Drawing,
    signals: &mut Signals,
) -> Outcome {
    tokio::select! {
        _ = &mut server => {}
        () = idle(drawing) => {}
        () = tokio::time::sleep(GRACE) => {
            let left = drawing.count();
            warn!(left, grace_seconds = GRACE.as_secs(), "the grace ran out: what still ran is cut off");
            return Ok(Exit::CutOff);
        }
        signal = signals.next() => {
            warn!(signal, left = drawing.count(), "stopping at once");
            return Ok(Exit::CutOff);
        }
    }
    info!("stopped: every request taken was answered");
    Ok(Exit::Ok)
}

/// Returns when nothing was drawn for a moment.
async fn idle(drawing: &Drawing) {
    let mut since = Instant::now();
    while since.elapsed() < FAREWELL {
        tokio::time::sleep(GLANCE).await;
        if drawing.count() > 0 {
            since = Instant::now();
        }
    }
}

fn early(ended: Result<Result<(), GrpcError>, tokio::task::JoinError>) -> Failure {
    let error = match ended {
        Ok(Ok(())) => anyhow::anyhow!("the server stopped listening"),
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    };
    Failure { exit: Exit::Listen, error }
}
