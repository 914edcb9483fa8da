use std::fs;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::fleet::{Fleet, PICTURE, Wish, until};
use crate::fleet::control::Who;
use crate::fleet::request::{ControlHandle, TakeControl};
use crate::fleet::spec::Mode;
use crate::instance::contract::{ToRobot, Velocity};
use crate::instance::demonstration::{Line, Meta};

async fn hybrid() -> Fleet {
    Fleet::start(Wish { mode: Mode::Hybrid, human_demo: true, ..Wish::default() }).await
}

fn recorded(fleet: &Fleet) -> Vec<crate::proto::neuro::ext::Demonstration> {
    fleet.books.read(|tables| tables.demonstrations.values().map(|row| row.demonstration.clone()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_does_is_kept_with_its_pictures_and_entered_in_the_books() {
    let fleet = hybrid().await;
    let stream = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    stream.take(false, None).await.unwrap();
    assert!(stream.lease().recording);
    let line = stream.line();
    until("the line", || line.borrow().open).await;
    let command = ToRobot::RobotControl { velocity: Velocity { x: 0.25, ..Velocity::default() } };
    stream.send(command.clone()).await.unwrap();
    fleet.simulator().step(0, "trainer");
    for number in 1..=20 {
        fleet.simulator().step(number, "human");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let id = stream.give_back(true).await.unwrap();
    assert!(!stream.lease().recording);

    let rows = recorded(&fleet);
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.id.as_str(), row.user.as_str(), row.steps), (id.as_str(), "anna", 20));
    assert!((row.total_reward - 20.0).abs() < 1e-9);
    let folder = fleet.folder.path().join("demonstrations").join(fleet.session.as_str()).join(&id);
    assert_eq!(row.uri, format!("file://{}", folder.display()));
    let steps = fs::read(folder.join("steps.jsonl")).unwrap();
    assert_eq!(row.sha256, format!("{:x}", Sha256::digest(&steps)));
    let meta: Meta = serde_json::from_slice(&fs::read(folder.join("meta.json")).unwrap()).unwrap();
    assert_eq!((meta.steps, meta.steps_sha256.as_str()), (20, row.sha256.as_str()));
    assert_eq!((meta.user.as_str(), meta.instruction.as_str()), ("anna", "stand still"));
    assert!(meta.ended_at_ms >= meta.started_at_ms + 150);
    let lines: Vec<Line> = std::str::from_utf8(&steps)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().zip(1..).all(|(line, number)| line.step.observation[0] == f64::from(number)));
    assert!(
        lines.iter().all(|line| line.step.controller == "human" && line.command == Some(command.clone()))
    );
    let pictured = lines.iter().find(|line| !line.frame.is_empty()).expect("a picture");
    assert_eq!(fs::read(folder.join(&pictured.frame)).unwrap(), PICTURE);
    assert!(!folder.with_extension("partial").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_without_a_step_leaves_nothing_behind() {
    let fleet = hybrid().await;
    let stream = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    stream.take(false, None).await.unwrap();
    assert_eq!(stream.give_back(true).await.unwrap(), "");
    assert!(recorded(&fleet).is_empty());
    assert!(!fleet.folder.path().join("demonstrations").join(fleet.session.as_str()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_from_the_api_records_though_no_page_is_open() {
    let fleet = Fleet::manual().await;
    let take = TakeControl {
        session: fleet.session.clone(),
        instance: None,
        user: "anna".to_owned(),
        ttl: Duration::from_secs(30),
        force: false,
        record: true,
    };
    let lease = fleet.controls.take(take).await.unwrap();
    until("the line for the recording", || !fleet.simulator().seen.lock().unwrap().fences.is_empty()).await;
    until("a step", || {
        fleet.simulator().step(1, "human");
        fs::read_dir(fleet.folder.path().join("demonstrations").join(fleet.session.as_str())).is_ok()
    })
    .await;
    let fence = crate::fleet::ids::Fence(lease.fence as u64);
    let handle = ControlHandle { session: fleet.session.clone(), instance: None, fence };
    let id = fleet.controls.release(handle, true).await.unwrap();
    assert_eq!(recorded(&fleet)[0].id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_ends_the_recording_and_not_the_drive() {
    let fleet = hybrid().await;
    // Where the folder would be, there is a file.
    fs::write(fleet.folder.path().join("demonstrations"), "in the way").unwrap();
    let stream = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    stream.take(false, None).await.unwrap();
    let line = stream.line();
    until("the line", || line.borrow().open).await;
    until("the recording is over", || {
        fleet.simulator().step(1, "human");
        !stream.lease().recording
    })
    .await;
    assert!(stream.driving());
    let mut said = String::new();
    for _ in 0..200 {
        said = format!("{:?}", fleet.books.events(&fleet.session, 0, 100).await.unwrap());
        if said.contains("recording failed") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(said.contains("recording failed") && said.contains("demonstrations"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_recorded_when_the_session_or_the_orchestrator_ends_is_kept() {
    for shutdown in [false, true] {
        let fleet = hybrid().await;
        let stream = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
        stream.take(false, None).await.unwrap();
        let line = stream.line();
        until("the line", || line.borrow().open).await;
        let mut ears = stream.listen();
        for number in 1..=5 {
            fleet.simulator().step(number, "human");
            ears.next().await.unwrap();
        }
        if shutdown {
            fleet.controls.shutdown().await;
        } else {
            fleet.close().await;
        }
        until("the demonstration", || recorded(&fleet).len() == 1).await;
        assert_eq!(recorded(&fleet)[0].steps, 5);
    }
}
