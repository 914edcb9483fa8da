//! Waiting, giving up, and making way.

use std::time::Duration;

use super::{Home, manual, train_request, until};
use crate::fleet::access::{Identity, Role};
use crate::fleet::control::Who;
use crate::fleet::error::FleetError;
use crate::fleet::request::CreateSession;
use crate::fleet::rows::{Phase, Quota};
use crate::fleet::spec::Priority;

fn at_once(request: CreateSession) -> CreateSession {
    CreateSession { wait: Duration::ZERO, ..request }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gang_that_waits_is_told_its_place_and_starts_by_itself() {
    let home = Home::new(4, 1).await;
    let first = home.fleet.create(train_request("s-1", 3)).await.unwrap().row.id;
    let error = home.fleet.create(at_once(train_request("s-2", 4))).await.unwrap_err();
    let FleetError::Exhausted { message, retry_after } = error else { panic!("{error}") };
    assert!(message.contains("number 1 in the queue"), "{message}");
    assert!(!retry_after.is_zero());
    let second = "s-2".parse().unwrap();
    assert_eq!(home.phase(&second), Phase::Queued);
    assert_eq!(home.fleet.peek(&second).unwrap().queue_position, 1);
    let again = home.fleet.create(at_once(train_request("s-2", 4))).await.unwrap_err();
    assert!(matches!(again, FleetError::Exhausted { .. }), "asking again goes on waiting: {again}");
    assert_eq!(home.fleet.stop(&first, true).await.unwrap().len(), 4);
    until("the second gang runs", || home.phase(&second) == Phase::Running).await;
    assert_eq!(home.held(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_wait_is_refused_and_leaves_nothing() {
    let home = Home::new(0, 0).await;
    let mut request = manual("s-1");
    request.options.queue = Some(false);
    assert!(matches!(home.fleet.create(request).await, Err(FleetError::Exhausted { .. })));
    assert!(home.fleet.peek(&"s-1".parse().unwrap()).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manual_session_that_nobody_asks_for_leaves_the_queue() {
    let home = Home::with(0, 0, |settings| settings.queue.abandon_s = 0.5).await;
    assert!(home.fleet.create(at_once(manual("s-1"))).await.is_err());
    let id = "s-1".parse().unwrap();
    until("it was dropped", || home.phase(&id) == Phase::Stopped).await;
    assert!(home.fleet.peek(&id).unwrap().row.reason.contains("nobody asked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_waits_leaves_the_person_driving() {
    let home = Home::new(2, 1).await;
    let id = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    home.fleet.start(&id, false, 1.0).await.unwrap();
    let error = home.fleet.create(at_once(train_request("s-1", 4))).await.unwrap_err();
    assert!(matches!(error, FleetError::Exhausted { .. }), "{error}");
    assert_eq!(home.phase(&id), Phase::Running);
    home.fleet.pause(&id).await.unwrap();
    assert_eq!(home.phase(&id), Phase::Paused);
    assert_eq!(home.fleet.create(manual("s-1")).await.unwrap().row.phase, Phase::Paused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sessions_end_and_watched_ones_do_not() {
    let home = Home::with(2, 0, |settings| settings.sessions.manual_idle_s = 1.0).await;
    let idle = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    let watched = home.fleet.create(manual("s-2")).await.unwrap().row.id;
    let _events = home.fleet.watch(&watched, 0).unwrap();
    until("the idle one ended", || home.phase(&idle) == Phase::Stopped).await;
    assert!(home.fleet.peek(&idle).unwrap().row.reason.contains("idle"));
    assert_eq!(home.phase(&watched), Phase::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_asks_for_a_session_does_not_keep_it_from_idling() {
    let home = Home::with(1, 0, |settings| settings.sessions.manual_idle_s = 1.0).await;
    let id = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    let of = |owner: &str| Identity { owner: Some(owner.to_owned()), role: Role::User };
    let (owner, stranger) = (of("default"), of("eve"));
    let training = "4b1c5a4e-0000-4000-8000-000000000000";
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(home.fleet.session_for(&owner, &id).unwrap().row.phase, Phase::Ready);
    }
    let ended = || {
        assert!(matches!(home.fleet.session_for(&stranger, &id), Err(FleetError::NotFound { .. })));
        assert!(home.fleet.session_of_training(&stranger, training).is_err());
        home.phase(&id) == Phase::Stopped
    };
    until("it idled out", ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_session_is_passed_over_for_one_that_nobody_is_at_and_is_never_saved_for_nothing() {
    let mut home = Home::with(2, 0, |settings| settings.queue.preempt_after_s = 0.2).await;
    let low = |name: &str| {
        let mut low = manual(name);
        low.options.priority = Priority::Low;
        low
    };
    let older = home.fleet.create(low("older")).await.unwrap().row.id;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let watched = home.fleet.create(low("watched")).await.unwrap().row.id;
    let _page = home.fleet.controls().robot(&watched, None, Who::named("anna").watching()).await.unwrap();
    let high = |name: &str| {
        let mut high = manual(name);
        high.options.priority = Priority::High;
        high
    };
    let first = home.fleet.create(high("first")).await.unwrap();
    assert_eq!(first.row.phase, Phase::Ready);
    assert_eq!((home.phase(&older), home.phase(&watched)), (Phase::Queued, Phase::Ready));
    assert!(home.fleet.create(at_once(high("second"))).await.is_err());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(home.phase(&"second".parse().unwrap()), Phase::Queued, "nobody may make way for it");
    assert_eq!(home.phase(&watched), Phase::Ready);
    assert_eq!(home.sim(&watched, 0).count("snapshot"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_cannot_be_saved_is_not_asked_to_make_way_every_second() {
    let mut home = Home::with(1, 0, |settings| settings.queue.preempt_after_s = 0.2).await;
    let mut low = manual("low");
    low.options.priority = Priority::Low;
    let low = home.fleet.create(low).await.unwrap().row.id;
    home.sim(&low, 0).refuse(|ask| matches!(ask, crate::fleet::link::Ask::Snapshot(_)), "no room");
    let mut high = at_once(manual("high"));
    high.options.priority = Priority::High;
    assert!(home.fleet.create(high).await.is_err());
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(home.sim(&low, 0).count("snapshot"), 1);
    assert_eq!(home.phase(&low), Phase::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_low_session_is_saved_makes_way_for_a_high_one_and_goes_on_later() {
    let mut home = Home::with(2, 2, |settings| settings.queue.preempt_after_s = 0.2).await;
    let mut low = train_request("low", 2);
    low.options.priority = Priority::Low;
    let low = home.fleet.create(low).await.unwrap().row.id;
    let mut high = train_request("high", 2);
    high.options.priority = Priority::High;
    let high = home.fleet.create(high).await.unwrap();
    assert_eq!(high.row.phase, Phase::Running);
    let waiting = home.fleet.peek(&low).unwrap().row;
    assert_eq!(waiting.phase, Phase::Queued);
    assert!(!waiting.restore_from.is_empty());
    home.fleet.stop(&high.row.id, true).await.unwrap();
    until("the low one runs again", || home.phase(&low) == Phase::Running).await;
    assert_eq!(home.sim(&low, 1).count("restore"), 1);
    let work = home.trainer(&low).work().unwrap();
    assert!(work.restore_from.contains(&waiting.restore_from), "{}", work.restore_from);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_drains_takes_no_new_sessions_and_says_it_is_not_healthy() {
    let home = Home::new(2, 1).await;
    let manual_one = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    let on_it = home.fleet.drain(None, Duration::from_secs(1), false).await.unwrap();
    assert_eq!(on_it, std::slice::from_ref(&manual_one));
    assert!(!home.fleet.health().healthy);
    assert!(matches!(home.fleet.create(manual("s-2")).await, Err(FleetError::Unavailable { .. })));
    assert_eq!(home.phase(&manual_one), Phase::Ready, "it has until the deadline");
    until("the deadline ended it", || home.phase(&manual_one) == Phase::Stopped).await;
    home.fleet.undrain(None).await.unwrap();
    assert!(home.fleet.health().healthy);
    home.fleet.create(manual("s-2")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn training_moves_off_instances_that_drain() {
    let mut home = Home::new(3, 2).await;
    let id = home.fleet.create(train_request("s-1", 2)).await.unwrap().row.id;
    let (sim, trainer) = (home.sim(&id, 0).id, home.trainer(&id).id);
    home.fleet.drain(Some(sim), Duration::from_secs(600), false).await.unwrap();
    home.fleet.drain(Some(trainer), Duration::from_secs(600), false).await.unwrap();
    let moved = || {
        home.fleet.peek(&id).is_ok_and(|view| {
            view.row.phase == Phase::Running
                && view.simulators[0].row.id != sim
                && view.trainer.is_some_and(|now| now.row.id != trainer)
        })
    };
    until("it runs elsewhere", moved).await;
    let work = home.trainer(&id).work().unwrap();
    assert_eq!(work.restore_from, work.checkpoint_uri, "it goes on from what the first one kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_hold_back_and_let_go() {
    let home = Home::new(2, 0).await;
    home.fleet.set_quota("default", Quota { max_sessions: 1, ..Quota::default() }).await.unwrap();
    let first = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    let error = home.fleet.create(at_once(manual("s-2"))).await.unwrap_err();
    assert!(error.to_string().contains("quota"), "{error}");
    home.fleet.stop(&first, true).await.unwrap();
    let second = "s-2".parse().unwrap();
    until("the second one is ready", || home.phase(&second) == Phase::Ready).await;
}
