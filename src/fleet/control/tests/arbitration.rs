use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::fleet::{Fleet, Wish, until};
use crate::fleet::control::{Who, stream::RobotStream};
use crate::fleet::error::FleetError;
use crate::fleet::ids::Fence;
use crate::fleet::request::{ControlHandle, TakeControl};
use crate::fleet::rows::Phase;
use crate::fleet::settings;
use crate::fleet::spec::Mode;
use crate::instance::contract::{ToRobot, Velocity};
use crate::proto::neuro::ext::Controller;

fn drive(x: f64) -> ToRobot {
    ToRobot::RobotControl { velocity: Velocity { x, ..Velocity::default() } }
}

fn driven(commands: &[ToRobot]) -> Vec<f64> {
    let speeds = commands.iter().filter_map(|command| match command {
        ToRobot::RobotControl { velocity } if velocity.x != 0.0 => Some(velocity.x),
        _ => None,
    });
    speeds.collect()
}

async fn sit(fleet: &Fleet, user: &str) -> RobotStream {
    let token = fleet.controls.issue(&fleet.session, user, false).unwrap();
    let claims = fleet.controls.verify(&token, &fleet.session).unwrap();
    fleet.controls.robot(&fleet.session, None, Who::with_token(&claims, &token)).await.unwrap()
}

fn take(fleet: &Fleet, user: &str, force: bool) -> TakeControl {
    TakeControl {
        session: fleet.session.clone(),
        instance: None,
        user: user.to_owned(),
        ttl: Duration::ZERO,
        force,
        record: false,
    }
}

