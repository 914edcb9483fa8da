//! Trainers report, finish and are stopped.

use futures_util::StreamExt;

use super::{Home, train_request, until};
use crate::fleet::event::EventKind;
use crate::fleet::rows::Phase;
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
