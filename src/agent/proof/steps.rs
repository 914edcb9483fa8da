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
    for _ in 0..200 {
        if agent.get("a")?.restarts == 1 && agent.get("a")?.state == State::Running {
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
        // A crash answers nobody: the keeper is gone and the others wait for it in vain.
        tokio::time::timeout(Duration::from_secs(10), everything(house, &agent)).await.unwrap()
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
            for _ in 0..400 {
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
async fn what_belongs_to_nobody_is_swept_and_what_cannot_be_read_is_left_alone() {
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
    assert_eq!(agent.list().len(), 1);
    for name in ["damaged", "headless"] {
        assert!(matches!(agent.create(container(name), "me").await, Err(AgentError::AlreadyExists(_))));
    }
    assert_eq!(house.folders(), (3, 3));
}
