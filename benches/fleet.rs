//! What allocating costs, with the disk synced at every commit.
//!
//! `cargo bench --bench fleet` prints the latency of one warm grant, grants a second of 64 callers at once, the queue
//! under a thousand sessions, how soon books of a thousand sessions are open again, and how soon ten thousand watchers of
//! one session have an event. `BENCH_DIR` names the folder of the file: its disk is what is measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "fleet/watchers.rs"]
mod watchers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use neuro::fleet::books::Books;
use neuro::fleet::ids::{InstanceId, SessionId};
use neuro::fleet::ledger::{Command, LedgerOptions, Notice, OpenSession, Outcome, Registration};
use neuro::fleet::rows::{Endpoints, Phase, Role};
use neuro::fleet::spec::{Gang, Mode, Priority};
use neuro::fleet::store::SqliteStore;
use neuro::proto::neuro::ext::{Progress, session_event::Kind};
use tokio::sync::mpsc;
use watchers::Crowd;

/// Callers at once.
const CALLERS: usize = 64;

/// How much is measured.
struct Size {
    single: usize,
    grouped: Duration,
    sessions: usize,
    events: usize,
    crowds: [Crowd; 3],
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let size = if quick {
        let crowd = |inside, streams| Crowd { inside, streams, events: 2 };
        let crowds = [crowd(100, 0), crowd(90, 10), crowd(0, 20)];
        Size { single: 5, grouped: Duration::from_millis(50), sessions: 20, events: 5, crowds }
    } else {
        let crowd = |inside, streams| Crowd { inside, streams, events: 100 };
        let crowds = [crowd(10_000, 0), crowd(9000, 1000), crowd(0, 10_000)];
        Size { single: 1000, grouped: Duration::from_secs(5), sessions: 1000, events: 100, crowds }
    };
    let folder = std::env::var_os("BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = tempfile::tempdir_in(folder).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        disk(&folder.path().join("sync"), size.single);
        single(&folder.path().join("single.db"), size.single).await;
        grouped(&folder.path().join("grouped.db"), size.grouped).await;
        reopen(&folder.path().join("reopen.db"), &size).await;
    });
    // As `neuro orchestrate` runs.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for crowd in size.crowds {
        runtime.block_on(watchers::run(folder.path(), crowd));
    }
}

fn open(path: &Path) -> (Books, mpsc::Receiver<Notice>) {
    Books::open(Box::new(SqliteStore::open(path).unwrap()), LedgerOptions::default()).unwrap()
}

/// Books whose notices are heard and forgotten.
fn start(path: &Path) -> Books {
    let (books, mut notices) = open(path);
    tokio::spawn(async move { while notices.recv().await.is_some() {} });
    books
}

async fn fill(books: &Books, simulators: usize) {
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..simulators {
        let books = books.clone();
        let said = Registration {
            id: InstanceId::new(),
            name: format!("isaac-sim-{number}"),
            role: Role::Simulator,
            pool: "default".to_owned(),
            node: "node".to_owned(),
            version: "1".to_owned(),
            labels: [("rt_cores".to_owned(), "yes".to_owned())].into(),
            gpus: Vec::new(),
            memory_mb: 16_384,
            endpoints: Endpoints::default(),
            holding: None,
        };
        asked.spawn(async move { books.apply(Command::Register(said)).await.unwrap() });
    }
    asked.join_all().await;
}

fn request(name: String) -> OpenSession {
    OpenSession {
        id: name.parse().unwrap(),
        owner: "owner".to_owned(),
        mode: Mode::Manual,
        priority: Priority::Normal,
        gang: Gang { simulators: 1, ..Gang::default() },
        requires: BTreeMap::new(),
        spec: vec![7; 200],
        request_hash: [1; 32],
        may_queue: true,
        restore_from: String::new(),
    }
}

