//! Four processes race on one orchestrator, making, stopping and watching sessions whose ids collide, over three
//! simulators that write down what they are ordered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use neuro::proto::neuro::common::GrpcSceneConfig;
use neuro::proto::neuro::ext::instance_message::M;
use neuro::proto::neuro::ext::session_event::Kind;
use neuro::proto::neuro::ext::*;
use neuro::proto::neuro::orchestrator::{
    CreateSessionRequest, ResourcePoolStatusRequest, StartSimulationRequest, StopSessionRequest,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::fleet_grpc::harness::{Clients, Fleet, NOBODY, fresh_id};

const CLIENTS: usize = 4;
const ROUNDS: usize = 16;
const SIMULATORS: usize = 3;
/// What a client process is told: see [`Task`].
const TASK: &str = "FLEET_RACE_TASK";
/// For the whole race on a busy machine; it needs a few seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// What a client process is told.
#[derive(Serialize, Deserialize)]
struct Task {
    grpc: String,
    folder: PathBuf,
    client: usize,
}

/// What it tells.
#[derive(Default, Serialize, Deserialize)]
struct Report {
    /// Sessions that nobody else knows of, and their simulators.
    own: BTreeMap<String, String>,
    /// Sessions that all ask for, and the simulator that this process was shown.
    shared: BTreeMap<String, String>,
    /// How often it came too late or with another request.
    turned_away: usize,
}

fn shared_id(round: usize) -> String {
    format!("all-{round}")
}

/// Only whoever was granted a simulator may hold its file.
fn hold(folder: &Path, instance: &str, session: &str) {
    let path = folder.join(instance);
    let mut file = File::create_new(&path).unwrap_or_else(|error| {
        let other = fs::read_to_string(&path).unwrap_or_default();
        panic!("{session} was granted {instance}, which {other} has: {error}")
    });
    file.write_all(session.as_bytes()).unwrap();
}

async fn stop(clients: &mut Clients, session: &str) {
    let stop = StopSessionRequest { session_id: session.to_owned(), cleanup: true };
    clients.neuro.stop_session(stop).await.unwrap_or_else(|status| panic!("stopping {session}: {status:?}"));
}

/// The whole log of a session that ends: dense, and one grant at most.
async fn log(clients: &mut Clients, session: &str) -> Vec<String> {
    let watch = WatchSessionRequest { session_id: session.to_owned(), resume_after: 0 };
    let mut events = clients.sessions.watch_session(watch).await.unwrap().into_inner();
    let (mut granted, mut last) = (Vec::new(), None);
    let mut expected = 1;
    while let Some(event) = events.message().await.unwrap() {
        assert_eq!(event.seq, expected, "{session}: {event:?}");
        expected += 1;
        match event.kind {
            Some(Kind::Instance(change)) if change.event == "granted" => granted.push(change.instance_id),
            Some(Kind::Phase(change)) => last = Some(change.to),
            _ => {}
        }
    }
    assert_eq!(last, Some(Phase::Stopped.into()), "{session} has {} events", expected - 1);
    assert!(granted.len() <= 1, "{session} was granted {granted:?}");
    granted
}

/// One of the processes. The last of them asks for the shared ids with another scene. In even rounds everybody ends the
/// shared session, also whoever was turned away, so that it may end before anyone was shown it; in odd rounds only those
/// who were shown it.
async fn run(task: &Task) -> Report {
    let channel = Endpoint::from_shared(format!("http://{}", task.grpc)).unwrap().connect().await.unwrap();
    let mut clients = Clients::over(channel);
    let mut report = Report::default();
    for round in 0..ROUNDS {
        let own = format!("own-{}-{round}", task.client);
        let create = CreateSessionRequest { session_id: own.clone(), ..Default::default() };
        let made = clients.neuro.create_session(create).await.unwrap().into_inner();
        hold(&task.folder, &made.instance_id, &own);
        let start = StartSimulationRequest { session_id: own.clone(), ..Default::default() };
        clients.neuro.start_simulation(start).await.unwrap();
        fs::remove_file(task.folder.join(&made.instance_id)).unwrap();
        let mut watching = clients.clone();
        let id = own.clone();
        let watched = tokio::spawn(async move { log(&mut watching, &id).await });
        stop(&mut clients, &own).await;
        assert_eq!(watched.await.unwrap(), std::slice::from_ref(&made.instance_id));
        report.own.insert(own, made.instance_id);

        let shared = shared_id(round);
        let other = task.client + 1 == CLIENTS;
        let scene = other.then(|| GrpcSceneConfig { environment: "reach".into(), ..Default::default() });
        let create =
            CreateSessionRequest { session_id: shared.clone(), scene_config: scene, ..Default::default() };
        let shown = match clients.neuro.create_session(create).await {
            Ok(made) => {
                report.shared.insert(shared.clone(), made.into_inner().instance_id);
                true
            }
            Err(late) if matches!(late.code(), Code::FailedPrecondition | Code::AlreadyExists) => {
                report.turned_away += 1;
                false
            }
            Err(status) => panic!("creating {shared}: {status:?}"),
        };
        if shown || round % 2 == 0 {
            stop(&mut clients, &shared).await;
        }
    }
    report
}

/// Not a test by itself: what [`four_processes_race_and_no_simulator_is_ever_shared`] starts four times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "one client of the race, run as a process of its own"]
async fn a_client_of_the_race_finds_its_simulator_for_itself() {
    let Ok(task) = std::env::var(TASK) else { return };
    let task: Task = serde_json::from_str(&task).unwrap();
    let report = run(&task).await;
    let path = task.folder.join(format!("client-{}.json", task.client));
    fs::write(path, serde_json::to_vec(&report).unwrap()).unwrap();
}

/// A client process, ended when it goes out of scope.
struct Racer(Child);

impl Racer {
    fn start(task: &Task) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = format!("{}::a_client_of_the_race_finds_its_simulator_for_itself", module());
        command.args([name.as_str(), "--exact", "--ignored", "--nocapture"]);
        command.env(TASK, serde_json::to_string(task).unwrap());
        Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// This module's path, as the test harness names it.
fn module() -> &'static str {
    let path = module_path!();
    path.split_once("::").map_or(path, |(_, inside)| inside)
}

/// What a simulator was ordered to load: under which fence, for whom.
type Loads = Vec<(i64, String)>;

/// A simulator that does what it is told and writes it down, until its stream ends.
async fn simulator(mut clients: Clients, id: String, name: String, folder: PathBuf) -> Loads {
    let (messages, sent) = mpsc::channel(64);
    let hello = Hello {
        instance_id: id.clone(),
        name,
        role: Role::Simulator.into(),
        version: "1".into(),
        rest_url: "http://127.0.0.1:9".into(),
        ..Default::default()
    };
    messages.send(InstanceMessage { m: Some(M::Hello(hello)) }).await.unwrap();
    let mut orders = clients.instances.attach(ReceiverStream::new(sent)).await.unwrap().into_inner();
    let mut loads = Loads::new();
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    loop {
        let order = tokio::select! {
            _ = beat.tick() => {
                let beat = InstanceMessage { m: Some(M::Heartbeat(Heartbeat::default())) };
                if messages.send(beat).await.is_err() {
                    return loads;
                }
                continue;
            }
            order = orders.message() => match order {
                Ok(Some(order)) => order,
                _ => return loads,
            },
        };
        if let Some(order::O::Load(load)) = &order.o {
            let holder = fs::read_to_string(folder.join(&id)).ok();
            assert!(
                holder.as_ref().is_none_or(|holder| holder.is_empty() || *holder == load.session_id),
                "{} is loaded while {holder:?} runs",
                load.session_id
            );
            loads.push((order.fence, load.session_id.clone()));
        }
        let result = OrderResult { order_id: order.order_id, ok: true, ..Default::default() };
        if order.order_id > 0 && messages.send(InstanceMessage { m: Some(M::Result(result)) }).await.is_err()
        {
            return loads;
        }
    }
}

/// Starts the processes and waits for all of them; what they tell.
async fn race(fleet: &Fleet, folder: &Path) -> Vec<Report> {
    let task = |client| Task { grpc: fleet.grpc.clone(), folder: folder.to_owned(), client };
    let mut racers: Vec<Racer> = (0..CLIENTS).map(|client| Racer::start(&task(client))).collect();
    let end = Instant::now() + LIMIT;
    for (client, racer) in racers.iter_mut().enumerate() {
        let status = loop {
            if let Some(status) = racer.0.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "client {client} is not done after {LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        if !status.success() {
            let mut said = String::new();
            std::io::Read::read_to_string(racer.0.stdout.as_mut().unwrap(), &mut said).unwrap();
            std::io::Read::read_to_string(racer.0.stderr.as_mut().unwrap(), &mut said).unwrap();
            panic!("client {client}: {status}: {said}");
        }
    }
    let read = |client| fs::read(folder.join(format!("client-{client}.json"))).unwrap();
    (0..CLIENTS).map(|client| serde_json::from_slice(&read(client)).unwrap()).collect()
}

/// Every session that the orchestrator knows, by its own list.
async fn listed(clients: &mut Clients) -> Vec<SessionSummary> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let ask = ListSessionsRequest { page_size: 10, page_token, ..Default::default() };
        let page = clients.sessions.list_sessions(ask).await.unwrap().into_inner();
        all.extend(page.sessions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_race_and_no_simulator_is_ever_shared() {
    let fleet = Fleet::start(NOBODY);
    let folder = tempfile::tempdir().unwrap();
    let mut clients = fleet.clients().await;
    let ids: Vec<String> = (0..SIMULATORS).map(|_| fresh_id()).collect();
    let simulators: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| {
            let name = format!("isaac-sim-{number}");
            tokio::spawn(simulator(clients.clone(), id.clone(), name, folder.path().to_owned()))
        })
        .collect();
    let reports = race(&fleet, folder.path()).await;

    let mut expected: BTreeSet<String> = (0..ROUNDS).map(shared_id).collect();
    expected.extend(reports.iter().flat_map(|report| report.own.keys().cloned()));
    assert_eq!(expected.len(), ROUNDS * (CLIENTS + 1), "every process has sessions of its own");
    let all = listed(&mut clients).await;
    let names: Vec<&str> = all.iter().map(|session| session.session_id.as_str()).collect();
    assert_eq!(names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>(), expected);
    assert_eq!(names.len(), expected.len(), "an id stands for two sessions: {names:?}");
    assert!(all.iter().all(|session| session.phase == i32::from(Phase::Stopped)), "{all:?}");

    let mut grants = BTreeMap::new();
    for session in &expected {
        if let Some(instance) = log(&mut clients, session).await.pop() {
            grants.insert(session.clone(), instance);
        }
    }
    for (client, report) in reports.iter().enumerate() {
        for (session, instance) in report.own.iter().chain(&report.shared) {
            assert_eq!(
                grants.get(session),
                Some(instance),
                "client {client} was shown another for {session}"
            );
        }
    }
    let shown: usize = reports.iter().map(|report| report.shared.len()).sum();
    let turned_away: usize = reports.iter().map(|report| report.turned_away).sum();
    assert_eq!(shown + turned_away, CLIENTS * ROUNDS);
    assert!(
        shown >= ROUNDS / 2 && turned_away >= ROUNDS,
        "{shown} shown, {turned_away} turned away: that was no race"
    );

    let ask = ResourcePoolStatusRequest { include_isaac_pool: true, include_training_pool: false };
    let pool = clients.neuro.get_resource_pool_status(ask).await.unwrap().into_inner().isaac_pool.unwrap();
    let idle: BTreeSet<&str> = pool
        .instances
        .iter()
        .filter(|one| one.status == "idle")
        .map(|one| one.instance_id.as_str())
        .collect();
    assert!(ids.iter().all(|id| idle.contains(id.as_str())), "something leaked: {pool:?}");

    drop((clients, fleet));
    for (id, simulator) in ids.iter().zip(simulators) {
        let loads = simulator.await.unwrap();
        assert!(!loads.is_empty(), "simulator {id} was never used");
        let rising = loads.windows(2).all(|two| two[0].0 < two[1].0);
        assert!(rising, "the fences of simulator {id} do not rise: {loads:?}");
        for (_, session) in &loads {
            assert_eq!(grants.get(session), Some(id), "{session} was loaded where it was not granted");
        }
    }
}
