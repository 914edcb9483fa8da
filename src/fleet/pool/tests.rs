//! Pools of real processes, over the real books. A helper stands in for what the processes would do themselves: it
//! attaches under the id of every process that is started, and goes when the process goes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::ledger::{Command, Outcome};
use crate::fleet::link::tests::{House, hello};
use crate::fleet::rows::Phase;
use crate::proto::neuro::ext::{self, instance_message::M};

const SOON: Duration = Duration::from_secs(15);

fn pool(script: &str, warm: u32, max: u32) -> Pool {
    Pool {
        name: "sim".to_owned(),
        role: "simulator".to_owned(),
        backend: "process".to_owned(),
        warm,
        max,
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        labels: [("rt_cores".to_owned(), "yes".to_owned())].into(),
        ..Pool::default()
    }
}

fn start(house: &House, pools: &[Pool]) -> Pools {
    let launch = Launch {
        binary: "/nowhere/neuro".into(),
        orchestrator_url: "http://127.0.0.1:1".to_owned(),
        http_url: String::new(),
        data: house.folder.path().to_owned(),
        key_file: None,
    };
    Pools::start(pools, house.books.clone(), house.links.clone(), launch).unwrap()
}

fn running(house: &House) -> Vec<InstanceId> {
    let files = std::fs::read_dir(house.folder.path().join("processes")).unwrap();
    files.filter_map(|file| file.unwrap().path().file_stem()?.to_str()?.parse().ok()).collect()
}

