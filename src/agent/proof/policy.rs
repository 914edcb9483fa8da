//! What is done when an instance ends by itself.

use super::*;
use crate::agent::driver::fake::{DriverFault, Manners};

#[tokio::test]
async fn an_end_is_told_by_its_code_and_a_bad_one_by_its_last_line_too() {
    let house = House::new();
    let agent = house.open().await;
    let cases = [
        ("good", 0, State::Stopped, "exit 0"),
        ("bad", 3, State::Failed, "exit 3; its last line: no space left"),
    ];
    for (name, code, state, reason) in cases {
        agent.create(with(name, &[("autostart", "true")]), "me").await.unwrap();
        assert!(house.world.says(&id(name), b"\x1b[31mno space left\x1b[0m\r\n"));
        assert!(house.world.exits(&id(name), code));
        let record = until_state(&agent, name, state).await;
        assert_eq!((record.exit.unwrap().code, record.reason.as_str()), (code, reason));
    }
}

#[tokio::test]
async fn a_policy_starts_again_as_often_as_it_says() {
    let house = House::new();
    let agent = house.open().await;
    house.world.manners(&id("a"), Manners { deaf: false, ends_with: Some(1) });
    agent.create(with("a", &[("autostart", "true"), ("restart", "on-failure:3")]), "me").await.unwrap();
    let record = until(&agent, "a", |record| record.state == State::Failed && record.failures == 4).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((house.world.starts(&id("a")), record.restarts), (4, 3));
    house.world.manners(&id("a"), Manners::default());
    let record = agent.start("a", "me").await.unwrap();
    assert_eq!((record.state, record.restarts, record.failures), (State::Running, 0, 0));
}

#[tokio::test]
async fn on_failure_lets_a_good_end_be_and_always_does_not() {
    let house = House::new();
    let agent = house.open().await;
    for (name, policy) in [("a", "on-failure"), ("b", "always"), ("c", "never")] {
        agent.create(with(name, &[("autostart", "true"), ("restart", policy)]), "me").await.unwrap();
        house.world.exits(&id(name), 0);
    }
    until(&agent, "b", |record| record.restarts == 1 && record.state == State::Running).await;
    for name in ["a", "c"] {
        assert_eq!(until_state(&agent, name, State::Stopped).await.restarts, 0);
        assert_eq!(house.world.starts(&id(name)), 1);
    }
}

#[tokio::test]
async fn a_stop_is_never_undone_also_not_by_a_restart_of_the_agent() {
    let mut house = House::new();
    house.patience.first_delay = Duration::from_millis(150);
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true"), ("restart", "always")]), "me").await.unwrap();
    house.world.exits(&id("a"), 1);
    until_state(&agent, "a", State::Failed).await;
    let stopped = agent.stop("a", false, 0, "me").await.unwrap();
    assert_eq!(
        (stopped.state, stopped.reason.as_str()),
        (State::Stopped, "exit 1; its last line: a says hello, run 1")
    );
    tokio::time::sleep(Duration::from_millis(400)).await;
    agent.shutdown().await;
    drop(agent);
    let agent = house.open().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!((agent.get("a").unwrap().state, house.world.starts(&id("a"))), (State::Stopped, 1));
}

#[tokio::test]
async fn a_policy_goes_on_where_the_earlier_life_of_the_agent_stopped() {
    let mut house = House::new();
    house.patience.first_delay = Duration::from_millis(300);
    house.patience.longest_delay = Duration::from_millis(300);
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true"), ("restart", "always")]), "me").await.unwrap();
    house.world.exits(&id("a"), 1);
    until_state(&agent, "a", State::Failed).await;
    agent.shutdown().await;
    drop(agent);
    let agent = house.open().await;
    until(&agent, "a", |record| record.state == State::Running && record.restarts == 1).await;
}

#[tokio::test]
async fn what_ended_while_no_agent_ran_is_reported_with_its_code() {
    let house = House::new();
    let agent = house.open().await;
    for name in ["ended", "unseen", "revived", "lives"] {
        let policy = if name == "revived" { "always" } else { "never" };
        agent.create(with(name, &[("autostart", "true"), ("restart", policy)]), "me").await.unwrap();
    }
    agent.shutdown().await;
    drop(agent);
    house.world.exits(&id("ended"), 7);
    house.world.exits(&id("revived"), 0);
    house.world.forget_run(&id("unseen"));
    let agent = house.open().await;
    let record = |name: &str| agent.get(name).unwrap();
    assert_eq!((record("ended").state, record("ended").exit.unwrap().code), (State::Failed, 7));
    let unseen = record("unseen").exit.unwrap();
    assert!(unseen.unseen && unseen.code == 255 && record("unseen").state == State::Failed);
    assert_eq!((record("lives").state, house.world.starts(&id("lives"))), (State::Running, 1));
    until(&agent, "revived", |record| record.state == State::Running && record.restarts == 1).await;
    assert_eq!(house.world.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_instance_is_ready_when_it_says_so_also_across_a_restart_in_the_middle_of_the_line() {
    let house = House::new();
    let agent = house.open().await;
    let request = with("a", &[("autostart", "true"), ("ready-line", "App is loaded")]);
    let made = agent.create(request, "me").await.unwrap();
    assert_eq!((made.ready, made.reason.as_str()), (false, "waiting for its ready line"));
    house.world.says(&id("a"), b"[1.2s] App is");
    let mut console = agent.console("a").unwrap();
    consoles::read_until(&mut console, "App is").await;
    agent.shutdown().await;
    drop((agent, console));
    let agent = house.open().await;
    assert!(!agent.get("a").unwrap().ready);
    house.world.says(&id("a"), b" loaded\r\n");
    assert_eq!(until(&agent, "a", |record| record.ready).await.reason, "ready");
}

#[tokio::test]
async fn what_an_ended_run_left_holds_up_neither_the_agent_nor_the_order_of_things() {
    let house = House::new();
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    agent.shutdown().await;
    drop(agent);
    house.world.exits(&id("a"), 3);
    house.world.plan("settle", DriverFault::Slow(Duration::from_secs(3)));
    let begun = std::time::Instant::now();
    let agent = house.open().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(agent.get("a").unwrap().exit.unwrap().code, 3);
    assert_eq!(agent.start("a", "me").await.unwrap().state, State::Running);
    assert!(begun.elapsed() >= Duration::from_secs(3), "it was started before the rest was taken away");
    assert_eq!((house.world.violations(), house.world.starts(&id("a"))), (Vec::new(), 2));
}
