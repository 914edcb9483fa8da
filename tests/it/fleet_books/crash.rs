//! Crashes at every commit: a child process keeps books and dies right before or right after its n-th commit, or whenever
//! it is killed. Whatever it had acknowledged must be in the file, and nothing by halves.
//!
//! The child is this test binary again, told what to do by `TEST_CRASH_CHILD`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use neuro::fleet::books::Books;
use neuro::fleet::ids::{Fence, InstanceId, SessionId};
use neuro::fleet::ledger::{Change, Command, LedgerOptions, Outcome, Tables};
use neuro::fleet::rows::Role;
use neuro::fleet::store::{Log, SqliteStore, Store, StoreError};
use neuro::proto::neuro::ext::{Progress, session_event::Kind};

use super::fleet::{SIMULATORS, TRAINERS, attach_all, check_whole, open_books, request, stop, stop_all};

const CHILD: &str = "TEST_CRASH_CHILD";
/// Commits of the child's life that are died at, one after the other, before and after.
const COMMITS: u32 = 30;
const KILLED: u32 = 15;

/// Kills its process around one commit.
struct Crashing {
    store: SqliteStore,
    commits: u32,
    before: u32,
    after: u32,
}

fn die() -> ! {
    let pid = rustix::process::getpid();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    loop {
        std::thread::park();
    }
}

impl Store for Crashing {
    fn load(&mut self) -> Result<Tables, StoreError> {
        self.store.load()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.commits += 1;
        if self.commits == self.before {
            die();
        }
        self.store.commit(changes)?;
        if self.commits == self.after {
            die();
        }
        Ok(())
    }

    fn log(&self) -> Result<Box<dyn Log>, StoreError> {
        self.store.log()
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "> {text}").unwrap();
    out.flush().unwrap();
}

/// One caller of the child: sessions one after the other, telling what it tries and what it heard.
async fn call(books: Books, life: String, caller: u32) {
    for round in 0.. {
        let id: SessionId = format!("{life}-{caller}-{round}").parse().unwrap();
        let simulators = 1 + (caller * 3 + round * 5) % 8;
        let opened = books.apply(Command::Open(request(&id, simulators, round % 2 == 0))).await;
        match opened {
            Ok(Outcome::Granted { members, .. }) => {
                let members: Vec<String> =
                    members.iter().map(|member| format!("{}={}", member.instance, member.fence)).collect();
                say(&format!("granted {id} {}", members.join(",")));
            }
            Ok(Outcome::Queued { .. }) => say(&format!("queued {id}")),
            Ok(other) => panic!("{other:?}"),
            Err(_) => continue,
        }
        let events =
            (0..3).map(|episode| Kind::Progress(Progress { episode, ..Progress::default() })).collect();
        books.apply(Command::Record { session: id.clone(), events }).await.unwrap();
        let seq = books.read(|tables| tables.sessions[&id].last_seq);
        say(&format!("logged {id} {seq}"));
        if round % 5 == 4 {
            // This one stays for the next life.
            continue;
        }
        say(&format!("closing {id}"));
        books.apply(stop(&id)).await.unwrap();
        say(&format!("closed {id}"));
    }
}

/// Does nothing unless a crash test started this process for it.
#[test]
fn child_that_keeps_books_until_it_dies() {
    let Ok(orders) = std::env::var(CHILD) else { return };
    let mut orders = orders.splitn(4, ' ');
    let mut next = || orders.next().unwrap().to_owned();
    let (life, before, after, path) = (next(), next().parse().unwrap(), next().parse().unwrap(), next());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(Path::new(&path)).unwrap();
        let store = Box::new(Crashing { store, commits: 0, before, after });
        let (books, mut notices) = Books::open(store, LedgerOptions::default()).unwrap();
        tokio::spawn(async move { while notices.recv().await.is_some() {} });
        attach_all(&books).await;
        let left = books.read(|tables| tables.active().count());
        if left > 12 {
            stop_all(&books).await.unwrap();
        }
        let callers = (0..4).map(|caller| tokio::spawn(call(books.clone(), life.clone(), caller)));
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    });
}

/// What a child acknowledged of one session.
#[derive(Default)]
struct Heard {
    members: Option<BTreeMap<InstanceId, Fence>>,
    last_seq: i64,
    closing: bool,
    closed: bool,
}

