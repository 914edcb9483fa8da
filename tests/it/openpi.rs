//! The openpi websocket as its stock client uses it, and as clients that misbehave do.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use neuro::http::HttpOptions;
use neuro::http::openpi::OpenpiOptions;
use rmpv::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::edge::Edge;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn text(value: &str) -> Value {
    Value::from(value)
}

fn image(seed: u8, side: usize) -> Value {
    let key = |name: &str| Value::Binary(name.as_bytes().to_vec());
    let data = (0..side * side * 3).map(|i| (i as u8).wrapping_mul(seed)).collect();
    Value::Map(vec![
        (key("__ndarray__"), true.into()),
        (key("data"), Value::Binary(data)),
        (key("dtype"), text("|u1")),
        (key("shape"), Value::Array(vec![side.into(), side.into(), 3.into()])),
    ])
}

fn pack(value: &Value) -> Message {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    Message::Binary(bytes.into())
}

fn observation(seed: u8, prompt: &str) -> Message {
    pack(&Value::Map(vec![(text("observation/image"), image(seed, 32)), (text("prompt"), text(prompt))]))
}

fn unpack(message: &Message) -> Value {
    let Message::Binary(bytes) = message else { panic!("not binary: {message:?}") };
    rmpv::decode::read_value(&mut &bytes[..]).unwrap()
}

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    let map = value.as_map().unwrap();
    let found =
        map.iter().find(|(key, _)| key.as_str() == Some(name) || key.as_slice() == Some(name.as_bytes()));
    &found.unwrap_or_else(|| panic!("no `{name}` in {value}")).1
}

/// The chunk of an answer: one row of seven float32.
fn action(answer: &Value) -> [f32; 7] {
    let actions = field(answer, "actions");
    assert_eq!(field(actions, "dtype").as_str(), Some("<f4"));
    assert_eq!(field(actions, "shape").as_array().unwrap(), &[Value::from(1), Value::from(7)]);
    let data = field(actions, "data").as_slice().unwrap();
    let row: Vec<f32> = data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    row.try_into().unwrap()
}

/// The next frame but the server's pings, which may come at any time.
async fn next(socket: &mut Socket) -> Message {
    loop {
        let frame =
            tokio::time::timeout(Duration::from_secs(30), socket.next()).await.unwrap().unwrap().unwrap();
        if !matches!(frame, Message::Ping(_)) {
            return frame;
        }
    }
}

async fn connect(url: String) -> (Socket, Value) {
    let (mut socket, _) = connect_async(url).await.unwrap();
    let metadata = unpack(&next(&mut socket).await);
    (socket, metadata)
}

async fn ask(socket: &mut Socket, message: Message) -> Value {
    socket.send(message).await.unwrap();
    unpack(&next(socket).await)
}

/// The error text, and the code the connection is closed with.
async fn refused(socket: &mut Socket, message: Message) -> (String, CloseCode) {
    socket.send(message).await.unwrap();
    let text = next(socket).await.into_text().unwrap().to_string();
    let Message::Close(Some(frame)) = next(socket).await else { panic!("not closed after: {text}") };
    (text, frame.code)
}

#[tokio::test]
async fn metadata_comes_first_and_then_an_answer_an_observation() {
    let edge = Edge::with_model(HttpOptions::default(), "tabletop").await;
    for path in ["/", "/openpi"] {
        let (mut socket, metadata) = connect(edge.ws(path)).await;
        let model = edge.service.model().unwrap();
        assert_eq!(field(&metadata, "model").as_str(), Some("tabletop"));
        assert_eq!(field(field(&metadata, "stats"), "sha256").as_str(), Some(model.stats.sha256.as_str()));
        assert_eq!(field(&metadata, "action_dim").as_u64(), Some(7));
        assert_eq!(field(field(&metadata, "influence"), "text").as_bool(), Some(true));

        let first = ask(&mut socket, observation(3, "push the red block")).await;
        assert!(action(&first).iter().all(|number| number.is_finite()));
        assert_eq!(field(&first, "prompt").as_str(), Some("push the red block"));
        let timing = field(&first, "server_timing");
        assert!(field(timing, "infer_ms").as_f64().unwrap() > 0.0);
        assert!(timing.as_map().unwrap().iter().all(|(key, _)| key.as_str() != Some("prev_total_ms")));

        let again = ask(&mut socket, observation(3, "push the red block")).await;
        assert_eq!(action(&again), action(&first));
        assert!(field(field(&again, "server_timing"), "prev_total_ms").as_f64().unwrap() > 0.0);
        let other = ask(&mut socket, observation(5, "push the red block")).await;
        assert_ne!(action(&other), action(&first));
    }
}

