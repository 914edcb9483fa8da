//! Making, finding, driving and ending sessions.

use std::time::Duration;

use futures_util::StreamExt;

use super::{Home, manual, phases, train_request, until};
use crate::fleet::access::Identity;
use crate::fleet::error::FleetError;
use crate::fleet::event::EventKind;
use crate::fleet::ids::InstanceId;
use crate::fleet::link::Ask;
use crate::fleet::request::{SceneChange, SessionFilter};
use crate::fleet::rows::Phase;
use crate::fleet::spec::Mode;
use crate::proto::neuro::common::GrpcObstacle;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manual_session_is_loaded_started_paused_changed_and_stopped() {
    let mut home = Home::new(1, 0).await;
    let id = "s-1".parse().unwrap();
    let view = home.fleet.create(manual("s-1")).await.unwrap();
    assert_eq!(view.row.phase, Phase::Ready);
    assert_eq!(view.simulators.len(), 1);
    assert_eq!(view.control_ws_url, "ws://127.0.0.1:2/control/s-1");

    home.fleet.start(&id, false, 0.0).await.unwrap();
    assert_eq!(home.phase(&id), Phase::Running);
    let Some(Ask::Start(start)) = home.sims[0].last("start") else { panic!("no start") };
    assert_eq!(start.time_scale, 1.0);
    home.fleet.pause(&id).await.unwrap();
    assert_eq!(home.phase(&id), Phase::Paused);

    let change = SceneChange { add: vec![GrpcObstacle::default(); 2], ..Default::default() };
    let paths = home.fleet.update_scene(&id, change).await.unwrap();
    assert_eq!(paths, ["/World/Obstacles/obstacle_0", "/World/Obstacles/obstacle_1"]);

    let freed = home.fleet.stop(&id, true).await.unwrap();
    assert_eq!(freed, [home.sims[0].id]);
    assert_eq!(home.fleet.stop(&id, true).await.unwrap(), []);
    until("the simulator drops the scene", || !home.sims[0].busy()).await;
    let expected =
        [Phase::Allocating, Phase::Starting, Phase::Ready, Phase::Running, Phase::Paused, Phase::Stopped];
    assert_eq!(phases(&home.fleet, &id).await, expected);
    let sim = home.sims.remove(0);
    assert_eq!(sim.orders(), ["load", "start", "pause", "update", "stop"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_finds_the_same_session_and_another_is_a_conflict() {
    let home = Home::new(2, 0).await;
    let first = home.fleet.create(manual("s-1")).await.unwrap();
    let again = home.fleet.create(manual("s-1")).await.unwrap();
    assert_eq!(first.row, again.row);
    assert_eq!(home.held(), 1);
    let mut other = manual("s-1");
    other.options.instruction = "something else".to_owned();
    assert!(matches!(home.fleet.create(other).await, Err(FleetError::AlreadyExists(_))));
    home.fleet.stop(&first.row.id, true).await.unwrap();
    let error = home.fleet.create(manual("s-1")).await.unwrap_err();
    assert!(error.to_string().contains("has ended STOPPED"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_of_one_id_get_one_session() {
    let home = Home::new(3, 0).await;
    let calls = (0..20).map(|_| home.fleet.create(manual("s-1")));
    for view in futures_util::future::join_all(calls).await {
        assert_eq!(view.unwrap().row.phase, Phase::Ready);
    }
    assert_eq!(home.held(), 1);
    assert_eq!(home.sims.iter().map(|sim| sim.count("load")).sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manual_session_is_upgraded_and_the_manual_request_still_finds_it() {
    let mut home = Home::new(4, 1).await;
    let view = home.fleet.create(manual("s-1")).await.unwrap();
    let first = view.simulators[0].row.id;
    let id = view.row.id;
    home.fleet.start(&id, false, 0.0).await.unwrap();
    let request = train_request("s-1", 0);
    let view = home.fleet.create(request.clone()).await.unwrap();
    assert_eq!((view.row.mode, view.row.phase), (Mode::Training, Phase::Running));
    assert_eq!(view.simulators.len(), 4);
    assert_eq!(view.simulators[0].row.id, first, "its simulator stays environment 0");
    let work = home.trainer(&id).work().unwrap();
    let endpoints: Vec<_> =
        view.simulators.iter().map(|one| one.row.endpoints.zmq_endpoint.clone()).collect();
    assert_eq!(work.zmq_endpoints, endpoints);
    assert_eq!(work.restore_from, "");
    assert_eq!(home.fleet.create(manual("s-1")).await.unwrap().row, view.row);
    assert_eq!(home.fleet.create(request).await.unwrap().row, view.row);
    assert_eq!(
        home.fleet.session_of_training(&Identity::anyone(), &view.row.training_id).unwrap().row.id,
        id
    );
    assert_eq!(home.fleet.stop(&id, true).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_keeps_what_was_learned_tells_every_instance_that_it_freed() {
    let home = Home::new(4, 1).await;
    let view = home.fleet.create(train_request("s-1", 4)).await.unwrap();
    let mut held: Vec<InstanceId> = view.simulators.iter().map(|one| one.row.id).collect();
    held.extend(view.trainer.map(|trainer| trainer.row.id));
    let mut freed = home.fleet.stop(&view.row.id, false).await.unwrap();
    held.sort_unstable();
    freed.sort_unstable();
    assert_eq!(freed, held);
    assert_eq!(home.held(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_leaves_a_whole_session() {
    let home = Home::new(4, 1).await;
    let id = "s-1".parse().unwrap();
    let call = home.fleet.create(train_request("s-1", 4));
    drop(tokio::time::timeout(Duration::from_millis(1), call).await);
    let running = || home.fleet.peek(&id).is_ok_and(|view| view.row.phase == Phase::Running);
    if home.fleet.peek(&id).is_ok() {
        until("it is brought up all the same", running).await;
        assert_eq!(home.held(), 5);
    } else {
        assert_eq!(home.held(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulator_that_cannot_load_is_given_back_and_another_tried() {
    let mut home = Home::new(3, 0).await;
    home.sims[0].refuse(|ask| matches!(ask, Ask::Load(_)), "the disk is full");
    home.sims[1].refuse(|ask| matches!(ask, Ask::Load(_)), "the disk is full");
    home.sims[2].refuse(|ask| matches!(ask, Ask::Load(_)), "the disk is full");
    let error = home.fleet.create(manual("s-1")).await.unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert_eq!(home.phase(&"s-1".parse().unwrap()), Phase::Failed);
    assert_eq!(home.held(), 0);
    home.sims[2].refuse(|_| false, "");
    let view = home.fleet.create(manual("s-2")).await.unwrap();
    assert_eq!(view.simulators[0].row.id, home.sims[2].id);
    let id = view.row.id;
    assert!(home.sim(&id, 0).runs(&id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_now_says_why() {
    let home = Home::new(1, 0).await;
    let id = "s-1".parse().unwrap();
    assert!(matches!(home.fleet.start(&id, false, 1.0).await, Err(FleetError::NotFound { .. })));
    assert!(matches!(home.fleet.stop(&id, true).await, Err(FleetError::NotFound { .. })));
    home.fleet.create(manual("s-1")).await.unwrap();
    let error = home.fleet.start(&id, false, f64::NAN).await.unwrap_err();
    assert!(matches!(error, FleetError::Invalid { ref field, .. } if field == "time_scale"), "{error}");
    assert!(matches!(home.fleet.stop_training(&id, true).await, Err(FleetError::Precondition(_))));
    assert!(matches!(home.fleet.omniverse(&id), Err(FleetError::Precondition(_))));
    home.fleet.stop(&id, true).await.unwrap();
    assert!(matches!(home.fleet.start(&id, false, 1.0).await, Err(FleetError::Precondition(_))));
    assert!(home.fleet.watch(&id, 999).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_dense_resumes_where_the_reader_stopped_and_ends_with_the_session() {
    let home = Home::new(1, 0).await;
    let id = home.fleet.create(manual("s-1")).await.unwrap().row.id;
    let mut events = home.fleet.watch(&id, 0).unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(first.seq, 1);
    drop(events);
    let events = home.fleet.watch(&id, first.seq).unwrap();
    home.fleet.start(&id, false, 1.0).await.unwrap();
    home.fleet.stop(&id, true).await.unwrap();
    let rest: Vec<_> = events.map(Result::unwrap).collect().await;
    let seqs: Vec<i64> = rest.iter().map(|row| row.seq).collect();
    let dense: Vec<i64> = (2..=rest.last().unwrap().seq).collect();
    assert_eq!(seqs, dense);
    assert!(matches!(&rest.last().unwrap().kind, EventKind::Phase(change) if change.to() == Phase::Stopped));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_go_through_all_sessions_newest_first() {
    let home = Home::new(0, 0).await;
    for index in 0..25 {
        let mut request = manual(&format!("s-{index:02}"));
        request.wait = Duration::ZERO;
        assert!(matches!(home.fleet.create(request).await, Err(FleetError::Exhausted { .. })));
    }
    let mut seen = Vec::new();
    let mut filter = SessionFilter { page_size: 10, ..Default::default() };
    loop {
        let page = home.fleet.sessions(filter.clone()).unwrap();
        seen.extend(page.sessions.iter().map(|view| (view.row.created_ms, view.row.id.to_string())));
        if page.next_page_token.is_empty() {
            break;
        }
        filter.page_token = page.next_page_token;
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.windows(2).all(|pair| pair[0].0 >= pair[1].0));
    filter.page_token = "nonsense".to_owned();
    assert!(home.fleet.sessions(filter).is_err());
}