fn handle(fleet: &Fleet, fence: i64) -> ControlHandle {
    ControlHandle { session: fleet.session.clone(), instance: None, fence: Fence(fence as u64) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_in_a_manual_session_drives_and_the_second_watches_until_it_leaves() {
    let fleet = Fleet::manual().await;
    let first = sit(&fleet, "anna").await;
    assert!(first.driving());
    let second = sit(&fleet, "bert").await;
    assert!(!second.driving());
    first.send(drive(1.0)).await.unwrap();
    let refused = second.send(drive(2.0)).await.unwrap_err().to_string();
    assert!(refused.contains("\"anna\" drives"), "{refused}");
    until("anna's command", || driven(&fleet.simulator().commands()) == [1.0]).await;
    assert_eq!(fleet.simulator().controllers(), [(Controller::Human, "anna".to_owned())]);
    first.leave();
    until("bert drives", || second.driving()).await;
    second.send(drive(2.0)).await.unwrap();
    until("bert's command", || driven(&fleet.simulator().commands()) == [1.0, 2.0]).await;
    assert_eq!(fleet.simulator().controllers().last(), Some(&(Controller::Human, "bert".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_vanishes_is_waited_for_and_comes_back_with_the_same_token() {
    let fleet = Fleet::manual().await;
    let token = fleet.controls.issue(&fleet.session, "anna", false).unwrap();
    let claims = fleet.controls.verify(&token, &fleet.session).unwrap();
    let who = Who::with_token(&claims, &token);
    let before = fleet.controls.robot(&fleet.session, None, who.clone()).await.unwrap();
    let fence = before.lease().fence;
    let other = sit(&fleet, "bert").await;
    drop(before);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!other.driving());
    let again = fleet.controls.robot(&fleet.session, None, who.clone()).await.unwrap();
    assert!(again.driving());
    assert_eq!(again.lease().fence, fence);
    // The connection before need not even have been noticed to be broken.
    let third = fleet.controls.robot(&fleet.session, None, who).await.unwrap();
    assert!(third.driving() && !again.driving());
    drop((again, third));
    let ttl = Duration::from_millis(1500);
    tokio::time::timeout(ttl * 2, until("bert drives", || other.driving())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_who_stays_keeps_the_lease_beyond_its_time() {
    let fleet = Fleet::manual().await;
    let driver = sit(&fleet, "anna").await;
    let fence = driver.lease().fence;
    tokio::time::sleep(Duration::from_millis(3200)).await;
    assert!(driver.driving());
    assert_eq!(driver.lease().fence, fence);
    let row = fleet.controls.lease(&fleet.session, None).unwrap();
    assert_eq!((row.holder, row.fence, row.user.as_str()), (Controller::Human, fence, "anna"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_renewed_ends_and_the_robot_is_told() {
    let fleet = Fleet::manual().await;
    let lease = fleet.controls.take(take(&fleet, "anna", false)).await.unwrap();
    assert_eq!(lease.holder(), Controller::Human);
    assert!(lease.ws_url.starts_with(&format!("ws://127.0.0.1:8010/control/{}", fleet.session)));
    fleet.controls.renew(handle(&fleet, lease.fence), Duration::ZERO).await.unwrap();
    let told = || fleet.simulator().controllers().last() == Some(&(Controller::None, String::new()));
    until("nobody drives", told).await;
    let gone = fleet.controls.renew(handle(&fleet, lease.fence), Duration::ZERO).await.unwrap_err();
    assert!(matches!(gone, FleetError::Stale { .. }), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn control_that_is_taken_by_force_leaves_the_old_fence_behind() {
    let fleet = Fleet::manual().await;
    let first = fleet.controls.take(take(&fleet, "anna", false)).await.unwrap();
    let refused = fleet.controls.take(take(&fleet, "bert", false)).await.unwrap_err();
    assert!(refused.to_string().contains("\"anna\" drives"), "{refused}");
    let second = fleet.controls.take(take(&fleet, "bert", true)).await.unwrap();
    assert!(second.fence > first.fence);
    let stale = fleet.controls.release(handle(&fleet, first.fence), true).await.unwrap_err();
    assert!(stale.to_string().contains("is stale"), "{stale}");
    // The token that came with the lease drives under it.
    let claims = fleet.controls.verify(&second.token, &fleet.session).unwrap();
    let stream =
        fleet.controls.robot(&fleet.session, None, Who::with_token(&claims, &second.token)).await.unwrap();
    assert!(stream.driving());
    assert_eq!(fleet.controls.release(handle(&fleet, second.fence), true).await.unwrap(), "");
    assert!(!stream.driving());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_drives_what_is_not_loaded_or_trains_alone() {
    let waiting = Fleet::start(Wish { phase: Phase::Starting, ..Wish::default() }).await;
    let refused = waiting.controls.take(take(&waiting, "anna", false)).await.unwrap_err().to_string();
    assert!(refused.contains("STARTING"), "{refused}");
    let early = sit(&waiting, "anna").await;
    assert!(!early.driving());
    waiting.advance(Phase::Ready).await;
    until("whoever waits drives once the scene is there", || early.driving()).await;

    let training = Fleet::start(Wish { mode: Mode::Training, ..Wish::default() }).await;
    let refused = training.controls.take(take(&training, "anna", false)).await.unwrap_err().to_string();
    assert!(refused.contains("trains without people"), "{refused}");
    let nobody = fleet_error(training.controls.take(take(&training, "", false)).await);
    assert!(nobody.starts_with("user has 0 bytes"), "{nobody}");
    let long =
        training.controls.take(take(&training, &"a".repeat(129), false)).await.unwrap_err().to_string();
    assert!(long.starts_with("user has 129 bytes; expected 1 to 128"), "{long}");
    let odd = training.controls.take(take(&training, "an\nna", false)).await.unwrap_err().to_string();
    assert!(odd.starts_with("user holds control characters"), "{odd}");
}

fn fleet_error<T: std::fmt::Debug>(result: Result<T, FleetError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_hybrid_session_a_person_takes_over_and_gives_back() {
    let fleet = Fleet::start(Wish { mode: Mode::Hybrid, ..Wish::default() }).await;
    let person = sit(&fleet, "anna").await;
    assert!(!person.driving());
    let refused = person.send(drive(1.0)).await.unwrap_err().to_string();
    assert!(refused.contains("the policy drives"), "{refused}");
    person.send(ToRobot::Mode { mode: "manual".into() }).await.unwrap();
    person.send(drive(1.0)).await.unwrap();
    until("the command", || driven(&fleet.simulator().commands()) == [1.0]).await;
    person.send(ToRobot::Mode { mode: "ai".into() }).await.unwrap();
    let told = [(Controller::Human, "anna".to_owned()), (Controller::Policy, String::new())];
    assert_eq!(fleet.simulator().controllers(), told);
    assert!(person.send(drive(1.0)).await.is_err());
    // The robot was told to stand still before the trainer went on.
    until("a stop", || fleet.simulator().commands().last() == Some(&drive(0.0))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_took_over_a_hybrid_session_comes_back_to_the_same_lease() {
    let fleet = Fleet::start(Wish { mode: Mode::Hybrid, ..Wish::default() }).await;
    let lease = fleet.controls.take(take(&fleet, "anna", false)).await.unwrap();
    let claims = fleet.controls.verify(&lease.token, &fleet.session).unwrap();
    let who = Who::with_token(&claims, &lease.token);
    for _ in 0..2 {
        let stream = fleet.controls.robot(&fleet.session, None, who.clone()).await.unwrap();
        assert!(stream.driving());
        assert_eq!(stream.lease().fence.0, lease.fence as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_orchestrator_adopts_the_lease_and_its_person() {
    let fleet = Fleet::manual().await;
    let driver = sit(&fleet, "anna").await;
    let fence = driver.lease().fence;
    fleet.controls.shutdown().await;
    assert!(driver.lease().ended && !driver.driving());
    let closed = fleet_error(fleet.controls.robot(&fleet.session, None, Who::named("b")).await);
    assert!(closed.contains("stopping"), "{closed}");
    let next = fleet.another_controls();
    let other = next.robot(&fleet.session, None, Who::named("bert")).await.unwrap();
    assert!(!other.driving());
    let token = fleet.controls.issue(&fleet.session, "anna", false).unwrap();
    let claims = next.verify(&token, &fleet.session).unwrap();
    let again = next.robot(&fleet.session, None, Who::with_token(&claims, &token)).await.unwrap();
    assert!(again.driving());
    assert_eq!(again.lease().fence, fence);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_so_many_connections_and_no_more() {
    let settings = settings::Control { max_connections: 2, ..settings::Control::default() };
    let fleet = Fleet::start(Wish { settings, ..Wish::default() }).await;
    let held = [sit(&fleet, "a").await, sit(&fleet, "b").await];
    assert_eq!(fleet.controls.presence(&fleet.session).connections, 2);
    let full = fleet_error(fleet.controls.robot(&fleet.session, None, Who::named("c")).await);
    assert!(full.contains("2 control connections"), "{full}");
    drop(held);
    assert_eq!(fleet.controls.presence(&fleet.session).connections, 0);
    fleet.controls.robot(&fleet.session, None, Who::named("c")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_session_ends_everybody_hears_of_it_and_nobody_comes_in() {
    let fleet = Fleet::manual().await;
    let driver = sit(&fleet, "anna").await;
    let mut ears = driver.listen();
    fleet.close().await;
    let ended = tokio::time::timeout(Duration::from_secs(3), async { while ears.next().await.is_some() {} });
    ended.await.unwrap();
    assert!(driver.send(drive(1.0)).await.is_err());
    let over = fleet_error(fleet.controls.robot(&fleet.session, None, Who::named("b")).await);
    assert!(over.contains("is over: STOPPED"), "{over}");
}

#[derive(Debug, Clone)]
enum Move {
    Sit(usize),
    Leave(usize, bool),
    Command(usize),
    Force(usize),
    GiveBack(usize),
    Lose,
    Wait,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        2 => (0_usize..3).prop_map(Move::Sit),
        1 => ((0_usize..3), any::<bool>()).prop_map(|(who, bye)| Move::Leave(who, bye)),
        4 => (0_usize..3).prop_map(Move::Command),
        1 => (0_usize..3).prop_map(Move::Force),
        1 => (0_usize..3).prop_map(Move::GiveBack),
        1 => Just(Move::Lose),
        1 => Just(Move::Wait),
    ];
    prop::collection::vec(one, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, ..ProptestConfig::default() })]

    /// Whatever people do: at most one of them drives, the published fence never falls, every command that was accepted
    /// was accepted from the driver of that moment, and the robot never acts on an older lease after a newer one.
    #[test]
    fn there_are_never_two_drivers(moves in moves()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async move {
            let fleet = Fleet::manual().await;
            let names = ["anna", "bert", "cleo"];
            let mut seats: [Option<RobotStream>; 3] = [None, None, None];
            let mut fence = Fence(0);
            let mut accepted: Vec<(Fence, f64)> = Vec::new();
            let mut number = 0.0;
            for step in moves {
                match step {
                    Move::Sit(who) => seats[who] = Some(sit(&fleet, names[who]).await),
                    Move::Leave(who, goodbye) => {
                        if let Some(seat) = seats[who].take() {
                            if goodbye { seat.leave() } else { drop(seat) }
                        }
                    }
                    Move::Command(who) => {
                        if let Some(seat) = &seats[who] {
                            number += 1.0;
                            if seat.send(drive(number)).await.is_ok() {
                                accepted.push((seat.lease().fence, number));
                            }
                        }
                    }
                    Move::Force(who) => {
                        if let Some(seat) = &seats[who] {
                            seat.take(true, None).await.unwrap();
                        }
                    }
                    Move::GiveBack(who) => {
                        if let Some(seat) = &seats[who] {
                            let drove = seat.driving();
                            prop_assert_eq!(seat.give_back(true).await.is_ok(), drove);
                        }
                    }
                    Move::Lose => fleet.simulator().cut(),
                    Move::Wait => tokio::time::sleep(Duration::from_millis(60)).await,
                }
                let driving = seats.iter().flatten().filter(|seat| seat.driving()).count();
                prop_assert!(driving <= 1, "{driving} drive at once");
                if let Some(seat) = seats.iter().flatten().next() {
                    let now = seat.lease().fence;
                    prop_assert!(now >= fence, "the fence fell from {fence} to {now}");
                    fence = now;
                }
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            let done = driven(&fleet.simulator().commands());
            let fence_of = |x: &f64| accepted.iter().find(|(_, number)| number == x).map(|(fence, _)| *fence);
            let fences: Vec<_> = done.iter().map(fence_of).collect();
            prop_assert!(fences.iter().all(Option::is_some), "a command that nobody was allowed: {done:?}");
            prop_assert!(fences.is_sorted(), "an older lease after a newer one: {fences:?}");
            prop_assert!(done.is_sorted(), "out of order: {done:?}");
            Ok(())
        })?;
    }
}

#[test]
fn a_watcher_never_drives() {
    let who = Who::named("anna").watching();
    assert!(!who.may_drive);
    let (seat, life) = crate::fleet::control::seat::Seat::new(who, true);
    assert!(life.wants.load(Ordering::Relaxed) && !seat.wants());
}
