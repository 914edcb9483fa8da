//! Trainers report, finish and are stopped.

use futures_util::StreamExt;

use super::{Home, train_request, until};
use crate::fleet::event::EventKind;
use crate::fleet::ids::SessionId;
use crate::fleet::ledger::Command;
use crate::fleet::request::SaveSnapshot;
use crate::fleet::rows::{DemonstrationRow, Phase};
use crate::proto::neuro::ext::{self, instance_message::M};

fn end(success: bool) -> ext::TrainingEnd {
    ext::TrainingEnd {
        success,
        error: if success { String::new() } else { "the loss is not a number".to_owned() },
        final_reward: 480.5,
        checkpoint_uri: "file:///somewhere".to_owned(),
        ..ext::TrainingEnd::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_in_the_log_and_in_the_view_and_the_end_frees_everything() {
    let mut home = Home::new(2, 1).await;
    let id = home.fleet.create(train_request("s-1", 2)).await.unwrap().row.id;
    let events = home.fleet.watch(&id, 0).unwrap();
    let trainer = home.trainer(&id);
    trainer.say(M::Progress(ext::Progress { episode: 7, average_reward: 33.0, ..Default::default() }));
    until("progress is seen", || home.fleet.peek(&id).is_ok_and(|view| view.progress.is_some())).await;
    home.trainer(&id).say(M::TrainingEnd(end(true)));
    until("it completed", || home.phase(&id) == Phase::Completed).await;
    assert_eq!(home.held(), 0);
    let kinds: Vec<_> = events.map(|row| row.unwrap().kind).collect().await;
    assert!(kinds.iter().any(|kind| matches!(kind, EventKind::Progress(progress) if progress.episode == 7)));
    assert!(kinds.iter().any(|kind| matches!(kind, EventKind::TrainingEnd(end) if end.success)));
    home.restart().await;
    let view = home.fleet.session(&id).unwrap();
    assert_eq!(view.training_end, Some(end(true)), "the result stays");
    assert_eq!(view.progress.unwrap().episode, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cleaning_up_removes_checkpoints_and_leaves_those_that_an_end_of_training_told_of() {
    let mut home = Home::new(2, 2).await;
    let folder = |home: &mut Home, id: &SessionId| {
        let uri = home.trainer(id).work().unwrap().checkpoint_uri;
        let run = std::path::PathBuf::from(uri.strip_prefix("file://").unwrap());
        std::fs::write(run.join("checkpoint-1"), "weights").unwrap();
        run.parent().unwrap().to_owned()
    };
    let cleaned = home.fleet.create(train_request("cleaned", 1)).await.unwrap().row.id;
    let checkpoints = folder(&mut home, &cleaned);
    home.fleet.stop(&cleaned, true).await.unwrap();
    assert!(!checkpoints.exists());

    let later = home.fleet.create(train_request("later", 1)).await.unwrap().row.id;
    let checkpoints = folder(&mut home, &later);
    home.fleet.stop(&later, false).await.unwrap();
    until("it ended", || home.phase(&later) == Phase::Stopped).await;
    assert!(checkpoints.join("run-1/checkpoint-9").exists(), "it was asked to keep what it had");
    home.fleet.stop(&later, true).await.unwrap();
    assert!(!checkpoints.exists());

    let told = home.fleet.create(train_request("told", 1)).await.unwrap().row.id;
    let kept = home.fleet.stop_training(&told, true).await.unwrap();
    home.fleet.stop(&told, true).await.unwrap();
    assert!(std::path::Path::new(kept.strip_prefix("file://").unwrap()).is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_forgotten_takes_its_checkpoints_along_and_leaves_its_snapshots_and_demonstrations()
{
    let home = Home::with(1, 1, |settings| settings.sessions.keep_ended_s = 0.1).await;
    let id = home.fleet.create(train_request("s-1", 1)).await.unwrap().row.id;
    let save =
        SaveSnapshot { session: id.clone(), base_path: String::new(), checkpoint: true, metadata: [].into() };
    let snapshot = home.fleet.save_snapshot(save).await.unwrap();
    let kept = home.fleet.stop_training(&id, true).await.unwrap();
    let kept = std::path::PathBuf::from(kept.strip_prefix("file://").unwrap());
    let (here, gone) = (demonstrate(&home, &id, "here").await, demonstrate(&home, &id, "gone").await);
    let listed = |home: &Home| {
        let rows = home.fleet.demonstrations(&id).unwrap();
        rows.into_iter().map(|row| row.demonstration.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(&home), ["gone", "here"]);
    std::fs::remove_dir_all(&gone).unwrap();
    assert_eq!(listed(&home), ["here"]);
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    home.fleet.prune().await;
    assert!(home.fleet.peek(&id).is_err());
    assert!(!kept.exists() && !home.path().join("checkpoints/s-1").exists());
    assert!(std::path::Path::new(&snapshot.path).join("checkpoint/weights").is_file());
    assert!(here.join("meta.json").is_file());
    let rows: Vec<_> = home.fleet.books().read(|tables| tables.demonstrations.keys().cloned().collect());
    assert_eq!(rows, ["here"]);

    let mut again = train_request("s-1", 1);
    again.options.owner = "eve".to_owned();
    home.fleet.create(again).await.unwrap();
    assert!(listed(&home).is_empty(), "they are the former owner's");
}

/// A demonstration in the books and on the disk.
async fn demonstrate(home: &Home, session: &SessionId, id: &str) -> std::path::PathBuf {
    let folder = home.path().join("demonstrations").join(session.as_str()).join(id);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("meta.json"), "{}").unwrap();
    let uri = format!("file://{}", folder.display());
    let demonstration = ext::Demonstration { id: id.to_owned(), uri, ..ext::Demonstration::default() };
    let row = DemonstrationRow { session: session.clone(), owner: "default".to_owned(), demonstration };
    home.fleet.books().apply(Command::AddDemonstration(row)).await.unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_training_that_fails_says_why() {
    let mut home = Home::new(1, 1).await;
    let id = home.fleet.create(train_request("s-1", 1)).await.unwrap().row.id;
    home.trainer(&id).say(M::TrainingEnd(end(false)));
    until("it failed", || home.phase(&id) == Phase::Failed).await;
    assert!(home.fleet.peek(&id).unwrap().row.reason.contains("the loss is not a number"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_a_training_keeps_a_checkpoint_and_ends_the_session() {
    let home = Home::new(1, 1).await;
    let id = home.fleet.create(train_request("s-1", 1)).await.unwrap().row.id;
    let kept = home.fleet.stop_training(&id, true).await.unwrap();
    let path = kept.strip_prefix("file://").unwrap();
    assert!(std::path::Path::new(path).is_file());
    assert_eq!(home.phase(&id), Phase::Stopped);
    assert_eq!(home.held(), 0);
    assert_eq!(home.fleet.stop_training(&id, true).await.unwrap(), kept, "asked again, the same answer");
}
