//! Many at once.

use std::collections::BTreeSet;
use std::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_that_come_at_once_with_twenty_doubles_are_one_hundred_and_eighty() {
    let house = House::new();
    let agent = house.open().await;
    let begun = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..200 {
        let agent = agent.clone();
        let name = format!("i-{:03}", number % 180);
        callers.spawn(async move { agent.create(with(&name, &[("autostart", "true")]), "crowd").await });
    }
    while let Some(outcome) = callers.join_next().await {
        assert_eq!(outcome.unwrap().unwrap().state, State::Running);
    }
    println!("200 creates with start: {:?}", begun.elapsed());
    let names: BTreeSet<InstanceId> = agent.list().into_iter().map(|record| record.id).collect();
    assert_eq!((agent.list().len(), names.len()), (180, 180));
    assert_eq!(house.world.alive(), names);
    assert!(names.iter().all(|name| house.world.starts(name) == 1));
    let begun = Instant::now();
    let stats = futures_util::future::join_all(names.iter().map(|name| agent.stats(name.as_str()))).await;
    assert!(stats.iter().all(Result::is_ok));
    println!("statistics of 180: {:?}", begun.elapsed());
    agent.shutdown().await;
    drop(agent);
    let begun = Instant::now();
    let agent = house.open().await;
    println!("180 found again: {:?}", begun.elapsed());
    assert!(agent.list().iter().all(|record| record.state == State::Running));
    let mut callers = tokio::task::JoinSet::new();
    for name in names {
        let agent = agent.clone();
        callers.spawn(async move { agent.delete(name.as_str(), false, "crowd").await });
    }
    while let Some(outcome) = callers.join_next().await {
        outcome.unwrap().unwrap();
    }
    assert_eq!((house.folders(), house.world.made().len()), ((0, 0), 0));
    assert_eq!(house.world.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_the_same_instance_hears_the_same_failure() {
    let house = House::new();
    let agent = house.open().await;
    house.world.plan("prepare", crate::agent::driver::fake::DriverFault::Slow(Duration::from_millis(100)));
    let mut request = container("a");
    request.spec.as_mut().unwrap().image = "missing".to_owned();
    let callers = (0..10).map(|_| agent.create(request.clone(), "crowd"));
    for outcome in futures_util::future::join_all(callers).await {
        assert_eq!(outcome.unwrap_err(), AgentError::not_found("image", "missing"));
    }
    assert!(agent.list().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_are_made_and_deleted_in_turns_by_many_are_there_or_not_and_nothing_between() {
    let house = House::new();
    let agent = house.open().await;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let agent = agent.clone();
        callers.spawn(async move {
            for _ in 0..10 {
                if number % 2 == 0 {
                    let made = agent.create(container("a"), "crowd").await;
                    assert!(matches!(made, Ok(_) | Err(AgentError::Unavailable(_))), "{made:?}");
                } else {
                    let gone = agent.delete("a", true, "crowd").await;
                    assert!(matches!(gone, Ok(_) | Err(AgentError::NotFound { .. })), "{gone:?}");
                }
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    agent.delete("a", true, "crowd").await.ok();
    assert_eq!((house.folders(), house.world.made().len(), agent.list().len()), ((0, 0), 0, 0));
    assert_eq!(house.world.violations(), Vec::<String>::new());
}
