//! From bound addresses to the end.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::OrchestrateArgs;
use super::data::DataFolder;
use crate::cli::driver;
use crate::cli::exit::{Exit, Failure, OrExit, Outcome};
use crate::cli::output::say;
use crate::cli::signals::Signals;
use crate::config::ServeConfig;
use crate::fleet::access::Access;
use crate::fleet::control::PolicyDriver;
use crate::fleet::orchestrator::{Orchestrator, OrchestratorOptions};
use crate::fleet::settings::FleetSettings;
use crate::grpc::GrpcError;
use crate::grpc::fleet::{FleetOptions, Tls, serve_fleet};
use crate::http::fleet::{FleetHttpOptions, FleetState, router};
use crate::http::listener::{ListenOptions, serve_with_peers};

/// How long calls and streams get to end.
const GRACE: Duration = Duration::from_secs(10);

/// What runs until the end.
struct Servers {
    stop: watch::Sender<bool>,
    grpc: Vec<JoinHandle<Result<(), GrpcError>>>,
    http: JoinHandle<()>,
}

/// Where instances of this machine attach, and with what.
struct Doors {
    access: Access,
    grpc_url: String,
    key_file: Option<PathBuf>,
    /// A plaintext listener beside the one with TLS, for instances alone.
    local: Option<(TcpListener, Access)>,
}

pub(super) async fn serve(
    args: &OrchestrateArgs,
    settings: FleetSettings,
    tls: Option<Tls>,
    config: &ServeConfig,
) -> Outcome {
    let started = Instant::now();
    let mut signals = Signals::catch()?;
    let data = DataFolder::hold(&args.data).or_exit(Exit::Usage)?;
    let grpc = bind(args.listen, "--listen").await?;
    let http = bind(args.http, "--http").await?;
    let grpc_address = grpc.local_addr().or_exit(Exit::Listen)?;
    let http_address = http.local_addr().or_exit(Exit::Listen)?;
    warn_about(&settings, tls.as_ref(), grpc_address, http_address);

    let policy = match &args.model {
        Some(dir) => Some(policy(dir, config).await?),
        None => None,
    };
    let doors = doors(&settings, tls.is_some(), grpc_address, &data)?;
    let orchestrator = Orchestrator::open(OrchestratorOptions {
        settings,
        data: data.path().to_owned(),
        grpc_url: doors.grpc_url.clone(),
        http_url: format!("http://{}", reachable(http_address)),
        key_file: doors.key_file.clone(),
        binary: None,
        policy,
    })
    .await
    .or_exit(Exit::Failed)?;

    let mut servers = start(&orchestrator, grpc, http, doors, tls);
    say(&format!("neuro orchestrate listening on grpc://{grpc_address} http://{http_address}"))?;
    info!(data = %data.path().display(), ms = started.elapsed().as_millis(), "ready");

    tokio::select! {
        failure = early(&mut servers) => return Err(failure),
        signal = signals.next() => info!(signal, "stopping: sessions and instances go on"),
    }
    finish(servers, &orchestrator, &mut signals).await
}

async fn policy(dir: &Path, config: &ServeConfig) -> Result<Arc<dyn PolicyDriver>, Failure> {
    let mut config = config.clone();
    config.model.dir = dir.to_owned();
    let driver = driver::open(&config).await?;
    info!(model = %dir.display(), "the policy is ready to drive");
    Ok(Arc::new(driver))
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.or_exit_with(Exit::Listen, format!("{flag}: cannot listen on {address}"))
}

/// The same port where a caller on this machine finds it.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Who listens for more than this machine and lets everybody in is told so, loudly; the published deployment does it.
fn warn_about(settings: &FleetSettings, tls: Option<&Tls>, grpc: SocketAddr, http: SocketAddr) {
    let exposed: Vec<String> =
        [grpc, http].iter().filter(|address| !address.ip().is_loopback()).map(ToString::to_string).collect();
    if exposed.is_empty() {
        return;
    }
    let addresses = exposed.join(" and ");
    let mutual = tls.is_some_and(|tls| tls.client_ca.is_some());
    if settings.access.key.is_empty() && !mutual && !settings.access.open {
        warn!(
            "ANYBODY WHO REACHES {addresses} MAY DO EVERYTHING: no [[access.key]] and no [access] tls_client_ca is set; \
             [access] open = true says that this is meant"
        );
    }
    if tls.is_some() && !http.ip().is_loopback() {
        warn!("{http} is plain HTTP: TLS is for the gRPC address; put a proxy in front of it");
    }
}