fn stop(session: SessionId) -> Command {
    Command::Close { session, to: Phase::Stopped, reason: "the bench".to_owned(), requeue_from: None }
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what}: p50 {:.2?}, p99 {:.2?} of {}", at(0.5), at(0.99), times.len());
}

/// What the disk alone takes for a small append and its sync.
fn disk(path: &Path, times: usize) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    let sync = |_| {
        let started = Instant::now();
        file.write_all(&[1; 4096]).unwrap();
        file.sync_data().unwrap();
        started.elapsed()
    };
    percentiles("append and sync of 4 KiB", (0..times).map(sync).collect());
}

async fn single(path: &Path, times: usize) {
    let books = start(path);
    fill(&books, 64).await;
    let mut grants = Vec::new();
    for number in 0..times {
        let open = request(format!("s-{number}"));
        let id = open.id.clone();
        let started = Instant::now();
        let outcome = books.apply(Command::Open(open)).await.unwrap();
        grants.push(started.elapsed());
        assert!(matches!(outcome, Outcome::Granted { fresh: true, .. }));
        books.apply(stop(id)).await.unwrap();
    }
    percentiles("one warm grant", grants);
    books.close().await;
}

/// 64 callers open and close sessions for a while.
async fn grouped(path: &Path, time: Duration) {
    let books = start(path);
    fill(&books, 1000).await;
    let started = Instant::now();
    let cpu_before = cpu_seconds();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let books = books.clone();
        callers.spawn(async move {
            let mut grants = Vec::new();
            while started.elapsed() < time {
                let open = request(format!("g-{caller}-{}", grants.len()));
                let id = open.id.clone();
                let asked = Instant::now();
                let outcome = books.apply(Command::Open(open)).await.unwrap();
                grants.push(asked.elapsed());
                assert!(matches!(outcome, Outcome::Granted { fresh: true, .. }));
                books.apply(stop(id)).await.unwrap();
            }
            grants
        });
    }
    let grants: Vec<Duration> = callers.join_all().await.into_iter().flatten().collect();
    let (count, wall, cpu) = (grants.len(), started.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    percentiles("one grant among 64 callers", grants);
    println!(
        "64 callers: {:.0} grants/s (and as many releases), {:.0} per CPU-second",
        count as f64 / wall,
        count as f64 / cpu
    );
    books.close().await;
}

/// Time on a processor of all threads of this process.
fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}

async fn reopen(path: &Path, size: &Size) {
    let books = start(path);
    fill(&books, size.sessions / 2).await;
    let started = Instant::now();
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..size.sessions {
        let (books, events) = (books.clone(), size.events);
        asked.spawn(async move {
            let open = request(format!("r-{number}"));
            let id = open.id.clone();
            books.apply(Command::Open(open)).await.unwrap();
            let events =
                (0..events).map(|_| Kind::Progress(Progress { steps: 7, ..Progress::default() })).collect();
            books.apply(Command::Record { session: id, events }).await.unwrap();
        });
    }
    asked.join_all().await;
    let queued = books.read(|tables| tables.queue().len());
    println!(
        "{} sessions, {queued} of them queued, {} events each: {:.2?}",
        size.sessions,
        size.events,
        started.elapsed()
    );
    let started = Instant::now();
    let half: Vec<SessionId> =
        (0..size.sessions / 2).map(|number| format!("r-{number}").parse().unwrap()).collect();
    let mut asked = tokio::task::JoinSet::new();
    for id in half {
        let books = books.clone();
        asked.spawn(async move { books.apply(stop(id)).await.unwrap() });
    }
    asked.join_all().await;
    println!(
        "{} of them released and their places given to the queue: {:.2?}",
        size.sessions / 2,
        started.elapsed()
    );
    books.close().await;
    let started = Instant::now();
    let (books, _notices) = open(path);
    println!("open again: {:.2?}", started.elapsed());
    assert_eq!(books.read(|tables| tables.sessions.len()), size.sessions);
    books.close().await;
}
