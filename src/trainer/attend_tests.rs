//! A trainer in a pool, against an orchestrator's end that is real gRPC.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use prost::Message;
use tokio::task::JoinHandle;

use super::Checkpoint;
use super::attend::Desk;
use crate::instance::attach::office::{Office, Visit, open};
use crate::instance::attach::{AttachOptions, attach};
use crate::instance::step::cart::serve;
use crate::proto::neuro::ext::instance_message::M;
use crate::proto::neuro::ext::order::O;
use crate::proto::neuro::ext::{self, Order};
use crate::proto::neuro::orchestrator::GrpcTrainingConfig;

async fn employed() -> (Office, Visit, JoinHandle<String>) {
    let mut office = open("127.0.0.1:0").await;
    let attachment = attach(AttachOptions {
        orchestrator: format!("http://{}", office.address),
        key: None,
        ca_pem: None,
        hello: ext::Hello::default(),
        pulse: Arc::new(ext::Heartbeat::default),
    });
    let mut desk = Desk::new(attachment.unwrap());
    let working = tokio::spawn(async move { desk.work().await });
    let visit = office.visit().await;
    (office, visit, working)
}

impl Visit {
    async fn told(&mut self, order_id: i64, fence: i64, o: O) -> Result<ext::OrderResult, String> {
        self.orders.send(Ok(Order { order_id, fence, o: Some(o) })).await.unwrap();
        let M::Result(result) =
            self.next(|m| matches!(m, M::Result(result) if result.order_id == order_id)).await
        else {
            panic!("no result")
        };
        if result.ok { Ok(result) } else { Err(result.error) }
    }

    async fn progress(&mut self) -> ext::Progress {
        match self.next(|m| matches!(m, M::Progress(_))).await {
            M::Progress(progress) => progress,
            other => panic!("{other:?}"),
        }
    }
}

