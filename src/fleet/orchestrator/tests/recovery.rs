//! Members that are lost.

use std::time::Duration;

use super::{Home, manual, phases, train_request, until};
use crate::fleet::link::Ask;
use crate::fleet::request::SceneChange;
use crate::fleet::rows::{Phase, Role};
use crate::proto::neuro::common::GrpcObstacle;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_simulator_is_replaced_with_the_scene_as_it_is_now_and_the_trainer_told() {
    let mut home = Home::new(3, 1).await;
    let id = home.fleet.create(train_request("s-1", 2)).await.unwrap().row.id;
    let change = SceneChange { add: vec![GrpcObstacle::default()], ..Default::default() };
    home.fleet.update_scene(&id, change).await.unwrap();
    let lost = home.sim(&id, 1).id;
    home.sim(&id, 1).kill();
    let replaced = || {
        home.fleet.peek(&id).is_ok_and(|view| {
            view.row.phase == Phase::Running
                && view.simulators.len() == 2
                && view.simulators[1].row.id != lost
        })
    };
    until("environment 1 is another", replaced).await;
    let now = home.sim(&id, 1);
    assert_eq!(now.orders(), ["load", "update", "start"]);
    let trainer = home.trainer(&id);
    assert_eq!(trainer.count("train"), 1, "training went on");
    let Some(Ask::ReplaceEnv(replaced)) = trainer.last("replace_env") else { panic!("not told") };
    assert_eq!(replaced.index, 1);
    assert_eq!(home.sim(&id, 0).count("load"), 1, "the other simulator was not touched");
    assert!(phases(&home.fleet, &id).await.ends_with(&[Phase::Recovering, Phase::Running]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_trainer_is_replaced_and_goes_on_from_the_newest_checkpoint() {
    let mut home = Home::new(2, 2).await;
    let id = home.fleet.create(train_request("s-1", 2)).await.unwrap().row.id;
    let folder = home.trainer(&id).work().unwrap().checkpoint_uri;
    std::fs::write(std::path::Path::new(folder.strip_prefix("file://").unwrap()).join("checkpoint-1"), "")
        .unwrap();
    let lost = home.trainer(&id).id;
    home.trainer(&id).kill();
    let replaced = || {
        home.fleet.peek(&id).is_ok_and(|view| {
            view.row.phase == Phase::Running && view.trainer.is_some_and(|trainer| trainer.row.id != lost)
        })
    };
    until("another trainer trains", replaced).await;
    let work = home.trainer(&id).work().unwrap();
    assert_eq!((&work.restore_from, &work.checkpoint_uri), (&folder, &folder));
    assert_eq!(home.sim(&id, 0).count("load"), 1, "the simulators were not touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trainer_that_replaces_another_in_a_paused_session_stands_still_too() {
    let mut home = Home::new(1, 2).await;
    let id = home.fleet.create(train_request("s-1", 1)).await.unwrap().row.id;
    home.fleet.pause(&id).await.unwrap();
    let lost = home.trainer(&id).id;
    home.trainer(&id).kill();
    let replaced = || {
        home.fleet.peek(&id).is_ok_and(|view| {
            view.row.phase == Phase::Paused && view.trainer.is_some_and(|trainer| trainer.row.id != lost)
        })
    };
    until("another trainer is there", replaced).await;
    assert_eq!(home.trainer(&id).orders(), ["train", "pause"]);
    home.fleet.start(&id, false, 1.0).await.unwrap();
    assert_eq!(home.trainer(&id).orders(), ["train", "pause", "start"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nothing_free_a_session_recovers_when_something_comes() {
    let mut home = Home::new(1, 0).await;
    let id = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    home.fleet.start(&id, true, 2.0).await.unwrap();
    home.sims[0].kill();
    until("it is recovering", || home.phase(&id) == Phase::Recovering).await;
    home.add(Role::Simulator, "sim-2").await;
    until("it runs again", || home.phase(&id) == Phase::Running).await;
    let Some(Ask::Start(start)) = home.sims[1].last("start") else { panic!("not started") };
    assert_eq!((start.real_time, start.time_scale), (true, 2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nothing_free_for_too_long_a_session_fails_and_says_so() {
    let mut home = Home::with(2, 1, |settings| settings.sessions.recovery_s = 0.5).await;
    let id = home.fleet.create(train_request("s-1", 2)).await.unwrap().row.id;
    home.sims[0].kill();
    until("it failed", || home.phase(&id) == Phase::Failed).await;
    let reason = home.fleet.peek(&id).unwrap().row.reason;
    assert!(reason.contains("1 of its simulators"), "{reason}");
    assert_eq!(home.held(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_break_of_the_stream_changes_nothing() {
    let mut home = Home::new(2, 0).await;
    let id = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    let before = home.fleet.peek(&id).unwrap().row;
    let links = home.fleet.links().clone();
    home.sim(&id, 0).detach();
    tokio::time::sleep(Duration::from_millis(100)).await;
    home.sim(&id, 0).attach(&links).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(home.fleet.peek(&id).unwrap().row, before);
    assert_eq!(home.sim(&id, 0).count("load"), 1);
}
