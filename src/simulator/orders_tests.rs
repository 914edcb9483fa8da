//! A simulator in a pool, against an orchestrator's end that is real gRPC.

use std::sync::Arc;

use prost::Message;

use super::{Phase, Simulator, obey};
use crate::instance::attach::office::{Visit, open};
use crate::instance::attach::{AttachOptions, attach};
use crate::proto::neuro::common;
use crate::proto::neuro::ext::instance_message::M;
use crate::proto::neuro::ext::order::O;
use crate::proto::neuro::ext::{self, Order, OrderResult};
use crate::scene::shelf::Shelf;

async fn result(visit: &mut Visit, order_id: i64, fence: i64, o: O) -> OrderResult {
    visit.orders.send(Ok(Order { order_id, fence, o: Some(o) })).await.unwrap();
    match visit.next(|m| matches!(m, M::Result(result) if result.order_id == order_id)).await {
        M::Result(result) => result,
        other => panic!("{other:?}"),
    }
}

fn load(session: &str) -> O {
    let obstacle = common::GrpcObstacle {
        r#type: common::grpc_obstacle::Type::Sphere.into(),
        position: Some(common::GrpcPosition { x: 2.0, y: 0.0, z: 0.1 }),
        size: vec![0.1],
        ..Default::default()
    };
    let scene = common::GrpcSceneConfig { obstacles: vec![obstacle], ..Default::default() };
    O::Load(ext::LoadScene {
        session_id: session.to_owned(),
        scene_config: scene.encode_to_vec(),
        stream_config: Vec::new(),
    })
}

#[tokio::test]
async fn the_orchestrators_orders_are_carried_out_under_their_fences() {
    let mut office = open("127.0.0.1:0").await;
    let simulator = Simulator::start(Shelf::default()).unwrap();
    let options = AttachOptions {
        orchestrator: format!("http://{}", office.address),
        key: None,
        ca_pem: None,
        hello: ext::Hello::default(),
        pulse: Arc::new(ext::Heartbeat::default),
    };
    let mut attachment = attach(options).unwrap();
    let own = simulator.clone();
    let working = tokio::spawn(async move { obey(&own, &mut attachment).await });
    let mut visit = office.visit().await;
    let phase = || simulator.vitals().borrow().phase;

    let loaded = result(&mut visit, 1, 5, load("s-1")).await;
    assert!(loaded.ok, "{loaded:?}");
    assert_eq!(loaded.data["prim_paths"], r#"["/World/Obstacles/obstacle_0"]"#);
    assert!(result(&mut visit, 2, 5, O::Start(ext::Start { real_time: false, time_scale: 0.0 })).await.ok);
    assert_eq!(phase(), Phase::Running);
    let beat = visit.next(|m| matches!(m, M::Heartbeat(beat) if beat.session_id == "s-1")).await;
    assert!(matches!(beat, M::Heartbeat(_)));

    let stale = result(&mut visit, 3, 4, O::Pause(ext::Pause {})).await;
    assert!(!stale.ok);
    assert_eq!((stale.data["code"].as_str(), stale.data["fence"].as_str()), ("stale_fence", "5"));
    assert!(result(&mut visit, 4, 5, O::Pause(ext::Pause {})).await.ok);
    assert_eq!(phase(), Phase::Paused);

    let folder = tempfile::tempdir().unwrap();
    let uri = format!("file://{}/scene.json", folder.path().display());
    let saved =
        result(&mut visit, 5, 5, O::Snapshot(ext::Snapshot { uri: uri.clone(), checkpoint: false })).await;
    assert!(saved.ok && saved.data["sha256"].len() == 64, "{saved:?}");
    let remove = vec!["/World/Obstacles/obstacle_0".to_owned()];
    let update = ext::UpdateScene { remove: remove.clone(), ..Default::default() };
    assert!(result(&mut visit, 6, 5, O::Update(update.clone())).await.ok);
    let again = result(&mut visit, 7, 5, O::Update(update)).await;
    assert_eq!(again.data["code"], "invalid");
    assert!(result(&mut visit, 8, 5, O::Restore(ext::RestoreScene { uri })).await.ok);
    let restored = ext::UpdateScene { remove, ..Default::default() };
    assert!(result(&mut visit, 9, 5, O::Update(restored)).await.ok, "the obstacle is back");

    assert!(!result(&mut visit, 10, 5, O::Train(ext::Train::default())).await.ok);
    assert!(result(&mut visit, 11, 6, O::Stop(ext::Stop { cleanup: true, grace_ms: 0 })).await.ok);
    assert_eq!(simulator.vitals().borrow().session, "");
    assert!(!result(&mut visit, 12, 5, load("s-2")).await.ok, "fence 6 was seen");
    assert!(result(&mut visit, 13, 7, load("s-2")).await.ok);
    let end = ext::Terminate { reason: "the pool shrinks".to_owned() };
    assert!(result(&mut visit, 14, 7, O::Terminate(end)).await.ok);
    assert_eq!(working.await.unwrap(), "the pool shrinks");
}
