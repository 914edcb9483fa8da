//! A crash at every step of the journal: the next life finishes what was begun, or takes it back, and leaks nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::agent::record::Wanted;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A life in which everything is done once; ends at the first thing that fails.
async fn everything(house: &House, agent: &Agent) -> Result<(), AgentError> {
    agent.create(with("a", &[("autostart", "true"), ("restart", "always")]), "me").await?;
    house.world.exits(&id("a"), 1);
    // As long as a busy machine takes: a life that goes on without this has other steps.
    for _ in 0..10_000 {
        let record = agent.get("a")?;
        if record.reason.contains("its keeper broke") {
            return Err(AgentError::Internal(record.reason));
        }
        if record.restarts == 1 && record.state == State::Running {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    agent.restart("a", false, "me").await?;
    agent.stop("a", false, 0, "me").await?;
    agent.start("a", "me").await?;
    agent.stop("a", true, 0, "me").await?;
    agent.start("a", "me").await?;
    agent.delete("a", false, "me").await.map(drop)
}

/// The steps of a life that is not cut short, or up to the one at which it crashed.
fn live(house: &mut House, crash_at: Option<usize>) -> Vec<String> {
    let steps: Arc<Mutex<Vec<String>>> = Arc::default();
    let (count, noted) = (AtomicUsize::new(0), steps.clone());
    house.crash = Some(Arc::new(move |step| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        match crash_at {
            Some(at) if number >= at => panic!("crash at step {number}, {step}"),
            _ => noted.lock().unwrap().push(step.to_owned()),
        }
    }));
    let runtime = runtime();
    let outcome = runtime.block_on(async {
        let agent = house.open().await;
        tokio::time::timeout(Duration::from_secs(60), everything(house, &agent)).await.unwrap()
    });
    assert_eq!(outcome.is_ok(), crash_at.is_none(), "{outcome:?}");
    drop(runtime);
    house.crash = None;
    std::mem::take(&mut *steps.lock().unwrap())
}

#[test]
fn a_crash_at_every_step_of_the_journal_converges_and_leaks_nothing() {
    let steps = live(&mut House::new(), None);
    for name in
        ["create.intended", "start.acted", "stop.asked", "end.noted", "restart.stopped", "delete.destroyed"]
    {
        assert!(steps.iter().any(|step| step == name), "no step {name} in {steps:?}");
    }
    for (at, step) in steps.iter().enumerate() {
        let mut house = House::new();
        live(&mut house, Some(at));
        let known = std::fs::read(house.folder.path().join("instances/a/record.json"));
        let wanted = known.ok().map(|bytes| serde_json::from_slice::<Record>(&bytes).unwrap().wanted);
        let runtime = runtime();
        runtime.block_on(async {
            let agent = house.open().await;
            let context = format!("crash at {at}, {step}, wanted {wanted:?}");
            for _ in 0..4000 {
                let settled = match (wanted, agent.get("a")) {
                    (None | Some(Wanted::Gone), found) => found.is_err(),
                    (Some(Wanted::Stopped), Ok(record)) => {
                        record.operation.is_none() && record.state == State::Stopped
                    }
                    (Some(Wanted::Running), Ok(record)) => {
                        record.operation.is_none() && record.state == State::Running
                    }
                    (_, Err(_)) => false,
                };
                if settled {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let alive = house.world.alive();
            match wanted {
                None | Some(Wanted::Gone) => {
                    assert!(agent.list().is_empty() && house.world.made().is_empty(), "{context}");
                    assert_eq!(house.folders(), (0, 0), "{context}");
                    return;
                }
                Some(Wanted::Stopped) => {
                    assert_eq!(agent.get("a").unwrap().state, State::Stopped, "{context}");
                    assert!(alive.is_empty(), "{context}");
                }
                Some(Wanted::Running) => {
                    assert_eq!(agent.get("a").unwrap().state, State::Running, "{context}");
                    assert_eq!(alive, [id("a")].into(), "{context}");
                    assert!(agent.console("a").is_ok() && agent.stats("a").await.is_ok(), "{context}");
                }
            }
            agent.delete("a", true, "me").await.unwrap();
            assert_eq!((house.folders(), house.world.made().len()), ((0, 0), 0), "{context}");
        });
        assert_eq!(house.world.violations(), Vec::<String>::new(), "crash at {at}, {step}");
    }
}

#[test]
fn what_runs_goes_on_untouched_through_twenty_lives() {
    let house = House::new();
    for life in 0..20 {
        let runtime = runtime();
        runtime.block_on(async {
            let agent = house.open().await;
            if life == 0 {
                agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
            }
            assert_eq!(agent.get("a").unwrap().state, State::Running);
            // Not shut down: cut off.
        });
    }
    assert_eq!(house.world.starts(&id("a")), 1);
}

#[tokio::test]
async fn what_belongs_to_nobody_is_swept_and_what_cannot_be_read_is_shown_and_goes_by_force() {
    let house = House::new();
    let agent = house.open().await;
    for name in ["kept", "damaged", "nobodys", "headless"] {
        agent.create(with(name, &[("autostart", "true")]), "me").await.unwrap();
    }
    agent.shutdown().await;
    drop(agent);
    let instances = house.folder.path().join("instances");
    std::fs::write(instances.join("damaged/record.json"), "{").unwrap();
    std::fs::remove_dir_all(instances.join("nobodys")).unwrap();
    std::fs::remove_file(instances.join("headless/record.json")).unwrap();
    std::fs::create_dir(instances.join(".gone-earlier")).unwrap();
    std::fs::create_dir(instances.join("bare")).unwrap();
    std::fs::write(instances.join("bare/record.new"), "{").unwrap();
    let agent = house.open().await;
    assert_eq!(house.world.alive(), [id("damaged"), id("headless"), id("kept")].into());
    let listed = agent.list();
    let listed: Vec<_> = listed.iter().map(|record| (record.id.as_str(), record.state)).collect();
    assert_eq!(listed, [("damaged", State::Failed), ("headless", State::Failed), ("kept", State::Running)]);
    assert_eq!(house.folders(), (3, 3));
    for name in ["damaged", "headless"] {
        let record = agent.get(name).unwrap();
        assert!(record.reason.starts_with("its record cannot be read"), "{}", record.reason);
        assert!(matches!(agent.create(container(name), "me").await, Err(AgentError::AlreadyExists(_))));
        for refused in [
            agent.start(name, "me").await,
            agent.stop(name, true, 0, "me").await,
            agent.delete(name, false, "me").await,
            agent.stats(name).await.map(|_| record),
        ] {
            let error = refused.unwrap_err();
            assert!(matches!(&error, AgentError::Precondition(text) if text.contains("force")), "{error}");
        }
    }
    house.world.plan("kill", crate::agent::driver::fake::DriverFault::Fail);
    assert!(agent.delete("damaged", true, "me").await.is_err());
    assert_eq!(agent.get("damaged").unwrap().state, State::Failed, "it is still there");
    for name in ["damaged", "headless"] {
        agent.delete(name, true, "me").await.unwrap();
        assert_eq!(agent.get(name), Err(AgentError::not_found("instance", name)));
        assert_eq!(agent.delete(name, true, "me").await, Err(AgentError::not_found("instance", name)));
    }
    assert_eq!((house.world.made(), house.folders()), ([id("kept")].into(), (1, 1)));
    assert!(agent.create(container("damaged"), "me").await.is_ok());
    assert_eq!(house.world.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_made_while_orphans_are_swept_is_left_alone() {
    let mut house = House::new();
    let agent = house.open().await;
    for name in ["first", "second", "third"] {
        agent.create(container(name), "me").await.unwrap();
    }
    agent.shutdown().await;
    drop(agent);
    for name in ["first", "second", "third"] {
        std::fs::remove_dir_all(house.folder.path().join("instances").join(name)).unwrap();
    }
    house.patience.sweep = Duration::from_millis(20);
    // One of the two drivers of this machine finds them first; both wait.
    for _ in 0..2 {
        house.world.plan("sweep", crate::agent::driver::fake::DriverFault::Slow(Duration::from_millis(400)));
    }
    let agent = house.open().await;
    agent.create(with("second", &[("autostart", "true")]), "me").await.unwrap();
    for _ in 0..400 {
        if house.world.made() == [id("second")].into() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((house.world.made(), house.world.alive()), ([id("second")].into(), [id("second")].into()));
    assert!(agent.stats("second").await.is_ok());
}

#[tokio::test]
async fn an_instance_whose_keeper_breaks_says_so_and_is_found_again_or_deleted() {
    let mut house = House::new();
    let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let breaks = armed.clone();
    house.crash = Some(Arc::new(move |step| {
        assert!(step != "start.acted" || !breaks.swap(false, Ordering::SeqCst), "broken at {step}");
    }));
    let agent = house.open().await;
    for name in ["a", "b"] {
        agent.create(container(name), "me").await.unwrap();
        armed.store(true, Ordering::SeqCst);
        let asked = tokio::join!(agent.start(name, "me"), agent.stop(name, false, 0, "you"));
        for refused in [asked.0, asked.1, agent.restart(name, true, "me").await] {
            let error = refused.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("its keeper broke (broken at start.acted)"), "{error:?}");
        }
        assert_eq!(agent.get(name).unwrap().state, State::Failed);
    }
    assert_eq!(agent.list().len(), 2);
    agent.delete("a", true, "me").await.unwrap();
    assert_eq!((house.world.made(), house.world.alive()), ([id("b")].into(), [id("b")].into()));
    agent.shutdown().await;
    drop(agent);
    let agent = house.open().await;
    assert_eq!(until_state(&agent, "b", State::Running).await.id, id("b"));
    assert_eq!((house.world.starts(&id("b")), house.world.violations()), (1, Vec::new()));
}