fn train(endpoints: Vec<String>, given: &[(&str, &str)], folder: &tempfile::TempDir) -> ext::Train {
    let hyperparameters = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ext::Train {
        training_config: GrpcTrainingConfig { hyperparameters, ..Default::default() }.encode_to_vec(),
        zmq_endpoints: endpoints,
        session_id: "s-1".to_owned(),
        checkpoint_uri: format!("file://{}", folder.path().display()),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_training_session_from_its_order_to_its_end() {
    let (carts, folder) = ([serve(1).await, serve(2).await], tempfile::tempdir().unwrap());
    let (_office, mut visit, working) = employed().await;
    let endpoints = carts.iter().map(|(server, _)| server.endpoint().to_owned()).collect();
    let order = train(endpoints, &[("horizon", "32"), ("total_steps", "6000")], &folder);
    visit.told(1, 5, O::Train(order.clone())).await.unwrap();
    visit.next(|m| matches!(m, M::Heartbeat(beat) if beat.session_id == "s-1")).await;
    let progress = visit.progress().await;
    assert!(progress.steps >= 64 && progress.metrics["rtt_us_p50"] > 0.0, "{progress:?}");

    visit.told(2, 5, O::Train(order)).await.unwrap();
    assert!(visit.progress().await.steps > progress.steps, "the same order again changes nothing");
    let (other, knobs) = serve(3).await;
    let replace = ext::ReplaceEnv { index: 1, zmq_endpoint: other.endpoint().to_owned() };
    visit.told(3, 5, O::ReplaceEnv(replace)).await.unwrap();
    let uri = format!("file://{}/snap", folder.path().display());
    let saved = visit.told(4, 5, O::Snapshot(ext::Snapshot { uri, checkpoint: true })).await.unwrap().data;
    let path = super::local_path(&saved["uri"]).unwrap();
    assert_eq!(saved["size_bytes"], std::fs::metadata(&path).unwrap().len().to_string());
    assert_eq!((saved["sha256"].len(), Checkpoint::read(&path).is_ok()), (64, true));
    let wrong = visit.told(5, 5, O::LearnFrom(ext::LearnFrom { uri: "/none".to_owned() })).await.unwrap_err();
    assert!(wrong.contains("/none"), "{wrong}");

    let M::TrainingEnd(end) = visit.next(|m| matches!(m, M::TrainingEnd(_))).await else { panic!() };
    assert!(end.success && end.model_uri.ends_with("model.safetensors"), "{end:?}");
    assert!(knobs.steps.load(std::sync::atomic::Ordering::Relaxed) > 0, "the replacement was used");
    let stopped = visit.told(6, 5, O::Stop(ext::Stop::default())).await.unwrap();
    assert_eq!(stopped.data["checkpoint_uri"], end.checkpoint_uri);
    visit.next(|m| matches!(m, M::Heartbeat(beat) if beat.session_id.is_empty())).await;
    visit
        .orders
        .send(Ok(Order {
            order_id: 7,
            fence: 0,
            o: Some(O::Terminate(ext::Terminate { reason: "drained".to_owned() })),
        }))
        .await
        .unwrap();
    assert_eq!(working.await.unwrap(), "drained");
}

#[tokio::test]
async fn a_stopped_run_leaves_a_checkpoint_that_the_next_order_goes_on_from() {
    let (cart, folder) = (serve(1).await, tempfile::tempdir().unwrap());
    let (_office, mut visit, _working) = employed().await;
    let mut order = train(vec![cart.0.endpoint().to_owned()], &[("horizon", "64")], &folder);
    visit.told(1, 5, O::Train(order.clone())).await.unwrap();
    visit.progress().await;
    let stopped = visit.told(2, 5, O::Stop(ext::Stop::default())).await.unwrap();
    let kept = Checkpoint::read(&super::local_path(&stopped.data["checkpoint_uri"]).unwrap()).unwrap();
    order.restore_from = order.checkpoint_uri.clone();
    visit.told(3, 6, O::Train(order)).await.unwrap();
    assert!(visit.progress().await.steps as u64 >= kept.counters.steps + 64);
}

#[tokio::test]
async fn orders_that_cannot_be_carried_out_are_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (_office, mut visit, _working) = employed().await;
    let order = train(vec!["tcp://127.0.0.1:1".to_owned()], &[("learning", "1")], &folder);
    let wrong = visit.told(1, 5, O::Train(order)).await.unwrap_err();
    assert!(wrong.contains("hyperparameter \"learning\" is not known"), "{wrong}");
    let stale = visit.told(2, 4, O::Stop(ext::Stop::default())).await.unwrap_err();
    assert_eq!(stale, "fence 4 is stale: 5 was seen");
    let scene = visit.told(3, 5, O::Load(ext::LoadScene::default())).await.unwrap_err();
    assert_eq!(scene, "a trainer has no scene");
    assert!(visit.told(4, 5, O::Snapshot(ext::Snapshot::default())).await.is_err());
    visit.told(5, 5, O::Stop(ext::Stop { cleanup: true, grace_ms: 0 })).await.unwrap();
}

#[tokio::test]
async fn a_pause_right_behind_the_order_to_train_is_obeyed_before_the_first_update() {
    let (cart, folder) = (serve(1).await, tempfile::tempdir().unwrap());
    let (_office, mut visit, _working) = employed().await;
    let order = train(vec![cart.0.endpoint().to_owned()], &[("horizon", "2048")], &folder);
    let together = [(1, O::Train(order)), (2, O::Pause(ext::Pause {}))];
    for (order_id, o) in together {
        visit.orders.send(Ok(Order { order_id, fence: 5, o: Some(o) })).await.unwrap();
    }
    visit.next(|m| matches!(m, M::Result(result) if result.order_id == 2 && result.ok)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = cart.1.steps.load(Relaxed);
    assert!(before < 2_048, "{before} steps");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(cart.1.steps.load(Relaxed), before, "it stands still");
    visit.told(3, 5, O::Start(ext::Start::default())).await.unwrap();
    assert_eq!(visit.progress().await.metrics["update"], 1.0, "it had not learnt before");
}