/// Attaches for every process, as the process would.
fn attach_all(house: &House) -> JoinHandle<()> {
    let (links, folder) = (house.links.clone(), house.folder.path().join("processes"));
    tokio::spawn(async move {
        let mut open = BTreeMap::new();
        loop {
            let files = std::fs::read_dir(&folder).unwrap();
            let ids: Vec<InstanceId> =
                files.filter_map(|file| file.ok()?.path().file_stem()?.to_str()?.parse().ok()).collect();
            open.retain(|id, _| ids.contains(id));
            for id in ids {
                if let Entry::Vacant(place) = open.entry(id) {
                    let mut hello = hello(id, ext::Role::Simulator);
                    hello.name = format!("sim-of-{id}");
                    hello.labels = [("pool".to_owned(), "sim".to_owned())].into();
                    place.insert(links.attach(hello).await.unwrap());
                }
            }
            for attachment in open.values_mut() {
                while attachment.orders.try_recv().is_ok() {}
                let m = Some(M::Heartbeat(ext::Heartbeat::default()));
                drop(attachment.inbox.deliver(ext::InstanceMessage { m }).await);
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
}

fn idle(house: &House) -> usize {
    house.books.read(|tables| tables.instances.values().filter(|row| row.is_idle()).count())
}

async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < SOON, "{what} did not come about");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn close(house: &House, session: SessionId) {
    let (to, reason) = (Phase::Stopped, "done".to_owned());
    house.books.apply(Command::Close { session, to, reason, requeue_from: None }).await.unwrap();
}

#[tokio::test]
async fn warm_instances_are_kept_ready_and_replaced_when_a_session_takes_one() {
    let house = House::new();
    let pools = start(&house, &[pool("sleep 1000", 2, 4)]);
    let attached = attach_all(&house);
    until("two warm ones", || idle(&house) == 2).await;
    let began = Instant::now();
    let (session, outcome) = house.open("s").await;
    assert!(matches!(outcome, Outcome::Granted { .. }));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    until("a third", || idle(&house) == 2).await;
    assert_eq!(running(&house).len(), 3);
    let view = pools.views().remove(0);
    assert_eq!((view.warm, view.max, view.instances.len(), view.trouble.as_str()), (2, 4, 3, ""));
    assert!(view.instances.iter().all(|one| one.row.labels["rt_cores"] == "yes"));
    close(&house, session).await;
    pools.end_all().await;
    until("all ended", || running(&house).is_empty()).await;
    attached.abort();
}

#[tokio::test]
async fn a_queue_makes_the_pool_grow_and_spare_ones_go_but_never_a_held_one() {
    let house = House::new();
    let mut settings = pool("sleep 1000", 0, 3);
    settings.shrink_after_s = 0.3;
    let pools = start(&house, &[settings]);
    let attached = attach_all(&house);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(running(&house).len(), 0);
    let mut sessions = Vec::new();
    for name in ["s", "t", "u", "v"] {
        let (session, outcome) = house.open(name).await;
        assert!(matches!(outcome, Outcome::Queued { .. }), "{outcome:?}");
        sessions.push(session);
    }
    pools.demand(Role::Simulator, 4);
    let members = |session: &SessionId| house.books.read(|tables| tables.members(session).len());
    until("as many as allowed run", || sessions.iter().map(members).sum::<usize>() == 3).await;
    assert_eq!(running(&house).len(), 3);
    let session = sessions.remove(0);
    for ended in sessions.into_iter().rev() {
        close(&house, ended).await;
    }
    until("the spare ones are gone", || running(&house).len() == 1).await;
    let member = house.books.read(|tables| tables.members(&session)[0].instance);
    assert_eq!(running(&house), [member]);
    sleep(Duration::from_millis(800)).await;
    assert_eq!(running(&house), [member]);
    until("the books forget them", || house.books.read(|tables| tables.instances.len() == 1)).await;
    close(&house, session).await;
    until("it goes too", || running(&house).is_empty()).await;
    attached.abort();
}

#[tokio::test]
async fn a_killed_process_is_lost_at_once_and_replaced() {
    let house = House::new();
    let pools = start(&house, &[pool("sleep 1000", 1, 2)]);
    let attached = attach_all(&house);
    until("a warm one", || idle(&house) == 1).await;
    let (session, _) = house.open("s").await;
    until("another", || idle(&house) == 1).await;
    let victim = house.books.read(|tables| tables.members(&session)[0].instance);
    let record = std::fs::read(house.folder.path().join(format!("processes/{victim}.json"))).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let pid = i32::try_from(record["pid"].as_i64().unwrap()).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    until("a replacement", || {
        house.books.read(|tables| tables.members(&session).first().is_some_and(|one| one.instance != victim))
    })
    .await;
    // Not because of the lease.
    let reason = house.books.read(|tables| tables.sessions[&session].reason.clone());
    assert!(reason.contains("signal: 9"), "{reason}");
    assert!(pools.views()[0].instances.len() >= 2);
    close(&house, session).await;
    pools.end_all().await;
    attached.abort();
}

#[tokio::test]
async fn a_command_that_fails_is_tried_ever_more_slowly_and_its_last_words_are_told() {
    let house = House::new();
    let script = "echo start >> '{data}/starts'; echo 'vkCreateInstance failed' >&2; exit 9";
    let pools = start(&house, &[pool(script, 4, 8)]);
    until("the trouble", || pools.views()[0].trouble.contains("vkCreateInstance failed")).await;
    sleep(Duration::from_secs(3)).await;
    let trouble = pools.views().remove(0).trouble;
    assert!(trouble.contains("exit status: 9"), "{trouble}");
    // Four at once, then one after 1 s and one after 2 s more.
    let starts = std::fs::read_to_string(house.folder.path().join("starts")).unwrap().lines().count();
    assert!((5..=6).contains(&starts), "{starts} starts in 3 s");
    assert!(pools.views()[0].starting <= 1);
}

#[tokio::test]
async fn an_instance_that_never_attaches_is_ended_after_its_time() {
    let house = House::new();
    let mut settings = pool("echo waiting for the driver; sleep 1000", 1, 1);
    settings.start_limit_s = 0.5;
    let pools = start(&house, &[settings]);
    until("one", || running(&house).len() == 1).await;
    let first = running(&house);
    until("the trouble", || pools.views()[0].trouble.contains("did not attach within 0.5 s")).await;
    until("its end", || running(&house) != first).await;
    until("its last words", || pools.views()[0].trouble.contains("waiting for the driver")).await;
    pools.end_all().await;
}

#[tokio::test]
async fn a_restarted_server_takes_over_what_runs_and_starts_no_doubles() {
    let house = House::new();
    let pools = start(&house, &[pool("sleep 1000", 2, 4)]);
    let attached = attach_all(&house);
    until("two warm ones", || idle(&house) == 2).await;
    let before = running(&house);
    attached.abort();
    drop(pools);
    let house = house.after_a_kill();
    until("both are away", || idle(&house) == 0).await;
    let pools = start(&house, &[pool("sleep 1000", 2, 4)]);
    sleep(Duration::from_millis(100)).await;
    let attached = attach_all(&house);
    until("two warm ones again", || idle(&house) == 2).await;
    sleep(Duration::from_millis(1500)).await;
    let (mut before, mut after) = (before, running(&house));
    before.sort();
    after.sort();
    assert_eq!(before, after);
    pools.end_all().await;
    attached.abort();
}

#[tokio::test]
async fn a_drained_instance_is_retired_once_nobody_holds_it_and_replaced() {
    let house = House::new();
    let pools = start(&house, &[pool("sleep 1000", 1, 2)]);
    let attached = attach_all(&house);
    until("a warm one", || idle(&house) == 1).await;
    let (session, _) = house.open("s").await;
    let held = house.books.read(|tables| tables.members(&session)[0].instance);
    house.books.apply(Command::Drain { instances: vec![held], until_ms: i64::MAX }).await.unwrap();
    until("another", || idle(&house) == 1).await;
    assert!(running(&house).contains(&held));
    close(&house, session).await;
    until("it is retired", || !running(&house).contains(&held)).await;
    assert_eq!(running(&house).len(), 1);
    pools.end_all().await;
    attached.abort();
}

#[tokio::test]
async fn while_the_whole_fleet_drains_nothing_is_retired_and_nothing_started() {
    let house = House::new();
    let pools = start(&house, &[pool("sleep 1000", 2, 4)]);
    let attached = attach_all(&house);
    until("two warm ones", || idle(&house) == 2).await;
    house.books.apply(Command::Drain { instances: vec![], until_ms: i64::MAX }).await.unwrap();
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(running(&house).len(), 2);
    house.books.apply(Command::Undrain(vec![])).await.unwrap();
    until("two warm ones", || idle(&house) == 2).await;
    pools.end_all().await;
    attached.abort();
}

#[tokio::test]
async fn pools_that_make_no_sense_are_refused_with_their_key() {
    let house = House::new();
    let refused = |change: &dyn Fn(&mut Pool)| {
        let mut one = pool("sleep 1", 1, 2);
        change(&mut one);
        match check::pools(&[one]) {
            Err(FleetError::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&|pool| pool.name = "a b".to_owned()), "pool.name");
    assert_eq!(refused(&|pool| pool.role = "robot".to_owned()), "pool.role");
    assert_eq!(refused(&|pool| pool.warm = 3), "pool.max");
    assert_eq!(refused(&|pool| pool.start_limit_s = f64::NAN), "pool.start_limit_s");
    assert_eq!(refused(&|pool| pool.shrink_after_s = -1.0), "pool.shrink_after_s");
    assert_eq!(refused(&|pool| pool.backend = "static".to_owned()), "pool.instances");
    assert_eq!(refused(&|pool| pool.backend = "slurm".to_owned()), "pool.url");
    assert_eq!(refused(&|pool| pool.instances = vec!["http://h:1".to_owned()]), "pool.instances");
    assert!(check::pools(&[pool("a", 1, 1), pool("b", 1, 1)]).is_err());
    assert!(check::pools(&usual_pools()).is_ok());
    let other = Pool { backend: "nomad".to_owned(), ..pool("sleep 1", 0, 1) };
    let launch = Launch {
        binary: "/n".into(),
        orchestrator_url: String::new(),
        http_url: String::new(),
        data: house.folder.path().to_owned(),
        key_file: None,
    };
    let error =
        timeout(SOON, async { Pools::start(&[other], house.books.clone(), house.links.clone(), launch) });
    assert!(error.await.unwrap().unwrap_err().to_string().contains("nomad"));
}
