//! Streams that say nothing, say the wrong thing, or whose other end goes away.

use std::time::Duration;

use futures_util::StreamExt;
use neuro::proto::neuro::ext::instance_message::M;
use neuro::proto::neuro::ext::*;
use neuro::proto::neuro::isaac_sim::RobotAction;
use neuro::proto::neuro::orchestrator::{CreateSessionRequest, ResourcePoolStatusRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use super::harness::{Fleet, NOBODY, fresh_id};
use crate::shell::{Signal, signal};

fn hello(id: &str) -> InstanceMessage {
    InstanceMessage {
        m: Some(M::Hello(Hello {
            instance_id: id.to_owned(),
            name: "isaac-sim-1".into(),
            role: Role::Simulator.into(),
            version: "1".into(),
            rest_url: "http://127.0.0.1:9".into(),
            ..Default::default()
        })),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_does_not_introduce_itself_is_turned_away() {
    let fleet = Fleet::start(NOBODY);
    let mut clients = fleet.clients().await;
    let beat = InstanceMessage { m: Some(M::Heartbeat(Heartbeat::default())) };
    let streams = [vec![], vec![InstanceMessage { m: None }], vec![beat], vec![hello("isaac-sim-1")]];
    for messages in streams {
        let status = clients.instances.attach(tokio_stream::iter(messages.clone())).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{messages:?}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_attaches_is_in_the_pool_until_its_lease_runs_out() {
    let fleet = Fleet::start(&format!("{NOBODY}[leases]\ninterval_ms = 100\nlease_ms = 400\n"));
    let mut clients = fleet.clients().await;
    let id = fresh_id();
    let (messages, sent) = mpsc::channel(8);
    messages.send(hello(&id)).await.unwrap();
    let mut orders = clients.instances.attach(ReceiverStream::new(sent)).await.unwrap().into_inner();
    let first = orders.message().await.unwrap().unwrap();
    let Some(order::O::Accepted(accepted)) = first.o else { panic!("{first:?}") };
    assert_eq!((accepted.interval_ms, accepted.lease_ms), (100, 400));
    let ask = || ResourcePoolStatusRequest { include_isaac_pool: true, include_training_pool: false };
    let pool = clients.neuro.get_resource_pool_status(ask()).await.unwrap().into_inner();
    assert!(pool.training_pool.is_none());
    let pool = pool.isaac_pool.unwrap();
    assert!(pool.instances.iter().any(|one| one.instance_id == id && one.status == "idle"), "{pool:?}");
    drop((messages, orders));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    loop {
        let pool =
            clients.neuro.get_resource_pool_status(ask()).await.unwrap().into_inner().isaac_pool.unwrap();
        if !pool.instances.iter().any(|one| one.instance_id == id) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{pool:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_stream_names_a_session_that_is_there() {
    let fleet = Fleet::start(NOBODY);
    let mut clients = fleet.clients().await;
    let unknown = RobotAction { session_id: fresh_id(), ..Default::default() };
    let unnamed = RobotAction::default();
    for (messages, code) in [
        (vec![], Code::InvalidArgument),
        (vec![unnamed], Code::InvalidArgument),
        (vec![unknown], Code::NotFound),
    ] {
        let answer = clients.isaac.stream_robot_control(tokio_stream::iter(messages.clone())).await;
        let status = match answer {
            Err(status) => status,
            Ok(states) => states.into_inner().next().await.unwrap().unwrap_err(),
        };
        assert_eq!(status.code(), code, "{messages:?}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_told_when_the_orchestrator_ends() {
    let mut fleet = Fleet::start(NOBODY);
    let mut clients = fleet.clients().await;
    let id = fresh_id();
    let mut request = Request::new(CreateSessionRequest { session_id: id.clone(), ..Default::default() });
    request.set_timeout(Duration::from_millis(400));
    assert!(clients.neuro.create_session(request).await.is_err());
    let watch = WatchSessionRequest { session_id: id, resume_after: 0 };
    let mut events = clients.sessions.watch_session(watch).await.unwrap().into_inner();
    let first = events.message().await.unwrap().unwrap();
    assert_eq!(first.seq, 1);
    let (messages, sent) = mpsc::channel(8);
    messages.send(hello(&fresh_id())).await.unwrap();
    let mut orders = clients.instances.attach(ReceiverStream::new(sent)).await.unwrap().into_inner();
    orders.message().await.unwrap().unwrap();

    let begun = std::time::Instant::now();
    signal(fleet.pid(), Signal::Term);
    let told = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(told.code(), Code::Unavailable, "{told:?}");
    let told = loop {
        match orders.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(told.code(), Code::Unavailable, "{told:?}");
    drop((messages, clients, events, orders));
    let (code, said) = fleet.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_vanish_leave_nothing_open() {
    let fleet = Fleet::start(NOBODY);
    let id = fresh_id();
    for _ in 0..20 {
        let mut clients = fleet.clients().await;
        let mut request = Request::new(CreateSessionRequest { session_id: id.clone(), ..Default::default() });
        request.set_timeout(Duration::from_millis(50));
        drop(clients.neuro.create_session(request).await);
        let watch = WatchSessionRequest { session_id: id.clone(), resume_after: 0 };
        if let Ok(events) = clients.sessions.watch_session(watch).await {
            drop(events.into_inner().message().await);
        }
        let (actions, sent) = mpsc::channel(1);
        let states = clients.isaac.stream_robot_control(ReceiverStream::new(sent)).await;
        drop((actions, states));
    }
    let open = || {
        let folder = format!("/proc/{}/net/tcp", fleet.pid());
        let port = fleet.grpc.rsplit(':').next().unwrap().parse::<u16>().unwrap();
        let wanted = format!(":{port:04X} ");
        let table = std::fs::read_to_string(folder).unwrap();
        // State 01 is established; the second column is the local address.
        let established = |line: &&str| {
            let mut words = line.split_whitespace();
            let local = words.nth(1).unwrap_or_default();
            format!("{local} ").ends_with(&wanted) && words.nth(1) == Some("01")
        };
        table.lines().filter(established).count()
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while open() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "{} connections are still open", open());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut clients = fleet.clients().await;
    let listed = clients.sessions.list_sessions(ListSessionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.sessions.len(), 1, "{listed:?}");
}
