use std::time::Duration;

use super::{Phase, Said, Simulator, SimulatorError};
use crate::instance::contract::{
    FromRobot, Load, Scene, ScenePatch, SetController, Start, Step, ToRobot, Velocity,
};
use crate::scene::shelf::Shelf;

fn simulator() -> Simulator {
    Simulator::start(Shelf::default()).unwrap()
}

fn under(fence: u64) -> Load {
    Load { fence, ..Load::default() }
}

fn push(x: f64) -> ToRobot {
    ToRobot::RobotControl { velocity: Velocity { x, ..Velocity::default() } }
}

#[tokio::test]
async fn every_write_under_a_lower_fence_is_stale_and_changes_nothing() {
    let simulator = simulator();
    simulator.load("a", under(5)).await.unwrap();
    let stale = Err(SimulatorError::Stale { given: 4, highest: 5 });
    assert_eq!(simulator.load("b", under(4)).await.map(drop), stale);
    assert_eq!(simulator.run("a", Start { fence: 4, ..Start::default() }).await, stale);
    assert_eq!(simulator.pause("a", 4).await, stale);
    assert_eq!(simulator.stop("a", 4).await, stale);
    assert_eq!(simulator.delete("a", 4).await, stale);
    assert_eq!(simulator.clear(4).await, stale);
    let patch = ScenePatch { fence: 4, ..ScenePatch::default() };
    assert_eq!(simulator.change("a", patch).await.map(drop), stale);
    let human = SetController { fence: 4, controller: "human".into(), user: String::new() };
    assert_eq!(simulator.drive("a", human).await, stale);
    assert_eq!(simulator.command("a", 4, push(1.0)).await, stale);
    let vitals = simulator.vitals().borrow().clone();
    assert_eq!((vitals.session.as_str(), vitals.fence, vitals.phase), ("a", 5, Phase::Loaded));
}

#[tokio::test]
async fn the_same_load_again_leaves_a_running_session_running() {
    let simulator = simulator();
    simulator.load("a", under(1)).await.unwrap();
    simulator.run("a", Start { fence: 1, ..Start::default() }).await.unwrap();
    simulator.load("a", under(1)).await.unwrap();
    assert_eq!(simulator.vitals().borrow().phase, Phase::Running);
    let other = simulator.load("b", under(1)).await.unwrap_err();
    assert!(matches!(&other, SimulatorError::WrongPhase(why) if why.contains("\"a\"")), "{other}");
}

#[tokio::test]
async fn an_order_of_a_higher_fence_waits_for_its_load() {
    let simulator = simulator();
    simulator.load("a", under(1)).await.unwrap();
    let early = simulator.run("a", Start { fence: 2, ..Start::default() }).await.unwrap_err();
    assert!(matches!(&early, SimulatorError::WrongPhase(why) if why.contains("load the scene")), "{early}");
    assert!(matches!(simulator.pause("a", 1).await, Err(SimulatorError::Stale { .. })), "fence 2 was seen");
    simulator.load("a", under(2)).await.unwrap();
    simulator.run("a", Start { fence: 2, ..Start::default() }).await.unwrap();
}

#[tokio::test]
async fn what_makes_no_sense_in_a_scene_is_refused_and_what_ran_before_still_runs() {
    let simulator = simulator();
    simulator.load("a", under(1)).await.unwrap();
    let scene = Scene { environment: "the moon".into(), ..Scene::default() };
    let refused = simulator.load("b", Load { fence: 2, scene_config: scene, ..Load::default() }).await;
    assert!(refused.unwrap_err().to_string().contains("the moon"));
    assert_eq!(simulator.vitals().borrow().session, "a");
    for scale in [-1.0, f64::NAN, 1e9] {
        let start = Start { fence: 1, time_scale: scale, real_time: false };
        assert!(simulator.run("a", start).await.unwrap_err().to_string().contains("time_scale"));
    }
}

#[tokio::test]
async fn steps_wait_while_time_is_paused_and_are_refused_once_stopped() {
    let simulator = simulator();
    assert!(simulator.step(vec![1.0]).await.unwrap_err().to_string().contains("no session"));
    simulator.load("a", under(1)).await.unwrap();
    simulator.reset(Some(1)).await.unwrap();
    simulator.run("a", Start { fence: 1, ..Start::default() }).await.unwrap();
    assert_eq!(simulator.step(vec![1.0]).await.unwrap().controller, "trainer");
    simulator.stop("a", 1).await.unwrap();
    assert!(simulator.step(vec![1.0]).await.unwrap_err().to_string().contains("stopped"));
}

#[tokio::test]
async fn simulated_time_follows_the_scale_and_stands_while_paused() {
    let simulator = simulator();
    simulator.load("a", under(1)).await.unwrap();
    let start = Start { fence: 1, real_time: true, time_scale: 10.0 };
    simulator.run("a", start).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    simulator.pause("a", 1).await.unwrap();
    let then = simulator.vitals().borrow().sim_ns;
    assert!((2_000_000_000..15_000_000_000).contains(&then), "{then} ns in half a second at tenfold speed");
    tokio::time::sleep(Duration::from_millis(200)).await;
    simulator.pause("a", 1).await.unwrap();
    assert_eq!(simulator.vitals().borrow().sim_ns, then);
}

/// The steps that a watcher hears of while the robot is driven like this.
async fn driven(velocity: Velocity) -> Vec<Step> {
    let simulator = simulator();
    simulator.load("a", under(1)).await.unwrap();
    simulator.run("a", Start { fence: 1, ..Start::default() }).await.unwrap();
    let human = SetController { fence: 1, controller: "human".into(), user: "ada".into() };
    simulator.drive("a", human).await.unwrap();
    let mut said = simulator.listen();
    simulator.command("a", 1, ToRobot::RobotControl { velocity }).await.unwrap();
    let mut steps = Vec::new();
    while steps.len() < 5 {
        let message = tokio::time::timeout(Duration::from_secs(30), said.recv()).await.unwrap().unwrap();
        if let Said::Robot(FromRobot::Step(step)) = message.said {
            steps.push(step);
        }
    }
    steps
}

#[tokio::test]
async fn what_a_person_does_is_told_step_by_step_on_the_rail_and_off_it() {
    let pushed = driven(Velocity { x: 0.5, ..Velocity::default() }).await;
    assert!(pushed.iter().all(|step| step.action == [1.0] && step.controller == "human"), "{pushed:?}");
    let lifted = driven(Velocity { z: 0.1, ..Velocity::default() }).await;
    for step in &lifted {
        let [x, y, z, roll, pitch, yaw, gripper] = step.action[..] else { panic!("{step:?}") };
        // 0.1 m/s for a fiftieth of a second, upwards.
        assert!((z - 0.002).abs() < 2e-4, "{step:?}");
        assert!([x, y, roll, pitch, yaw].iter().all(|other| other.abs() < 2e-4), "{step:?}");
        assert_eq!((gripper, step.controller.as_str()), (0.0, "human"));
    }
}
