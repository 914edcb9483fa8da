//! How soon an event of a session is with everybody who watches it. The clock starts before the event is handed to the
//! books, so its sync to the disk is in every figure, and stops when the last watcher has it decoded.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use neuro::fleet::access::Access;
use neuro::fleet::ids::SessionId;
use neuro::fleet::ledger::Command;
use neuro::fleet::orchestrator::{Orchestrator, OrchestratorOptions};
use neuro::fleet::settings::FleetSettings;
use neuro::fleet::spec::Mode;
use neuro::grpc::fleet::{FleetOptions, serve_fleet};
use neuro::proto::neuro::ext::session_service_client::SessionServiceClient;
use neuro::proto::neuro::ext::{Progress, WatchSessionRequest, session_event::Kind};
use tokio::sync::{Notify, watch};
use tonic::transport::Endpoint;

/// A pool with nothing in it: the usual ones would start this very program as simulators, which would do so too.
const NOBODY: &str = "[[pool]]\nname = \"nobody\"\nrole = \"simulator\"\nbackend = \"static\"\n\
    instances = [\"http://127.0.0.1:9\"]\n";
/// HTTP/2 connections that the streams share.
const CONNECTIONS: usize = 4;

/// Who watches, and how often something happens.
#[derive(Clone, Copy)]
pub struct Crowd {
    /// Watches inside the process: what websockets and gRPC streams are made of.
    pub inside: usize,
    /// gRPC streams; their clients run in this process, on the same cores.
    pub streams: usize,
    /// Events that are timed.
    pub events: usize,
}

/// What the watchers of a round write down.
struct Round {
    begun: Instant,
    took_ns: Vec<AtomicU64>,
    missing: AtomicUsize,
    complete: Notify,
}

impl Round {
    fn new(watchers: usize) -> Self {
        Self {
            begun: Instant::now(),
            took_ns: (0..watchers).map(|_| AtomicU64::new(0)).collect(),
            missing: AtomicUsize::new(watchers),
            complete: Notify::new(),
        }
    }

    fn heard(&self, watcher: usize) {
        let took = self.begun.elapsed().as_nanos() as u64;
        let before = self.took_ns[watcher].swap(took, Ordering::Relaxed);
        assert_eq!(before, 0, "watcher {watcher} heard an event twice");
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.complete.notify_one();
        }
    }

    async fn done(&self) -> Vec<Duration> {
        tokio::time::timeout(Duration::from_secs(60), self.complete.notified()).await.unwrap_or_else(|_| {
            panic!("{} watchers have not heard of the event", self.missing.load(Ordering::Relaxed))
        });
        self.took_ns.iter().map(|ns| Duration::from_nanos(ns.load(Ordering::Relaxed))).collect()
    }
}

/// The round of each event, by its sequence number.
type Now = watch::Receiver<(i64, Arc<Round>)>;

fn heard(now: &Now, watcher: usize, seq: i64) {
    let (current, round) = now.borrow().clone();
    assert_eq!(seq, current, "watcher {watcher} is in another round");
    round.heard(watcher);
}

/// Times `crowd.events` events of a session that waits in the queue.
pub async fn run(folder: &Path, crowd: Crowd) {
    let data = folder.join(format!("watched-{}-{}", crowd.inside, crowd.streams));
    let settings = FleetSettings::parse(Path::new("fleet.toml"), NOBODY).unwrap();
    let access = Access::from_settings(&settings.access);
    let orchestrator =
        Orchestrator::open(OrchestratorOptions { settings, data, ..OrchestratorOptions::default() })
            .await
            .unwrap();
    let session: SessionId = "watched".parse().unwrap();
    let mut open = super::request("watched".to_owned());
    (open.mode, open.spec) = (Mode::Training, Vec::new());
    orchestrator.books().apply(Command::Open(open)).await.unwrap();
    let after = orchestrator.session(&session).unwrap().row.last_seq;

    let total = crowd.inside + crowd.streams;
    let (rounds, now) = watch::channel((after, Arc::new(Round::new(total))));
    let mut watchers = tokio::task::JoinSet::new();
    for watcher in 0..crowd.inside {
        let mut events = orchestrator.watch(&session, after).unwrap();
        let now = now.clone();
        watchers.spawn(async move {
            while let Some(row) = events.next().await {
                heard(&now, watcher, row.unwrap().seq);
            }
        });
    }
    let (stop, stopping) = watch::channel(false);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let options = FleetOptions { orchestrator: orchestrator.clone(), access, tls: None, stopping };
    let server = tokio::spawn(serve_fleet(listener, options));
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS.min(crowd.streams) {
        channels.push(Endpoint::from_shared(url.clone()).unwrap().connect().await.unwrap());
    }
    for stream in 0..crowd.streams {
        let mut client = SessionServiceClient::new(channels[stream % CONNECTIONS].clone());
        let request = WatchSessionRequest { session_id: session.to_string(), resume_after: after };
        let mut events = client.watch_session(request).await.unwrap().into_inner();
        let (now, watcher) = (now.clone(), crowd.inside + stream);
        watchers.spawn(async move {
            while let Ok(Some(event)) = events.message().await {
                heard(&now, watcher, event.seq);
            }
        });
    }
    let (mut each, mut last) = (Vec::new(), Vec::new());
    let mut commits = Vec::new();
    let cpu = super::cpu_seconds();
    for number in 1..=crowd.events {
        let round = Arc::new(Round::new(total));
        rounds.send_replace((after + number as i64, Arc::clone(&round)));
        let progress = Progress { steps: number as i64, average_reward: 0.5, ..Progress::default() };
        let record = Command::Record { session: session.clone(), events: vec![Kind::Progress(progress)] };
        orchestrator.books().apply(record).await.unwrap();
        commits.push(round.begun.elapsed());
        let took = round.done().await;
        last.push(took.iter().max().copied().unwrap());
        each.extend(took);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cpu = (super::cpu_seconds() - cpu) * 1000.0 / crowd.events as f64;
    let slowest = last.iter().max().copied().unwrap();
    let what = format!("{} watchers inside, {} over gRPC", crowd.inside, crowd.streams);
    super::percentiles(&format!("{what}: commit (its caller's side)"), commits);
    super::percentiles(&format!("{what}: an event at one watcher"), each);
    super::percentiles(&format!("{what}: an event at the last watcher"), last);
    println!(
        "{what}: the slowest of all {slowest:.2?}; {cpu:.1} ms on a processor an event, clients included"
    );
    watchers.shutdown().await;
    stop.send_replace(true);
    drop(channels);
    server.await.unwrap().unwrap();
    orchestrator.shutdown().await;
}
