//! Each method, its states and its errors.

use std::time::{Duration, Instant};

use super::*;
use crate::agent::driver::Ability;
use crate::agent::driver::fake::{DriverFault, Manners};
use crate::agent::record::Wanted;

#[tokio::test]
async fn an_instance_is_made_started_stopped_and_deleted() {
    let house = House::new();
    let agent = house.open().await;
    let made = agent.create(container("a"), "me").await.unwrap();
    assert_eq!((made.state, made.wanted, made.spec.name.as_str()), (State::Stopped, Wanted::Stopped, "a"));
    assert!(house.world.alive().is_empty(), "creating is not starting");
    let started = agent.start("a", "me").await.unwrap();
    assert_eq!(started.state, State::Running);
    assert!(started.ready && started.started_ms >= made.created_ms && !started.ip.is_empty());
    assert_eq!(house.world.alive(), [id("a")].into());
    let stopped = agent.stop("a", false, 0, "me").await.unwrap();
    assert_eq!((stopped.state, stopped.exit.as_ref().unwrap().code), (State::Stopped, 143));
    assert!(stopped.handle.is_none() && stopped.operation.is_none() && stopped.ip.is_empty());
    agent.delete("a", false, "me").await.unwrap();
    assert_eq!(agent.get("a"), Err(AgentError::not_found("instance", "a")));
    assert!(agent.list().is_empty() && house.world.made().is_empty());
    assert_eq!(house.folders(), (0, 0));
    let audit: Vec<_> =
        house.audit().into_iter().map(|entry| (entry.what, entry.who, entry.outcome)).collect();
    let expected = ["create", "start", "stop", "delete"];
    assert_eq!(audit, expected.map(|what| (what.to_owned(), "me".to_owned(), "ok".to_owned())));
    assert_eq!(house.world.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_so_already_is_no_error() {
    let house = House::new();
    let agent = house.open().await;
    agent.create(container("a"), "me").await.unwrap();
    assert_eq!(agent.stop("a", false, 0, "me").await.unwrap().state, State::Stopped);
    let first = agent.start("a", "me").await.unwrap();
    let second = agent.start("a", "me").await.unwrap();
    assert_eq!(first.started_ms, second.started_ms);
    assert_eq!(house.world.starts(&id("a")), 1);
    let again = agent.create(container("a"), "you").await.unwrap();
    assert_eq!(again.state, State::Running, "the same request finds the same instance");
}

#[tokio::test]
async fn one_that_is_asked_for_while_it_is_deleted_is_made_anew() {
    let house = House::new();
    let agent = house.open().await;
    let first = agent.create(container("a"), "me").await.unwrap();
    house.world.plan("destroy", DriverFault::Slow(Duration::from_millis(300)));
    let deleting = tokio::spawn({
        let agent = agent.clone();
        async move { agent.delete("a", true, "me").await }
    });
    until_state(&agent, "a", State::Deleting).await;
    let second = agent.create(container("a"), "you").await.unwrap();
    deleting.await.unwrap().unwrap();
    assert!(second.created_ms >= first.created_ms + 250, "{second:?} is the one that went");
    assert_eq!(agent.get("a").unwrap().state, State::Stopped);
    assert_eq!(house.world.made(), [id("a")].into());
}

#[tokio::test]
async fn each_error_has_its_kind() {
    let house = House::new();
    let agent = house.open().await;
    agent.create(container("a"), "me").await.unwrap();
    let mut other = container("a");
    other.labels.insert("x".to_owned(), "y".to_owned());
    assert!(matches!(agent.create(other, "me").await, Err(AgentError::AlreadyExists(_))));
    let mut vm = container("v");
    vm.r#type = v1::InstanceType::Vm.into();
    assert!(matches!(agent.create(vm, "me").await, Err(AgentError::Precondition(_))));
    let mut missing = container("m");
    missing.spec.as_mut().unwrap().image = "missing".to_owned();
    assert_eq!(agent.create(missing, "me").await.unwrap_err(), AgentError::not_found("image", "missing"));
    let mut greedy = container("g");
    greedy.spec.as_mut().unwrap().memory_bytes = 1 << 45;
    assert!(matches!(agent.create(greedy, "me").await, Err(AgentError::Exhausted(_))));
    assert!(matches!(agent.create(container("../x"), "me").await, Err(AgentError::Invalid { .. })));
    assert!(matches!(agent.stats("a").await, Err(AgentError::Precondition(_))));
    assert!(matches!(agent.console("a"), Err(AgentError::Precondition(_))));
    for force in [false, true] {
        assert!(matches!(agent.stop("a", force, -1, "me").await, Err(AgentError::Invalid { .. })));
    }
    for outcome in [
        agent.start("b", "me").await,
        agent.stop("b", true, 0, "me").await,
        agent.restart("b", true, "me").await,
        agent.delete("b", true, "me").await,
    ] {
        assert_eq!(outcome.unwrap_err(), AgentError::not_found("instance", "b"));
    }
    assert!(matches!(agent.get("a/b"), Err(AgentError::Invalid { .. })));
    assert_eq!(agent.list().len(), 1, "what was refused left nothing");
    let refused = house.audit().into_iter().filter(|entry| entry.outcome != "ok").count();
    assert_eq!(refused, 11, "every refusal is in the audit log");
}

#[tokio::test]
async fn a_deaf_instance_is_killed_when_its_time_is_over_and_at_once_by_force() {
    let house = House::new();
    let agent = house.open().await;
    house.world.manners(&id("a"), Manners { deaf: true, ends_with: None });
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    let begun = Instant::now();
    let stopped = agent.stop("a", false, 1, "me").await.unwrap();
    let took = begun.elapsed();
    assert!((Duration::from_millis(1000)..Duration::from_millis(1500)).contains(&took), "{took:?}");
    assert_eq!((stopped.state, stopped.exit.unwrap().signal), (State::Stopped, Some(9)));
    agent.start("a", "me").await.unwrap();
    let begun = Instant::now();
    agent.stop("a", true, 0, "me").await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_forced_end_overtakes_a_patient_one() {
    let house = House::new();
    let agent = house.open().await;
    house.world.manners(&id("a"), Manners { deaf: true, ends_with: None });
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    let begun = Instant::now();
    let patient = {
        let agent = agent.clone();
        tokio::spawn(async move { agent.stop("a", false, 60, "me").await })
    };
    until(&agent, "a", |record| record.reason == "stopping").await;
    agent.delete("a", true, "me").await.unwrap();
    assert_eq!(patient.await.unwrap().unwrap().state, State::Stopped);
    assert!(begun.elapsed() < Duration::from_secs(5) && house.world.made().is_empty());
}

#[tokio::test]
async fn a_caller_that_goes_away_changes_nothing() {
    let house = House::new();
    let agent = house.open().await;
    house.world.plan("prepare", crate::agent::driver::fake::DriverFault::Slow(Duration::from_millis(200)));
    let cut = tokio::time::timeout(Duration::from_millis(50), agent.create(container("a"), "me")).await;
    assert!(cut.is_err(), "the caller hung up");
    let retried = agent.create(container("a"), "me").await.unwrap();
    assert_eq!(retried.state, State::Stopped);
    assert_eq!(agent.list().len(), 1);
    house.world.plan("start", crate::agent::driver::fake::DriverFault::Slow(Duration::from_millis(100)));
    let cut = tokio::time::timeout(Duration::from_millis(20), agent.start("a", "me")).await;
    assert!(cut.is_err(), "the caller hung up");
    until_state(&agent, "a", State::Running).await;
}

#[tokio::test]
async fn a_draining_node_takes_nothing_new_also_after_a_restart_and_lets_the_rest_go_on() {
    let house = House::new();
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    agent.drain("me").await.unwrap();
    agent.shutdown().await;
    drop(agent);
    let agent = house.open().await;
    assert!(agent.draining());
    for refused in [agent.create(container("b"), "me").await, agent.start("a", "me").await] {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, AgentError::Unavailable(text) if text.contains("`draining`") && text.contains("undo=true")),
            "{error}"
        );
    }
    assert!(house.folder.path().join("draining").exists());
    assert!(agent.create(with("a", &[("autostart", "true")]), "me").await.is_ok(), "that is nothing new");
    assert!(agent.restart("a", false, "me").await.is_ok(), "it ran before");
    assert!(agent.stop("a", false, 0, "me").await.is_ok());
    assert!(matches!(agent.restart("a", false, "me").await, Err(AgentError::Unavailable(_))));
    agent.undrain("me").await.unwrap();
    assert!(agent.create(container("b"), "me").await.is_ok());
}

#[tokio::test]
async fn a_kind_whose_probe_fails_is_refused_with_its_reason() {
    let house = House::new();
    house.world.ability(Ability { usable: false, detail: "no such runtime".to_owned(), labels: Vec::new() });
    let agent = house.open().await;
    let error = agent.create(container("a"), "me").await.unwrap_err();
    assert!(matches!(&error, AgentError::Precondition(text) if text.contains("no such runtime")), "{error}");
    assert!(agent.list().is_empty());
}

#[tokio::test]
async fn what_is_given_out_is_counted_and_given_back() {
    let house = House::new();
    let agent = house.open().await;
    let mut request = container("a");
    let spec = request.spec.as_mut().unwrap();
    (spec.memory_bytes, spec.cpu_cores) = (64 << 20, 3);
    spec.disks.push(v1::DiskSpec { size_bytes: 1 << 30, ..v1::DiskSpec::default() });
    agent.create(request, "me").await.unwrap();
    let given = agent.allocated();
    assert_eq!((given.cpu_cores, given.memory_bytes, given.disk_bytes), (3, 64 << 20, 1 << 30));
    assert!(agent.capacity().memory_bytes > 64 << 20);
    agent.delete("a", false, "me").await.unwrap();
    assert_eq!(agent.allocated(), v1::Resources::default());
}

#[tokio::test]
async fn a_card_has_one_holder_also_after_a_restart() {
    let mut house = House::new();
    let cdi = house.folder.path().join("cdi");
    std::fs::create_dir(&cdi).unwrap();
    let node = |n: u32| {
        format!(r#"{{"name": "{n}", "containerEdits": {{"deviceNodes": [{{"path": "/dev/fake{n}"}}]}}}}"#)
    };
    let document = format!(
        r#"{{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [{}, {}]}}"#,
        node(0),
        node(1)
    );
    std::fs::write(cdi.join("gpu.json"), document).unwrap();
    house.settings.cdi.folders = vec![cdi];
    let agent = house.open().await;
    let one = agent.create(with("a", &[("gpu-count", "1")]), "me").await.unwrap();
    assert_eq!(one.devices, ["nvidia.com/gpu=0"]);
    agent.shutdown().await;
    drop(agent);
    let agent = house.open().await;
    let taken = agent.create(with("b", &[("cdi-devices", "nvidia.com/gpu=0")]), "me").await;
    assert!(matches!(taken, Err(AgentError::Exhausted(_))));
    assert_eq!((agent.capacity().gpu_count, agent.allocated().gpu_count), (2, 1));
    agent.delete("a", false, "me").await.unwrap();
    assert!(agent.create(with("b", &[("cdi-devices", "nvidia.com/gpu=0")]), "me").await.is_ok());
}

#[tokio::test]
async fn only_a_deletion_undoes_what_is_being_made() {
    let house = House::new();
    let agent = house.open().await;
    let making = |name: &'static str| {
        house.world.plan("prepare", DriverFault::Slow(Duration::from_millis(300)));
        let agent = agent.clone();
        tokio::spawn(async move { agent.create(container(name), "me").await })
    };
    let made = making("a");
    until_state(&agent, "a", State::Creating).await;
    let (stopped, started) = tokio::join!(agent.stop("a", true, 0, "me"), agent.restart("a", true, "me"));
    assert_eq!((stopped.unwrap().state, started.unwrap().state), (State::Stopped, State::Running));
    assert!(made.await.unwrap().is_ok());
    house.world.plan("prepare", DriverFault::Hang);
    let made = making("b");
    until_state(&agent, "b", State::Creating).await;
    let begun = Instant::now();
    agent.delete("b", true, "me").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(matches!(made.await.unwrap(), Err(AgentError::Unavailable(_))));
    assert_eq!(house.world.made(), [id("a")].into());
    assert!(house.audit().iter().any(|entry| entry.what == "delete" && entry.outcome == "ok"));
}

#[tokio::test]
async fn a_driver_that_did_not_work_is_tried_again_when_it_is_asked_for_and_one_that_does_is_not() {
    let mut house = House::new();
    house.patience.probe_again = Duration::from_millis(300);
    let ability = |usable, detail: &str| Ability { usable, detail: detail.to_owned(), labels: Vec::new() };
    house.world.ability(ability(false, "no such runtime"));
    let agent = house.open().await;
    agent.probed().await;
    house.world.ability(ability(true, "installed since"));
    assert!(agent.create(container("a"), "me").await.is_err(), "it was tried a moment ago");
    tokio::time::sleep(Duration::from_millis(350)).await;
    let names: Vec<String> = (0..8).map(|number| format!("a{number}")).collect();
    house.world.plan("probe", DriverFault::Slow(Duration::from_millis(100)));
    let made = names.iter().map(|name| agent.create(container(name), "me"));
    for made in futures_util::future::join_all(made).await {
        assert_eq!(made.unwrap().state, State::Stopped);
    }
    house.world.ability(ability(false, "gone again"));
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert!(agent.create(container("b"), "me").await.is_ok());
}

#[tokio::test]
async fn a_list_of_all_instances_stays_shorter_than_clients_take() {
    let house = House::new();
    let agent = house.open().await;
    let sized = |name: &str, bytes: usize| {
        let mut request = container(name);
        request.spec.as_mut().unwrap().args = vec!["x".repeat(bytes / 2); 2];
        request
    };
    let mut refused = None;
    for number in 0..100 {
        let made = agent.create(sized(&format!("big{number}"), 65_000), "me").await;
        if let Err(error) = made {
            refused = Some((number, error));
            break;
        }
    }
    let (number, error) = refused.unwrap();
    assert!(
        matches!(&error, AgentError::Exhausted(text) if text.contains("list of all instances")),
        "{error}"
    );
    assert!(number > 50, "{number}");
    let listed: usize = agent.list().iter().map(|record| record.spec.request.len()).sum();
    assert!((3 << 20..7 << 19).contains(&listed), "{listed}");
    assert!(agent.create(sized("big0", 65_000), "me").await.is_ok(), "that is nothing new");
    agent.delete("big0", true, "me").await.unwrap();
    assert!(agent.create(sized("small", 1000), "me").await.is_ok());
}
