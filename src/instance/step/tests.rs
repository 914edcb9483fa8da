//! Both ends against each other, and each against peers that misbehave.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::cart::{Cart, serve};
use super::{ActionSpace, StepClient, StepError, StepServer};
use crate::instance::zmtp::Wire;

const LIMIT: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(150);

async fn raw(endpoint: &str) -> Wire {
    let stream = TcpStream::connect(endpoint.trim_start_matches("tcp://")).await.unwrap();
    Wire::handshake(stream, "DEALER", &["REP"], 1 << 20).await.unwrap()
}

#[tokio::test]
async fn an_episode_runs_to_its_end() {
    let (server, _) = serve(1).await;
    let mut client = StepClient::new(server.endpoint()).unwrap();
    assert_eq!(client.spec(LIMIT).await.unwrap().action, ActionSpace::Discrete { discrete: 2 });
    assert_eq!(client.reset(Some(42), LIMIT).await.unwrap().observation.len(), 4);
    let mut steps = 0;
    loop {
        steps += 1;
        let stepped = client.step(vec![1.0], Some(7.5), LIMIT).await.unwrap();
        assert_eq!(stepped.timestamp, Some(7.5));
        if stepped.done {
            assert!(stepped.info.terminated);
            break;
        }
    }
    assert!(steps < 20, "pushing one way for {steps} steps");
    client.close(LIMIT).await.unwrap();
}

#[tokio::test]
async fn rubbish_gets_a_sentence_and_the_socket_lives_on() {
    let (server, _) = serve(1).await;
    let mut wire = raw(server.endpoint()).await;
    for text in [&b"{"[..], b"\xff\xfe", b"[]", br#"{"cmd":"dance"}"#, b""] {
        wire.send(&[bytes::Bytes::new()], text).await.unwrap();
        let frames = wire.receive().await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&frames[1]).unwrap();
        assert!(answer["error"].is_string(), "{answer}");
    }
    assert!(StepClient::new(server.endpoint()).unwrap().reset(None, LIMIT).await.is_ok());
}

#[tokio::test]
async fn who_sends_twice_gets_two_answers_and_hinders_nobody() {
    let (server, _) = serve(1).await;
    let mut wire = raw(server.endpoint()).await;
    let envelope = [bytes::Bytes::from_static(b"7"), bytes::Bytes::new()];
    for _ in 0..2 {
        wire.send(&envelope, br#"{"cmd":"reset"}"#).await.unwrap();
    }
    for _ in 0..2 {
        let frames = wire.receive().await.unwrap();
        assert_eq!(frames[..2], envelope);
    }
}

#[tokio::test]
async fn clients_that_never_read_do_not_hold_up_another() {
    let (server, _) = serve(1).await;
    let mut deaf = raw(server.endpoint()).await;
    let flood = async {
        loop {
            deaf.send(&[bytes::Bytes::new()], br#"{"cmd":"reset"}"#).await.unwrap();
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(1), flood).await.is_err(),
        "its sends must come to a halt"
    );
    let mut client = StepClient::new(server.endpoint()).unwrap();
    client.reset(None, LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_frame_of_a_huge_announced_size_ends_its_connection_and_nothing_else() {
    let (server, _) = serve(1).await;
    let mut stream = TcpStream::connect(server.endpoint().trim_start_matches("tcp://")).await.unwrap();
    let mut greeting = [0_u8; 64];
    stream.read_exact(&mut greeting).await.unwrap();
    stream.write_all(&greeting).await.unwrap();
    stream.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0]).await.unwrap();
    let mut rest = Vec::new();
    // Ends: the server hangs up.
    drop(tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await.unwrap());
    assert!(StepClient::new(server.endpoint()).unwrap().reset(None, LIMIT).await.is_ok());
}

#[tokio::test]
async fn a_late_answer_is_never_taken_for_that_of_a_newer_request() {
    let (server, knobs) = serve(1).await;
    let mut client = StepClient::new(server.endpoint()).unwrap();
    client.reset(None, LIMIT).await.unwrap();
    knobs.by_hand.store(true, Ordering::Relaxed);
    let late = client.step(vec![0.0], Some(1.0), Duration::from_millis(5)).await.unwrap_err();
    assert!(matches!(late, StepError::Timeout { limit_ms: 5, .. }), "{late}");
    tokio::time::sleep(Duration::from_millis(40)).await;
    for timestamp in [2.0, 3.0] {
        let stepped = client.step(vec![0.0], Some(timestamp), LIMIT).await.unwrap();
        assert_eq!(stepped.timestamp, Some(timestamp));
    }
}

#[tokio::test]
async fn a_dropped_call_leaves_no_answer_behind() {
    let (server, knobs) = serve(1).await;
    let mut client = StepClient::new(server.endpoint()).unwrap();
    client.reset(None, LIMIT).await.unwrap();
    knobs.by_hand.store(true, Ordering::Relaxed);
    let dropped =
        tokio::time::timeout(Duration::from_millis(5), client.step(vec![0.0], Some(1.0), LIMIT)).await;
    assert!(dropped.is_err());
    assert_eq!(client.step(vec![0.0], Some(2.0), LIMIT).await.unwrap().timestamp, Some(2.0));
}

#[tokio::test]
async fn a_client_outlives_its_simulator() {
    let (server, knobs) = serve(1).await;
    let endpoint = server.endpoint().to_owned();
    let mut client = StepClient::new(&endpoint).unwrap();
    client.reset(None, LIMIT).await.unwrap();
    knobs.stuck.store(true, Ordering::Relaxed);
    assert!(matches!(client.step(vec![0.0], None, SHORT).await, Err(StepError::Timeout { .. })));
    drop(server);
    let began = Instant::now();
    while began.elapsed() < LIMIT && client.reset(None, SHORT).await.is_ok() {}
    assert!(matches!(client.reset(None, SHORT).await, Err(StepError::Lost { .. })));
    let again = Cart::new(2, std::sync::Arc::default());
    let _server = StepServer::bind(&endpoint, again).await.unwrap();
    client.reset(None, LIMIT).await.unwrap();
    client.step(vec![0.0], None, LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_reset_finds_a_simulator_that_was_started_anew_between_two_requests() {
    let (server, _) = serve(1).await;
    let endpoint = server.endpoint().to_owned();
    let mut client = StepClient::new(&endpoint).unwrap();
    client.reset(None, LIMIT).await.unwrap();
    drop(server);
    let _server = loop {
        match StepServer::bind(&endpoint, Cart::new(2, std::sync::Arc::default())).await {
            Ok(server) => break server,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    client.reset(None, LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_never_greets_costs_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let mut client = StepClient::new(&endpoint).unwrap();
    let error = client.reset(None, SHORT).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{endpoint} did not answer within 150 ms"));
}

#[test]
fn an_endpoint_is_checked_before_anything_is_sent() {
    for wrong in ["", "tcp://", "tcp://host", "tcp://:5", "ipc:///tmp/a", "tcp://h:99999", "127.0.0.1:5555"] {
        assert!(matches!(StepClient::new(wrong), Err(StepError::Endpoint { .. })), "{wrong:?}");
    }
}

#[tokio::test]
async fn an_endpoint_in_use_is_an_error_that_names_it() {
    let (server, _) = serve(1).await;
    let taken =
        StepServer::bind(server.endpoint(), Cart::new(1, std::sync::Arc::default())).await.unwrap_err();
    assert!(taken.to_string().contains(server.endpoint()), "{taken}");
}
