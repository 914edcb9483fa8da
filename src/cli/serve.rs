//! `neuro serve`: answer robots.
//!
//! The address is bound before the model is opened, so that a wrong port is known at once and `/health` answers 503
//! while weights are read. A model that is refused ends the process with one line. The first signal lets running
//! requests finish, the second does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::exit::{Exit, Failure, OrExit, Outcome};
use super::options;
use super::output::say;
use super::settings::{All, SettingFlags};
use super::signals::Signals;
use crate::config::{Effective, KEYS, ServeConfig, Source};
use crate::http::listener::{self, ListenOptions};
use crate::http::{AppState, router};
use crate::playback::{DEFAULT_SESSION, LoadOrder, World};
use crate::policy::description::ModelDescription;
use crate::policy::recording::Recorder;
use crate::policy::service::PolicyService;
use crate::telemetry::{logs, metrics};

/// How long blocked threads (a model half read) may hold up the end of the process.
const THREADS_GRACE: Duration = Duration::from_millis(100);

/// How long the recorder gets to write what is waiting.
const RECORDER_GRACE: Duration = Duration::from_secs(5);

/// Flags of `neuro serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    settings: SettingFlags<All>,
}

/// Serves until told to stop.
///
/// # Errors
/// With [`Exit::Usage`], [`Exit::Model`] or [`Exit::Listen`].
pub fn run(args: &ServeArgs) -> Outcome {
    let effective = args.settings.load()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_name("neuro-async").enable_all().build()?;
    let outcome = runtime.block_on(async {
        let _traces = logs::start(&effective.config.telemetry).or_exit(Exit::Usage)?;
        metrics::install().or_exit(Exit::Failed)?;
        log_settings(&effective);
        serve(&effective.config).await
    });
    runtime.shutdown_timeout(THREADS_GRACE);
    outcome
}

async fn serve(config: &ServeConfig) -> Outcome {
    let recorder = options::record(config).map(|options| {
        let doing = format!("cannot record into {}", options.dir.display());
        Recorder::start(options).or_exit_with(Exit::Usage, doing)
    });
    let recorder = recorder.transpose()?;
    let outcome = until_stopped(config, recorder.clone()).await;
    if let Some(recorder) = recorder {
        let written = tokio::task::spawn_blocking(move || recorder.finish(RECORDER_GRACE)).await;
        if !written.unwrap_or(false) {
            warn!("the last requests were not recorded");
        }
    }
    outcome
}

async fn until_stopped(config: &ServeConfig, recorder: Option<Recorder>) -> Outcome {
    let mut signals = Signals::catch()?;
    let address = config.http.address();
    let listener =
        TcpListener::bind(address).await.or_exit_with(Exit::Listen, format!("cannot listen on {address}"))?;
    let service = PolicyService::start(options::service(config, recorder));
    let world = World::start(options::world(config).or_exit(Exit::Failed)?).or_exit(Exit::Usage)?;
    world.look().await;
    if let Some(name) = &config.scene.first {
        let session = world.session(DEFAULT_SESSION).or_exit(Exit::Failed)?;
        let order = LoadOrder { name: name.clone(), nurec: None, wants_renderer: false };
        let doing = format!("cannot load the scenario {name}");
        world.load(&session, order).await.or_exit_with(Exit::Usage, doing)?;
    }
    let mut server = Server::start(listener, &service, world, config)?;
    say(&format!("neuro listening on http://{}", server.address))?;

    tokio::select! {
        loaded = service.load(options::load(config)) => {
            let model = loaded.or_exit(Exit::Model)?;
            announce(&model)?;
        }
        ended = &mut server.task => return Err(stopped(ended)),
        signal = signals.next() => {
            info!(signal, "stopping before the model was ready");
            return Ok(Exit::Ok);
        }
    }
    tokio::select! {
        ended = &mut server.task => return Err(stopped(ended)),
        signal = signals.next() => info!(signal, waiting = service.waiting(), "stopping: running requests finish"),
    }
    tokio::select! {
        left = server.finish(&service, config.http.shutdown_grace) => Ok(left),
        signal = signals.next() => {
            warn!(signal, waiting = service.waiting(), "stopping at once");
            Ok(Exit::CutOff)
        }
    }
}

/// The edge on its own task, with the means to end it.
struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    fn start(
        listener: TcpListener,
        service: &PolicyService,
        world: Arc<World>,
        config: &ServeConfig,
    ) -> Result<Self, Failure> {
        let address = listener.local_addr().or_exit(Exit::Listen)?;
        let state = AppState::new(service.clone(), world, options::http(config));
        let limits = ListenOptions {
            max_connections: state.options.max_connections,
            headers_timeout: state.options.headers_timeout,
        };
        let (stop, stopped) = oneshot::channel();
        let serving = listener::serve(listener, router(state), limits, async {
            drop(stopped.await);
        });
        Ok(Self { address, task: tokio::spawn(serving), stop: Some(stop) })
    }

    /// Takes no more connections and no more requests, waits for the running ones, then for their answers to leave.
    async fn finish(&mut self, service: &PolicyService, grace: Duration) -> Exit {
        let deadline = Instant::now() + grace;
        drop(self.stop.take());
        let left = service.drain(grace).await;
        let answered = tokio::time::timeout_at(deadline.into(), &mut self.task).await.is_ok();
        if left > 0 || !answered {
            warn!(left, grace_seconds = grace.as_secs_f64(), "the grace ran out: what still ran is cut off");
            return Exit::CutOff;
        }
        info!("stopped: every request taken was answered");
        Exit::Ok
    }
}

fn stopped(ended: Result<(), tokio::task::JoinError>) -> Failure {
    let error = match ended {
        Ok(()) => anyhow::anyhow!("the server stopped listening"),
        Err(error) => error.into(),
    };
    Failure { exit: Exit::Listen, error }
}

fn announce(model: &ModelDescription) -> std::io::Result<()> {
    let backend = &model.backend;
    say(&format!(
        "neuro ready: model {} on {} in {} ({}), statistics {} {}, {:.2} s",
        model.id,
        backend.device,
        backend.dtype.name(),
        backend.kernels,
        model.stats.id,
        model.stats.sha256,
        model.load_seconds
    ))
}

/// One line with every setting that somebody made; secrets show as redacted.
fn log_settings(effective: &Effective) {
    let set: Vec<String> = KEYS
        .iter()
        .filter(|key| effective.source(key) != Source::Default)
        .map(|key| format!("{}={} ({})", key.name, key.show(&effective.config), effective.source(key)))
        .collect();
    info!(version = env!("CARGO_PKG_VERSION"), settings = set.join(", "), "starting");
}