fn parse(line: &str, heard: &mut BTreeMap<SessionId, Heard>) {
    let Some((_, said)) = line.split_once("> ") else { return };
    let mut words = said.split(' ');
    let (what, id) = (words.next().unwrap(), words.next().unwrap());
    let session = heard.entry(id.parse().unwrap()).or_default();
    match what {
        "granted" => {
            let pairs = words.next().unwrap().split(',').map(|pair| pair.split_once('=').unwrap());
            let members = pairs.map(|(id, fence)| (id.parse().unwrap(), Fence(fence.parse().unwrap())));
            session.members = Some(members.collect());
        }
        "logged" => session.last_seq = words.next().unwrap().parse().unwrap(),
        "closing" => session.closing = true,
        "closed" => session.closed = true,
        _ => {}
    }
}

fn live(
    path: &Path,
    life: &str,
    before: u32,
    after: u32,
    kill: Option<Duration>,
) -> BTreeMap<SessionId, Heard> {
    let module = module_path!().split_once("::").map_or("", |(_, module)| module);
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args([&format!("{module}::child_that_keeps_books_until_it_dies"), "--exact", "--nocapture"])
        .env(CHILD, format!("{life} {before} {after} {}", path.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let killer = kill.map(|delay| {
        let pid = rustix::process::Pid::from_child(&child);
        std::thread::Builder::new()
            .spawn(move || {
                std::thread::sleep(delay);
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            })
            .unwrap()
    });
    let mut heard = BTreeMap::new();
    let lines: Vec<String> = out.lines().map(|line| line.unwrap()).collect();
    let status = child.wait().unwrap();
    if let Some(killer) = killer {
        killer.join().unwrap();
    }
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "life {life}: {lines:?}");
    lines.iter().for_each(|line| parse(line, &mut heard));
    heard
}

/// Everything that was acknowledged is there, and nothing is there by halves.
async fn check(path: &Path, life: &str, heard: &BTreeMap<SessionId, Heard>) {
    let ok: String = rusqlite::Connection::open(path)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(ok, "ok");
    let (books, _notices) = open_books(path);
    books.read(|tables| {
        check_whole(tables);
        for (id, heard) in heard {
            let row = tables.sessions.get(id).unwrap_or_else(|| panic!("life {life}: {id} is lost"));
            assert!(row.last_seq >= heard.last_seq, "life {life}: {id} lost events");
            assert!(!heard.closed || row.ended_ms != 0, "life {life}: {id} was closed and lives");
            assert!(heard.closing || row.ended_ms == 0, "life {life}: {id} was not closed and is dead");
            let held = tables.members(id);
            for (instance, fence) in heard.members.iter().flatten() {
                assert!(tables.instances[instance].fence >= *fence, "life {life}: a fence fell");
                let member = held.iter().find(|member| member.instance == *instance);
                let holds = member.is_some_and(|member| member.fence == *fence);
                assert!(heard.closing || holds, "life {life}: {id} lost {instance}");
            }
        }
    });
    for id in heard.keys() {
        let events = books.events(id, 0, 10_000).await.unwrap();
        let last = books.read(|tables| tables.sessions[id].last_seq);
        assert_eq!(events.iter().map(|row| row.seq).collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    }
    books.close().await;
}

async fn all_is_free_in_the_end(path: &Path) {
    let (books, _notices) = open_books(path);
    attach_all(&books).await;
    stop_all(&books).await.unwrap();
    books.read(|tables| {
        assert_eq!(tables.idle(Role::Simulator), SIMULATORS as usize);
        assert_eq!(tables.idle(Role::Trainer), TRAINERS as usize);
        assert!(tables.queue().is_empty());
    });
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_at_every_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    let mut acknowledged = 0;
    for commit in 1..=COMMITS {
        for (before, after) in [(commit, 0), (0, commit)] {
            let life = format!("{}{commit}", if after == 0 { 'b' } else { 'a' });
            let heard = live(&path, &life, before, after, None);
            acknowledged += heard.len();
            check(&path, &life, &heard).await;
        }
    }
    assert!(acknowledged > 100, "the children acknowledged only {acknowledged} sessions");
    all_is_free_in_the_end(&path).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    let mut acknowledged = 0;
    for round in 0..KILLED {
        let life = format!("k{round}");
        let delay = Duration::from_millis(u64::from(60 + round * 37 % 400));
        let heard = live(&path, &life, 0, 0, Some(delay));
        acknowledged += heard.len();
        check(&path, &life, &heard).await;
    }
    assert!(acknowledged > 20, "the children acknowledged only {acknowledged} sessions");
    all_is_free_in_the_end(&path).await;
}
