//! Snapshots.

use std::path::Path;

use super::{Home, manual, train_request, until};
use crate::fleet::access::Identity;
use crate::fleet::error::FleetError;
use crate::fleet::ids::SessionId;
use crate::fleet::request::{RestoreSnapshot, SaveSnapshot, SceneChange};
use crate::fleet::rows::Phase;
use crate::fleet::snapshot::manifest::Manifest;
use crate::proto::neuro::common::GrpcObstacle;

fn save(session: &SessionId, base: &str) -> SaveSnapshot {
    SaveSnapshot {
        session: session.clone(),
        base_path: base.to_owned(),
        checkpoint: true,
        metadata: [("why".to_owned(), "a test".to_owned())].into(),
    }
}

fn restore(session: &SessionId, id: &str) -> RestoreSnapshot {
    RestoreSnapshot {
        session: session.clone(),
        snapshot_id: id.to_owned(),
        path: String::new(),
        checkpoint: true,
        caller: Identity::anyone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_holds_every_file_and_is_restored_into_the_running_session() {
    let mut home = Home::new(2, 1).await;
    let id = home.fleet.create(train_request("s-1", 2)).await.unwrap().row.id;
    let row = home.fleet.save_snapshot(save(&id, "nightly")).await.unwrap();
    let folder = Path::new(&row.path);
    assert!(folder.starts_with(home.path().join("snapshots/nightly/s-1")), "{}", row.path);
    let manifest = Manifest::read(folder).unwrap();
    assert_eq!(manifest.scenes.len(), 2);
    assert_eq!(manifest.checkpoint.len(), 1);
    assert_eq!(row.size_bytes, manifest.size_bytes());
    assert_eq!(manifest.metadata["why"], "a test");

    let view = home.fleet.restore_snapshot(restore(&id, "")).await.unwrap();
    assert_eq!(view.row.phase, Phase::Running);
    assert_eq!(home.sim(&id, 1).count("restore"), 1);
    assert!(home.trainer(&id).work().unwrap().restore_from.starts_with(&format!("file://{}", row.path)));

    std::fs::write(folder.join("scene-1.json"), "something else").unwrap();
    let error = home.fleet.restore_snapshot(restore(&id, &row.id)).await.unwrap_err();
    assert!(error.to_string().contains("scene-1.json"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ended_is_made_again_from_its_snapshot() {
    let mut home = Home::new(2, 1).await;
    let id = home.fleet.create(train_request("s-1", 2)).await.unwrap().row.id;
    let change = SceneChange { add: vec![GrpcObstacle::default()], ..Default::default() };
    home.fleet.update_scene(&id, change).await.unwrap();
    let row = home.fleet.save_snapshot(save(&id, "")).await.unwrap();
    home.fleet.stop(&id, true).await.unwrap();
    until("everything is free", || home.held() == 0).await;
    let seq = home.fleet.peek(&id).unwrap().row.last_seq;

    let view = home.fleet.restore_snapshot(restore(&id, &row.id)).await.unwrap();
    assert_eq!((view.row.phase, view.simulators.len()), (Phase::Running, 2));
    assert!(view.row.last_seq > seq, "its log goes on");
    assert!(home.sim(&id, 0).orders().ends_with(&["load", "update", "restore", "start"]));
    assert!(home.trainer(&id).work().unwrap().restore_from.contains(&row.id));

    home.fleet.stop(&id, true).await.unwrap();
    let other: SessionId = "s-2".parse().unwrap();
    let mut by_path = restore(&other, "");
    by_path.path.clone_from(&row.path);
    by_path.checkpoint = false;
    let view = home.fleet.restore_snapshot(by_path).await.unwrap();
    assert_eq!(view.row.id, other);
    assert_eq!(home.trainer(&other).work().unwrap().restore_from, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_of_requests_stay_inside_and_unknown_snapshots_are_not_found() {
    let home = Home::new(1, 0).await;
    let id = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    for base in ["../elsewhere", "/tmp", "omniverse://nobody/x"] {
        let error = home.fleet.save_snapshot(save(&id, base)).await.unwrap_err();
        assert!(
            matches!(error, FleetError::Invalid { ref field, .. } if field == "nucleus_base_path"),
            "{error}"
        );
    }
    for wanted in ["", "4b1c5a4e-0000-4000-8000-000000000000"] {
        let error = home.fleet.restore_snapshot(restore(&id, wanted)).await.unwrap_err();
        assert!(matches!(error, FleetError::NotFound { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_save_leaves_no_half_snapshot() {
    let home = Home::new(1, 0).await;
    let id = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    home.sims[0].refuse(|ask| matches!(ask, crate::fleet::link::Ask::Snapshot(_)), "no room");
    let error = home.fleet.save_snapshot(save(&id, "")).await.unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
    let left = std::fs::read_dir(home.path().join("snapshots/s-1")).unwrap().count();
    assert_eq!(left, 0);
}
