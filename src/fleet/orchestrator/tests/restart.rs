//! The orchestrator goes away and comes back over the same store.

use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::{Home, manual, train_request, until};
use crate::fleet::rows::Phase;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_come_back_are_kept_and_not_touched() {
    let mut home = Home::new(3, 1).await;
    let id = home.fleet.create(train_request("s-1", 2)).await.unwrap().row.id;
    let before = home.fleet.peek(&id).unwrap().row;
    home.restart().await;
    home.reattach().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let view = home.fleet.session(&id).unwrap();
    assert_eq!(view.row, before);
    assert_eq!(home.sim(&id, 0).count("load"), 1);
    assert_eq!(home.trainer(&id).count("train"), 1);
    home.fleet.pause(&id).await.unwrap();
    assert_eq!(home.phase(&id), Phase::Paused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_come_back_is_replaced() {
    let mut home = Home::new(3, 1).await;
    let id = home.fleet.create(train_request("s-1", 2)).await.unwrap().row.id;
    let lost = home.sim(&id, 0).id;
    home.restart().await;
    home.sims.retain(|sim| sim.id != lost);
    home.reattach().await;
    let replaced = || {
        home.fleet.peek(&id).is_ok_and(|view| {
            view.row.phase == Phase::Running && view.simulators.first().is_some_and(|one| one.row.id != lost)
        })
    };
    until("environment 0 is another", replaced).await;
    assert_eq!(home.trainer(&id).count("train"), 1);
    assert_eq!(home.trainer(&id).count("replace_env"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_at_the_next_number_after_a_restart() {
    let mut home = Home::new(1, 0).await;
    let id = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    let last = home.fleet.peek(&id).unwrap().row.last_seq;
    home.restart().await;
    home.reattach().await;
    let mut events = home.fleet.watch(&id, last - 1).unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().seq, last);
    home.fleet.start(&id, false, 1.0).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().seq, last + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_before_goes_on_waiting_and_starts() {
    let mut home = Home::new(1, 0).await;
    let first = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    let mut request = manual("s-2");
    request.wait = Duration::ZERO;
    assert!(home.fleet.create(request).await.is_err());
    home.restart().await;
    home.reattach().await;
    let second = "s-2".parse().unwrap();
    assert_eq!(home.phase(&second), Phase::Queued);
    home.fleet.stop(&first, true).await.unwrap();
    until("the second one is ready", || home.phase(&second) == Phase::Ready).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_are_there_again_within_a_second() {
    let mut home = Home::new(1, 0).await;
    for chunk in 0..10 {
        let requests = (0..100).map(|index| {
            let mut request = manual(&format!("s-{chunk}-{index}"));
            request.wait = Duration::ZERO;
            home.fleet.create(request)
        });
        drop(futures_util::future::join_all(requests).await);
    }
    home.fleet.shutdown().await;
    let began = Instant::now();
    home.restart().await;
    let took = began.elapsed();
    assert_eq!(home.fleet.health().active_sessions, 1000);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_watchers_of_one_session_hear_of_an_event_at_once() {
    let home = Home::new(1, 0).await;
    let id = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    let last = home.fleet.peek(&id).unwrap().row.last_seq;
    let watchers: Vec<_> = (0..10_000)
        .map(|_| {
            let mut events = home.fleet.watch(&id, last).unwrap();
            tokio::spawn(async move {
                let row = events.next().await.unwrap().unwrap();
                (row.seq, Instant::now())
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut first = home.fleet.watch(&id, last).unwrap();
    let starter = home.fleet.clone();
    let starting = id.clone();
    let start = tokio::spawn(async move { starter.start(&starting, false, 1.0).await });
    first.next().await.unwrap().unwrap();
    let heard = Instant::now();
    start.await.unwrap().unwrap();
    let mut slowest = Duration::ZERO;
    for watcher in watchers {
        let (seq, at) = watcher.await.unwrap();
        assert_eq!(seq, last + 1);
        slowest = slowest.max(at.saturating_duration_since(heard));
    }
    assert!(slowest < Duration::from_millis(500), "the last one heard of it {slowest:?} after the first");
}
