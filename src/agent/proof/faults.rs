//! Drivers that fail, hang and panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::agent::driver::fake::DriverFault::{self, Fail, FailAfter, Hang, HangAfter, Panic, PanicAfter};
use crate::agent::record::Wanted;

fn house() -> House {
    let mut house = House::new();
    let ms = Duration::from_millis;
    house.patience = Patience {
        prepare: ms(100),
        start: ms(100),
        ask: ms(100),
        kill: ms(100),
        recover: ms(100),
        settle: ms(100),
        destroy: ms(100),
        usage: ms(100),
        ..house.patience
    };
    house
}

#[tokio::test]
async fn what_cannot_be_made_leaves_nothing_and_can_be_asked_for_again() {
    for fault in [Fail, FailAfter, Hang, HangAfter, Panic, PanicAfter] {
        let house = house();
        let agent = house.open().await;
        house.world.plan("prepare", fault);
        let refused = agent.create(container("a"), "me").await;
        assert!(matches!(refused, Err(AgentError::Internal(_))), "{fault:?}: {refused:?}");
        assert!(agent.list().is_empty() && house.world.made().is_empty(), "{fault:?}");
        assert_eq!(house.folders(), (0, 0), "{fault:?}");
        assert!(agent.create(container("a"), "me").await.is_ok(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_run_behind() {
    for fault in [Fail, FailAfter, Hang, HangAfter, Panic, PanicAfter] {
        let house = house();
        let agent = house.open().await;
        agent.create(container("a"), "me").await.unwrap();
        house.world.plan("start", fault);
        assert!(agent.start("a", "me").await.is_err(), "{fault:?}");
        let record = agent.get("a").unwrap();
        assert_eq!((record.state, house.world.alive().len()), (State::Failed, 0), "{fault:?}");
        assert!(record.reason.starts_with("start failed"), "{}", record.reason);
        assert_eq!(agent.start("a", "me").await.unwrap().state, State::Running, "{fault:?}");
        assert_eq!(house.world.violations(), Vec::<String>::new(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_half_run_that_cannot_be_taken_away_is_taken_away_before_the_next_start() {
    let mut house = house();
    house.patience.first_delay = Duration::from_secs(5);
    house.patience.longest_delay = Duration::from_secs(5);
    let agent = house.open().await;
    agent.create(container("a"), "me").await.unwrap();
    house.world.plan("start", FailAfter);
    house.world.plan("kill", Fail);
    assert!(agent.start("a", "me").await.is_err());
    assert_eq!(house.world.alive().len(), 1, "the half run lives for now");
    assert_eq!(agent.start("a", "me").await.unwrap().state, State::Running);
    assert_eq!((house.world.violations(), house.world.starts(&id("a"))), (Vec::new(), 2));
}

#[tokio::test]
async fn a_kill_that_fails_is_told_and_the_stop_can_be_asked_for_again() {
    for fault in [Fail, Hang, Panic] {
        let house = house();
        let agent = house.open().await;
        agent.create(with("a", &[("autostart", "true"), ("restart", "always")]), "me").await.unwrap();
        house.world.plan("kill", fault);
        let refused = agent.stop("a", true, 0, "me").await;
        assert!(refused.is_err(), "{fault:?}");
        assert_eq!(agent.get("a").unwrap().state, State::Running, "{fault:?}: the truth is told");
        assert_eq!(agent.stop("a", true, 0, "me").await.unwrap().state, State::Stopped, "{fault:?}");
    }
}

#[tokio::test]
async fn an_instance_that_ends_after_a_stop_that_failed_stays_down() {
    let house = house();
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true"), ("restart", "always")]), "me").await.unwrap();
    house.world.plan("kill", Fail);
    assert!(agent.stop("a", true, 0, "me").await.is_err());
    house.world.exits(&id("a"), 1);
    until_state(&agent, "a", State::Stopped).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(house.world.starts(&id("a")), 1);
}

#[tokio::test]
async fn a_deletion_that_fails_is_tried_again_without_being_asked() {
    for call in ["kill", "destroy"] {
        for fault in [Fail, Hang, Panic] {
            let house = house();
            let agent = house.open().await;
            agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
            house.world.plan(call, fault);
            house.world.plan(call, fault);
            assert!(agent.delete("a", true, "me").await.is_err(), "{call} {fault:?}");
            let seen = agent.get("a").map(|record| record.state);
            assert!(matches!(seen, Ok(State::Deleting) | Err(AgentError::NotFound { .. })), "{seen:?}");
            for _ in 0..400 {
                if agent.list().is_empty() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(agent.list().is_empty() && house.world.made().is_empty(), "{call} {fault:?}");
            assert_eq!((house.folders(), house.world.violations()), ((0, 0), Vec::new()), "{call} {fault:?}");
        }
    }
}

#[tokio::test]
async fn one_whose_driver_cannot_say_how_it_stands_is_asked_about_again() {
    let house = house();
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    agent.shutdown().await;
    drop(agent);
    house.world.plan("recover", Hang);
    let agent = house.open().await;
    assert!(agent.get("a").unwrap().reason.starts_with("cannot be looked at"));
    until(&agent, "a", |record| record.reason.is_empty()).await;
    assert_eq!(agent.stop("a", false, 0, "me").await.unwrap().state, State::Stopped);
}

#[tokio::test]
async fn statistics_of_a_driver_that_hangs_hold_up_nobody() {
    let house = house();
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    house.world.plan("usage", Hang);
    let begun = std::time::Instant::now();
    assert!(agent.stats("a").await.is_err());
    assert!(agent.stats("a").await.is_ok() && begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn what_a_failed_start_left_goes_also_when_nobody_asks_again() {
    let house = house();
    let agent = house.open().await;
    agent.create(container("a"), "me").await.unwrap();
    house.world.plan("start", FailAfter);
    house.world.plan("kill", Fail);
    house.world.plan("kill", Fail);
    assert!(agent.start("a", "me").await.is_err());
    let record = until(&agent, "a", |record| record.operation.is_none()).await;
    assert_eq!((record.state, record.wanted), (State::Failed, Wanted::Stopped));
    assert_eq!((house.world.alive().len(), house.world.starts(&id("a"))), (0, 1));
}

#[tokio::test]
async fn a_policy_goes_on_after_a_restart_that_could_not_be_begun() {
    let house = house();
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true"), ("restart", "always")]), "me").await.unwrap();
    house.world.plan("start", FailAfter);
    house.world.plan("kill", Fail);
    house.world.plan("kill", Fail);
    house.world.exits(&id("a"), 1);
    until_state(&agent, "a", State::Failed).await;
    until_state(&agent, "a", State::Running).await;
    assert_eq!(house.world.starts(&id("a")), 3);
    let broken = house.folder.path().join("instances/a/record.new");
    std::fs::create_dir(&broken).unwrap();
    house.world.exits(&id("a"), 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(house.world.starts(&id("a")), 3, "nothing is done that is not in the journal");
    std::fs::remove_dir(broken).unwrap();
    until(&agent, "a", |record| record.state == State::Running && record.started_ms > record.ended_ms).await;
    assert_eq!((house.world.violations(), house.world.starts(&id("a"))), (Vec::new(), 4));
}

#[tokio::test]
async fn a_stop_that_fails_halfway_is_not_undone_by_a_policy() {
    let mut house = house();
    house.patience.first_delay = Duration::from_millis(200);
    house.patience.longest_delay = Duration::from_millis(200);
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true"), ("restart", "always")]), "me").await.unwrap();
    house.world.plan("start", FailAfter);
    house.world.plan("kill", Fail);
    house.world.exits(&id("a"), 1);
    until(&agent, "a", |record| record.reason.starts_with("start failed")).await;
    house.world.plan("kill", Fail);
    assert!(agent.stop("a", true, 0, "me").await.is_err());
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(agent.get("a").unwrap().wanted, Wanted::Stopped);
    assert_eq!((house.world.alive().len(), house.world.starts(&id("a"))), (0, 2));
}

#[tokio::test]
async fn a_restart_whose_second_half_cannot_be_written_is_finished_when_it_can() {
    let mut house = house();
    let broken = house.folder.path().join("instances/a/record.new");
    let (path, restarting) = (broken.clone(), Arc::new(AtomicBool::new(false)));
    let armed = restarting.clone();
    house.crash = Some(Arc::new(move |step| {
        if step == "end.settled" && armed.swap(false, Ordering::SeqCst) {
            std::fs::create_dir(&path).unwrap();
        }
    }));
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    restarting.store(true, Ordering::SeqCst);
    assert!(agent.restart("a", true, "me").await.is_err());
    let reason = agent.get("a").unwrap().reason;
    assert!(reason.starts_with("stopped, and cannot be started again yet"), "{reason}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(house.world.starts(&id("a")), 1, "nothing is done that is not in the journal");
    std::fs::remove_dir(broken).unwrap();
    until_state(&agent, "a", State::Running).await;
    assert_eq!((house.world.violations(), house.world.starts(&id("a"))), (Vec::new(), 2));
}

#[tokio::test]
async fn a_stop_after_a_restart_that_broke_off_holds_in_the_next_life_too() {
    let mut house = house();
    house.patience.first_delay = Duration::from_secs(5);
    house.patience.longest_delay = Duration::from_secs(5);
    let broken = house.folder.path().join("instances/a/record.new");
    let (path, restarting) = (broken.clone(), Arc::new(AtomicBool::new(false)));
    let armed = restarting.clone();
    house.crash = Some(Arc::new(move |step| {
        if step == "end.settled" && armed.load(Ordering::SeqCst) {
            std::fs::create_dir(&path).unwrap();
        }
    }));
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    restarting.store(true, Ordering::SeqCst);
    assert!(agent.restart("a", true, "me").await.is_err());
    restarting.store(false, Ordering::SeqCst);
    std::fs::remove_dir(broken).unwrap();
    assert_eq!(agent.stop("a", false, 0, "me").await.unwrap().state, State::Stopped);
    agent.shutdown().await;
    drop(agent);
    let agent = house.open().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((agent.get("a").unwrap().state, house.world.starts(&id("a"))), (State::Stopped, 1));
}

#[tokio::test]
async fn what_is_ended_does_not_wait_for_what_is_made() {
    let mut house = house();
    house.settings.limits.operations = 1;
    house.patience.prepare = Duration::from_secs(60);
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    house.world.plan("prepare", DriverFault::Slow(Duration::from_secs(3)));
    let making = {
        let agent = agent.clone();
        tokio::spawn(async move { agent.create(container("b"), "me").await })
    };
    until(&agent, "b", |record| record.state == State::Creating).await;
    let begun = std::time::Instant::now();
    agent.stop("a", true, 0, "me").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(making.await.unwrap().unwrap().state, State::Stopped);
}

/// Makes sure that no record of an instance can be written, as on a disk that is full.
fn fill(house: &House, name: &str) -> std::path::PathBuf {
    let broken = house.folder.path().join("instances").join(name).join("record.new");
    drop(std::fs::remove_file(&broken));
    std::fs::create_dir(&broken).unwrap();
    broken
}

#[tokio::test]
async fn what_runs_can_be_ended_and_taken_away_when_nothing_can_be_written() {
    let house = house();
    let agent = house.open().await;
    for name in ["a", "b", "c"] {
        agent.create(with(name, &[("autostart", "true"), ("restart", "always")]), "me").await.unwrap();
        fill(&house, name);
    }
    assert_eq!(agent.stop("a", true, 0, "me").await.unwrap().state, State::Stopped);
    assert_eq!(agent.stop("b", false, 0, "me").await.unwrap().state, State::Stopped);
    assert!(matches!(agent.start("a", "me").await, Err(AgentError::Internal(_))), "a start is refused");
    agent.delete("c", true, "me").await.unwrap();
    assert_eq!((house.world.alive().len(), house.world.made().len()), (0, 2));
    assert!(!house.folder.path().join("instances/c").exists());
    assert_eq!(house.world.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stop_that_could_not_be_written_is_written_later_and_holds_in_the_next_life() {
    let house = house();
    let agent = house.open().await;
    for name in ["late", "never"] {
        agent.create(with(name, &[("autostart", "true"), ("restart", "always")]), "me").await.unwrap();
        let broken = fill(&house, name);
        assert_eq!(agent.stop(name, true, 0, "me").await.unwrap().state, State::Stopped);
        if name == "late" {
            std::fs::remove_dir(broken).unwrap();
        }
    }
    let path = house.folder.path().join("instances/late/record.json");
    let written = || serde_json::from_slice::<Record>(&std::fs::read(&path).unwrap()).unwrap();
    for _ in 0..400 {
        if written().state == State::Stopped {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let record = written();
    assert_eq!((record.state, record.wanted, record.operation), (State::Stopped, Wanted::Stopped, None));
    agent.shutdown().await;
    drop(agent);
    let agent = house.open().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    for name in ["late", "never"] {
        let record = until_state(&agent, name, State::Stopped).await;
        assert_eq!((record.wanted, house.world.starts(&id(name))), (Wanted::Stopped, 1), "{name}");
    }
    std::fs::remove_dir(house.folder.path().join("instances/never/record.new")).unwrap();
    for name in ["late", "never"] {
        assert_eq!(agent.start(name, "me").await.unwrap().state, State::Running);
        assert!(!house.folder.path().join("instances").join(name).join("wanted-stopped").exists());
    }
}

#[tokio::test]
async fn what_cannot_be_written_down_leaves_nothing_either() {
    let house = house();
    let agent = house.open().await;
    std::fs::create_dir_all(house.folder.path().join("instances/a/record.new")).unwrap();
    let refused = agent.create(container("a"), "me").await;
    assert!(matches!(refused, Err(AgentError::Internal(_))), "{refused:?}");
    assert_eq!((house.folders(), house.world.made().len()), ((0, 0), 0));
    assert!(agent.create(container("a"), "me").await.is_ok());
}