#[tokio::test]
async fn observations_sent_ahead_are_answered_one_by_one_in_order() {
    let edge = Edge::with_model(HttpOptions::default(), "tiny").await;
    let (mut socket, _) = connect(edge.ws("/")).await;
    let mut alone = Vec::new();
    for seed in 1..6 {
        alone.push(action(&ask(&mut socket, observation(seed, "go")).await));
    }
    for seed in 1..6 {
        socket.send(observation(seed, "go")).await.unwrap();
    }
    for expected in alone {
        assert_eq!(action(&unpack(&next(&mut socket).await)), expected);
    }
}

#[tokio::test]
async fn what_a_model_cannot_use_is_said_in_the_answer() {
    let edge = Edge::with_model(HttpOptions::default(), "tiny").await;
    let (mut socket, metadata) = connect(edge.ws("/")).await;
    assert_eq!(field(field(&metadata, "influence"), "text").as_bool(), Some(false));
    let observation = pack(&Value::Map(vec![
        (text("observation/exterior_image_1_left"), image(3, 24)),
        (text("observation/wrist_image_left"), image(5, 24)),
        (text("prompt"), text("go")),
        (text("observation/tactile"), image(7, 16)),
    ]));
    let answer = ask(&mut socket, observation).await;
    let codes = field(&answer, "warnings").as_array().unwrap().iter();
    let codes: Vec<_> = codes.map(|warning| field(warning, "code").as_str().unwrap().to_owned()).collect();
    assert_eq!(codes, ["inputs_ignored", "instruction_ignored", "tactile_ignored"]);
}

#[tokio::test]
async fn a_bad_observation_gets_a_reason_and_1011_and_harms_nobody() {
    let edge = Edge::with_model(HttpOptions::default(), "tiny").await;
    let no_image = pack(&Value::Map(vec![(text("prompt"), text("go"))]));
    let cases = [
        (Message::Binary(Bytes::from_static(&[0xc1])), "0xc1"),
        (Message::Binary(Bytes::from_static(&[0xdf, 0xff, 0xff, 0xff, 0xff])), "more than 16384 values"),
        (Message::Binary(Bytes::new()), "0 bytes"),
        (Message::Text("{\"image\": 1}".into()), "text frame"),
        (no_image, "no camera image among the keys [prompt]"),
    ];
    let (mut bystander, _) = connect(edge.ws("/")).await;
    for (message, reason) in cases {
        let (mut socket, _) = connect(edge.ws("/")).await;
        let (text, code) = refused(&mut socket, message).await;
        assert!(text.contains("invalid_observation") && text.contains(reason), "{text}");
        assert_eq!(code, CloseCode::Error);
    }
    ask(&mut bystander, observation(1, "go")).await;
}

#[tokio::test]
async fn a_late_answer_is_refused_and_the_connection_stays() {
    let edge = Edge::with_model(HttpOptions::default(), "tiny").await;
    let (mut socket, _) = connect(edge.ws("/")).await;
    let late =
        pack(&Value::Map(vec![(text("observation/image"), image(2, 16)), (text("deadline_ms"), 0.into())]));
    socket.send(late).await.unwrap();
    let text = next(&mut socket).await.into_text().unwrap();
    assert!(text.starts_with("deadline_exceeded: "), "{text}");
    ask(&mut socket, observation(1, "go")).await;
}

