use std::time::{Duration, Instant};

use super::fleet::{Fleet, Simulator, Wish, until};
use crate::fleet::control::Who;
use crate::fleet::ledger::Command;
use crate::fleet::rows::Phase;
use crate::instance::contract::{FromRobot, ToRobot, Velocity};
use crate::proto::neuro::ext::Controller;

fn drive(x: f64) -> ToRobot {
    ToRobot::RobotControl { velocity: Velocity { x, ..Velocity::default() } }
}

fn state(timestamp: i64) -> FromRobot {
    let (names, positions, velocities) = (vec!["j1".into()], vec![0.1], vec![0.0]);
    FromRobot::RobotState { timestamp, names, positions, velocities, pose: vec![0.0; 7] }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_is_open_while_it_is_needed_and_carries_the_grants_fence() {
    let fleet = Fleet::manual().await;
    let stream = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    let line = stream.line();
    until("the line", || line.borrow().open).await;
    assert_eq!(fleet.simulator().seen.lock().unwrap().fences, ["1"]);
    stream.leave();
    until("nobody needs it", || !line.borrow().open).await;
    assert_eq!(line.borrow().trouble, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_comes_back_and_the_robot_hears_again_who_drives() {
    let fleet = Fleet::manual().await;
    let stream = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    let line = stream.line();
    until("the line", || line.borrow().open).await;
    fleet.simulator().cut();
    until("a second line", || line.borrow().open && line.borrow().times == 2).await;
    until("told again", || fleet.simulator().controllers().len() == 2).await;
    assert!(stream.driving());
    stream.send(drive(0.5)).await.unwrap();
    until("the command", || fleet.simulator().commands() == [drive(0.5)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_goes_on_driving_on_the_simulator_that_replaces_a_lost_one() {
    let mut fleet = Fleet::manual().await;
    let stream = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    let (before, fence) = (fleet.simulator().id, stream.lease().fence);
    let mut spare = Simulator::start().await;
    spare.attach(&fleet.links).await;
    fleet.simulators.push(spare);
    fleet.books.apply(Command::Lost { instance: before, reason: "killed".into() }).await.unwrap();
    fleet.books.apply(Command::Repair(fleet.session.clone())).await.unwrap();
    fleet.advance(Phase::Running).await;
    assert_ne!(fleet.simulator().id, before);
    until("told who drives", || {
        fleet.simulator().controllers().last() == Some(&(Controller::Human, "anna".to_owned()))
    })
    .await;
    until("driving", || stream.driving()).await;
    assert!(stream.lease().fence > fence);
    stream.send(drive(0.5)).await.unwrap();
    until("the command", || fleet.simulator().commands().contains(&drive(0.5))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_slow_skips_and_holds_nobody_up() {
    let fleet = Fleet::manual().await;
    let stream = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    let line = stream.line();
    until("the line", || line.borrow().open).await;
    let (mut slow, mut quick) = (stream.listen(), stream.listen());
    for number in 1..=3000 {
        fleet.simulator().say(state(number));
        // The quick one reads along; nothing of what it does waits for the slow one.
        let heard = tokio::time::timeout(Duration::from_secs(3), quick.next()).await.unwrap().unwrap();
        assert!(
            matches!(&heard.message, Some(FromRobot::RobotState { timestamp, .. }) if *timestamp == number)
        );
    }
    assert_eq!(quick.skipped(), 0);
    let first = slow.next().await.unwrap();
    assert!(slow.skipped() > 2000, "{} skipped", slow.skipped());
    assert!(matches!(first.message, Some(FromRobot::RobotState { timestamp, .. }) if timestamp > 2000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_contract_does_not_know_is_passed_on_as_it_came() {
    let fleet = Fleet::manual().await;
    let stream = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    let line = stream.line();
    until("the line", || line.borrow().open).await;
    let mut ears = stream.listen();
    fleet.simulator().say(FromRobot::Error { message: "too fast".into() });
    let heard = ears.next().await.unwrap();
    assert_eq!(&heard.text[..], br#"{"type":"error","message":"too fast"}"#);
}

/// Prints the figure; the bound is far above it, for busy machines.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_every_20_ms_reaches_the_robot_at_once() {
    let fleet = Fleet::start(Wish::default()).await;
    let stream = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    let line = stream.line();
    until("the line", || line.borrow().open).await;
    let mut sent = Vec::new();
    let mut every = tokio::time::interval(Duration::from_millis(20));
    for number in 0..=100 {
        every.tick().await;
        sent.push(Instant::now());
        stream.send(drive(f64::from(number))).await.unwrap_or_else(|error| panic!("{number}: {error}"));
    }
    until("the last one", || fleet.simulator().commands().last() == Some(&drive(100.0))).await;
    let seen = fleet.simulator().seen.lock().unwrap();
    // On a busy machine a newer command may overtake an older one: those that came are matched by their number.
    let mut latency: Vec<Duration> = seen
        .commands
        .iter()
        .filter_map(|(at, command)| match command {
            ToRobot::RobotControl { velocity } => {
                sent.get(velocity.x as usize).map(|sent| at.saturating_duration_since(*sent))
            }
            _ => None,
        })
        .collect();
    latency.sort();
    let of = |share: usize| latency[latency.len() * share / 100];
    println!("{} of 101 commands through the bridge: p50 {:?}, p99 {:?}", latency.len(), of(50), of(99));
    assert!(latency.len() > 50, "only {} came", latency.len());
    assert!(of(50) < Duration::from_millis(10), "p50 {:?}", of(50));
}