fn doors(
    settings: &FleetSettings,
    secure: bool,
    address: SocketAddr,
    data: &DataFolder,
) -> Result<Doors, Failure> {
    let access = Access::from_settings(&settings.access);
    if access.is_open() && !secure {
        let grpc_url = format!("http://{}", reachable(address));
        return Ok(Doors { access, grpc_url, key_file: None, local: None });
    }
    let (path, key) = data.instance_key()?;
    let only_instances = Access::default().and_instances(&key);
    let access = if access.is_open() { access } else { access.and_instances(&key) };
    if !secure {
        let grpc_url = format!("http://{}", reachable(address));
        return Ok(Doors { access, grpc_url, key_file: Some(path), local: None });
    }
    let listener = data.local_listener()?;
    let local = listener.local_addr()?;
    let listener = TcpListener::from_std(listener)?;
    Ok(Doors {
        access,
        grpc_url: format!("http://{local}"),
        key_file: Some(path),
        local: Some((listener, only_instances)),
    })
}

fn start(
    orchestrator: &Orchestrator,
    grpc: TcpListener,
    http: TcpListener,
    doors: Doors,
    tls: Option<Tls>,
) -> Servers {
    let (stop, stopping) = watch::channel(false);
    let serve = |listener, access, tls| {
        let options =
            FleetOptions { orchestrator: orchestrator.clone(), access, tls, stopping: stopping.clone() };
        tokio::spawn(serve_fleet(listener, options))
    };
    let mut servers = vec![serve(grpc, doors.access.clone(), tls)];
    if let Some((listener, access)) = doors.local {
        servers.push(serve(listener, access, None));
    }
    let limits = FleetHttpOptions::default();
    let listen =
        ListenOptions { max_connections: limits.max_connections, headers_timeout: limits.headers_timeout };
    let state = FleetState::new(orchestrator.clone(), Arc::new(doors.access), limits);
    let mut stopped = stopping.clone();
    let http = tokio::spawn(serve_with_peers(http, router(state), listen, async move {
        drop(stopped.wait_for(|stop| *stop).await);
    }));
    Servers { stop, grpc: servers, http }
}

/// Why a server ended before it was told to.
async fn early(servers: &mut Servers) -> Failure {
    let gone = |what: &str| anyhow::anyhow!("the {what} server stopped listening");
    let error = tokio::select! {
        (ended, ..) = futures_util::future::select_all(&mut servers.grpc) => match ended {
            Ok(Ok(())) => gone("gRPC"),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        },
        _ = &mut servers.http => gone("HTTP"),
    };
    Failure { exit: Exit::Listen, error }
}

async fn finish(servers: Servers, orchestrator: &Orchestrator, signals: &mut Signals) -> Outcome {
    servers.stop.send_replace(true);
    let ended = async {
        drop(futures_util::future::join_all(servers.grpc).await);
        drop(servers.http.await);
    };
    let mut exit = Exit::Ok;
    tokio::select! {
        () = ended => {}
        () = tokio::time::sleep(GRACE) => {
            warn!(grace_seconds = GRACE.as_secs(), "the grace ran out: what still ran is cut off");
            exit = Exit::CutOff;
        }
        signal = signals.next() => {
            warn!(signal, "stopping at once");
            exit = Exit::CutOff;
        }
    }
    tokio::select! {
        () = orchestrator.shutdown() => info!("stopped: the store is closed"),
        signal = signals.next() => {
            warn!(signal, "stopping at once");
            exit = Exit::CutOff;
        }
    }
    Ok(exit)
}