#[tokio::test]
async fn a_message_over_the_limit_closes_with_1009() {
    let openpi = OpenpiOptions { max_message_bytes: 4096, ..OpenpiOptions::default() };
    let edge = Edge::with_model(HttpOptions { openpi, ..HttpOptions::default() }, "tiny").await;
    let (mut socket, _) = connect(edge.ws("/")).await;
    let big = pack(&Value::Map(vec![(text("image"), image(1, 64))]));
    socket.send(big).await.unwrap();
    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("not closed") };
    assert_eq!(frame.code, CloseCode::Size);
}

#[tokio::test]
async fn a_client_that_comes_before_the_model_waits_for_it() {
    let edge = Edge::empty(HttpOptions::default()).await;
    let (mut socket, _) = connect_async(edge.ws("/")).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), socket.next()).await;
    assert!(early.is_err(), "spoke before the model was there");
    edge.load("tiny").await;
    let metadata = unpack(&next(&mut socket).await);
    assert_eq!(field(&metadata, "model").as_str(), Some("tiny"));
    ask(&mut socket, observation(1, "go")).await;
}

#[tokio::test]
async fn pings_are_answered_and_silence_ends_a_connection() {
    let openpi = OpenpiOptions {
        ping_after: Duration::from_millis(200),
        silence_limit: Duration::from_millis(900),
        ..OpenpiOptions::default()
    };
    let edge = Edge::with_model(HttpOptions { openpi, ..HttpOptions::default() }, "tiny").await;
    let (mut lively, _) = connect(edge.ws("/")).await;
    lively.send(Message::Ping(Bytes::from_static(b"hi"))).await.unwrap();
    assert_eq!(next(&mut lively).await, Message::Pong(Bytes::from_static(b"hi")));
    let (mut silent, _) = connect(edge.ws("/")).await;

    // Reading answers the server's pings; the other one is left unread and so says nothing.
    let listening = async { while lively.next().await.is_some_and(|heard| heard.is_ok()) {} };
    assert!(tokio::time::timeout(Duration::from_millis(1500), listening).await.is_err());
    ask(&mut lively, observation(1, "go")).await;
    let rest = async { while silent.next().await.is_some_and(|heard| heard.is_ok()) {} };
    tokio::time::timeout(Duration::from_secs(2), rest).await.unwrap();
}

#[tokio::test]
async fn clients_that_vanish_leave_nothing_behind() {
    let edge = Edge::with_model(HttpOptions::default(), "tabletop").await;
    for seed in 0..30 {
        let (mut socket, _) = connect(edge.ws("/")).await;
        socket.send(observation(seed, "go")).await.unwrap();
        drop(socket);
    }
    let empty = async {
        while edge.service.waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), empty).await.unwrap();
    let (mut socket, _) = connect(edge.ws("/")).await;
    ask(&mut socket, observation(1, "go")).await;
}

#[tokio::test]
async fn a_stopping_server_says_goodbye() {
    let edge = Edge::with_model(HttpOptions::default(), "tiny").await;
    let (mut socket, _) = connect(edge.ws("/")).await;
    ask(&mut socket, observation(1, "go")).await;
    edge.service.drain(Duration::from_secs(1)).await;
    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("not closed") };
    assert_eq!(frame.code, CloseCode::Away);
}

#[tokio::test]
async fn a_connection_over_the_limit_is_told_to_come_back() {
    let openpi = OpenpiOptions { max_connections: 1, ..OpenpiOptions::default() };
    let edge = Edge::with_model(HttpOptions { openpi, ..HttpOptions::default() }, "tiny").await;
    let (mut first, _) = connect(edge.ws("/")).await;
    let error = connect_async(edge.ws("/")).await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    first.close(None).await.unwrap();
    let freed = async {
        while connect_async(edge.ws("/")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.unwrap();
}
