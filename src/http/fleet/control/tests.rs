use std::time::Duration;

use axum::Router;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::fleet::access::Access;
use crate::fleet::control::tests::fleet::{Fleet, Wish, until};
use crate::fleet::settings;
use crate::fleet::signalling::Signalling;
use crate::fleet::spec::Mode;
use crate::instance::contract::{FromRobot, ToRobot};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Serves the routes of a fleet; `ws://127.0.0.1:PORT`.
async fn serve(fleet: &Fleet) -> String {
    serve_with(fleet, Access::default()).await
}

async fn serve_with(fleet: &Fleet, access: Access) -> String {
    let access = std::sync::Arc::new(access);
    let relay = Signalling::new(fleet.books.clone());
    let routes: Router = super::routes(fleet.controls.clone()).merge(crate::http::fleet::signalling::routes(
        fleet.controls.clone(),
        relay,
        access,
    ));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let service = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    url
}

fn token(fleet: &Fleet, user: &str) -> String {
    fleet.controls.issue(&fleet.session, user, false).unwrap()
}

async fn open(url: &str, fleet: &Fleet, token: &str) -> Socket {
    connect_async(format!("{url}/control/{}?token={token}", fleet.session)).await.unwrap().0
}

async fn hear(socket: &mut Socket, kind: &str) -> Value {
    let waiting = async {
        loop {
            match socket.next().await.expect("the socket is open").unwrap() {
                Message::Text(text) => {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    if value["type"] == kind {
                        return value;
                    }
                }
                Message::Close(frame) => panic!("closed while waiting for {kind}: {frame:?}"),
                _ => {}
            }
        }
    };
    timeout(Duration::from_secs(5), waiting).await.unwrap_or_else(|_| panic!("no {kind}"))
}

async fn closed(socket: &mut Socket) -> (u16, String) {
    let waiting = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("expected a close, got {other:?}"),
            }
        }
    };
    timeout(Duration::from_secs(5), waiting).await.expect("closed")
}

async fn say(socket: &mut Socket, value: Value) {
    socket.send(Message::text(value.to_string())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_page_drives_without_asking_and_hears_the_robot() {
    let fleet = Fleet::manual().await;
    let url = serve(&fleet).await;
    let mut page = open(&url, &fleet, &token(&fleet, "anna")).await;
    let connected = hear(&mut page, "connected").await;
    assert_eq!(connected["session_id"], fleet.session.as_str());
    assert_eq!((&connected["driving"], &connected["mode"]), (&json!(true), &json!("manual")));
    while hear(&mut page, "robot_connection").await["open"] != true {}
    say(&mut page, json!({"type": "robot_control", "velocity": {"x": 0.5, "y": 0.0}})).await;
    until("the command", || fleet.simulator().commands().len() == 1).await;
    let lidar = vec![1.0, 2.0];
    fleet.simulator().say(FromRobot::SensorData { timestamp: 1, lidar, reward: 1.0, done: false });
    assert_eq!(hear(&mut page, "sensor_data").await["lidar"], json!([1.0, 2.0]));
    assert_eq!(fleet.controls.presence(&fleet.session).connections, 1);
    assert!(fleet.controls.presence(&fleet.session).last_command_ms > 0);
    page.close(None).await.ok();
    until("nobody is there", || fleet.controls.presence(&fleet.session).connections == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_page_watches_until_it_takes_over_by_force() {
    let fleet = Fleet::manual().await;
    let url = serve(&fleet).await;
    let mut first = open(&url, &fleet, &token(&fleet, "anna")).await;
    hear(&mut first, "connected").await;
    let mut second = open(&url, &fleet, &token(&fleet, "bert")).await;
    assert_eq!(hear(&mut second, "connected").await["driving"], false);
    say(&mut second, json!({"type": "robot_control", "velocity": {"x": 9.0, "y": 0.0}})).await;
    let refused = hear(&mut second, "error").await["message"].as_str().unwrap().to_owned();
    assert!(refused.contains("\"anna\" drives"), "{refused}");
    say(&mut second, json!({"mode": "manual"})).await;
    assert!(hear(&mut second, "error").await["message"].as_str().unwrap().contains("by force"));
    say(&mut second, json!({"mode": "manual", "force": true})).await;
    while hear(&mut second, "mode").await["driving"] != true {}
    while hear(&mut first, "mode").await["user"] != "bert" {}
    say(&mut first, json!({"type": "robot_control", "velocity": {"x": 1.0, "y": 0.0}})).await;
    assert!(hear(&mut first, "error").await["message"].as_str().unwrap().contains("\"bert\" drives"));
    say(&mut second, json!({"type": "robot_control", "velocity": {"x": 2.0, "y": 0.0}})).await;
    until("bert's command", || {
        let commands = fleet.simulator().commands();
        matches!(commands.last(), Some(ToRobot::RobotControl { velocity }) if velocity.x == 2.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_good_token_does_not_come_in() {
    let fleet = Fleet::manual().await;
    let url = serve(&fleet).await;
    let mut forged = token(&fleet, "anna");
    forged.pop();
    let other: crate::fleet::SessionId = "another".parse().unwrap();
    let foreign = fleet.controls.issue(&other, "anna", false).unwrap();
    let good = token(&fleet, "anna");
    let session = &fleet.session;
    for (path, status, says) in [
        (format!("/control/{session}"), 401, "it is missing"),
        (format!("/control/{session}?token={forged}"), 401, "signature"),
        (format!("/control/{session}?token={foreign}"), 403, "another"),
        (format!("/control/another?token={foreign}"), 404, "no session"),
        (format!("/control/{session}?token={good}&instance=7"), 400, "not a UUID"),
        (format!("/control/{session}?token={good}&instance={}", uuid::Uuid::nil()), 404, "no simulator"),
        (format!("/api/webrtc/signaling/frontend/{session}"), 401, "it is missing"),
        (format!("/api/webrtc/signaling/isaac-sim/{session}?token={foreign}"), 403, "another"),
    ] {
        match connect_async(format!("{url}{path}")).await {
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                assert_eq!(answer.status().as_u16(), status, "{path}");
                let body = String::from_utf8(answer.body().clone().unwrap_or_default()).unwrap();
                assert!(body.contains(says), "{path}: {body}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    assert_eq!(fleet.controls.presence(session).connections, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_come_as_a_subprotocol_and_this_machine_may_need_none() {
    let mut wish = Wish::default();
    wish.settings.open_on_loopback = true;
    let fleet = Fleet::start(wish).await;
    let url = serve(&fleet).await;
    let mut request = format!("{url}/control/{}", fleet.session).into_client_request().unwrap();
    let offered = format!("neuro.control, bearer.{}", token(&fleet, "anna"));
    request.headers_mut().insert("sec-websocket-protocol", offered.parse().unwrap());
    let (mut page, answer) = connect_async(request).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "neuro.control");
    assert_eq!(hear(&mut page, "connected").await["user"], "anna");
    let (mut watcher, _) = connect_async(format!("{url}/control/{}?view=1", fleet.session)).await.unwrap();
    hear(&mut watcher, "connected").await;
    say(&mut watcher, json!({"mode": "manual", "force": true})).await;
    assert!(hear(&mut watcher, "error").await["message"].as_str().unwrap().contains("for watching"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_answered_and_too_much_of_it_ends_the_connection() {
    let fleet = Fleet::manual().await;
    let url = serve(&fleet).await;
    let mut page = open(&url, &fleet, &token(&fleet, "anna")).await;
    for (text, says) in [
        ("{", "not understood"),
        (r#"{"type":"fly"}"#, "\"fly\""),
        (r#"{"type":"robot_control","velocity":{"x":1e9}}"#, "velocity.x is 1000000000"),
    ] {
        page.send(Message::text(text)).await.unwrap();
        let refused = hear(&mut page, "error").await["message"].as_str().unwrap().to_owned();
        assert!(refused.contains(says), "{text}: {refused}");
    }
    page.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert!(hear(&mut page, "error").await["message"].as_str().unwrap().contains("JSON text"));
    say(&mut page, json!({"type": "ping"})).await;
    hear(&mut page, "pong").await;
    for _ in 0..60 {
        page.send(Message::text("{")).await.ok();
    }
    assert_eq!(closed(&mut page).await, (1008, "too many messages that are none".to_owned()));

    let mut page = open(&url, &fleet, &token(&fleet, "anna")).await;
    page.send(Message::text("x".repeat(65 << 10))).await.unwrap();
    assert_eq!(closed(&mut page).await.0, 1009);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_hears_that_the_session_is_over() {
    let fleet = Fleet::manual().await;
    let url = serve(&fleet).await;
    let mut page = open(&url, &fleet, &token(&fleet, "anna")).await;
    hear(&mut page, "connected").await;
    fleet.close().await;
    hear(&mut page, "ended").await;
    assert_eq!(closed(&mut page).await, (1000, "the session is over".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_in_a_hybrid_session_is_recorded_and_the_page_is_told_which() {
    let fleet = Fleet::start(Wish { mode: Mode::Hybrid, human_demo: true, ..Wish::default() }).await;
    let url = serve(&fleet).await;
    let mut page = open(&url, &fleet, &token(&fleet, "anna")).await;
    assert_eq!(hear(&mut page, "connected").await["mode"], "ai");
    while hear(&mut page, "robot_connection").await["open"] != true {}
    say(&mut page, json!({"mode": "manual"})).await;
    while hear(&mut page, "mode").await["recording"] != true {}
    for number in 1..=5 {
        fleet.simulator().step(number, "human");
        hear(&mut page, "step").await;
    }
    say(&mut page, json!({"mode": "ai"})).await;
    let id = hear(&mut page, "demonstration").await["id"].as_str().unwrap().to_owned();
    let steps = fleet.books.read(|tables| tables.demonstrations[&id].demonstration.steps);
    assert_eq!(steps, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_and_simulator_find_each_other_through_the_relay() {
    let fleet = Fleet::manual().await;
    let url = serve(&fleet).await;
    let at = |side: &str| {
        format!("{url}/api/webrtc/signaling/{side}/{}?token={}", fleet.session, token(&fleet, "anna"))
    };
    let (mut browser, _) = connect_async(at("frontend")).await.unwrap();
    let offer = r#"{"type":"offer",  "sessionId":"s","sdp":"v=0"}"#;
    browser.send(Message::text(offer)).await.unwrap();
    let (mut simulator, _) = connect_async(at("isaac-sim")).await.unwrap();
    assert_eq!(hear(&mut simulator, "ready").await["clientType"], "frontend");
    let heard = timeout(Duration::from_secs(2), simulator.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(heard, Message::text(offer));
    assert_eq!(hear(&mut browser, "ready").await["clientType"], "isaac-sim");
    let (mut newer, _) = connect_async(at("frontend")).await.unwrap();
    assert_eq!(closed(&mut browser).await.1, "another connection has taken this one's place");
    simulator.send(Message::text(r#"{"type":"answer","sdp":"x"}"#)).await.unwrap();
    hear(&mut newer, "answer").await;
    drop(simulator);
    assert_eq!(hear(&mut newer, "error").await["code"], "PEER_LEFT");
    fleet.close().await;
    assert_eq!(closed(&mut newer).await.1, "the session is over");
}

/// How a simulator is answered that comes with this: 101 lets it in.
async fn seated(url: &str, fleet: &Fleet, query: &str, headers: &[(&'static str, &str)]) -> u16 {
    let path = format!("{url}/api/webrtc/signaling/isaac-sim/{}{query}", fleet.session);
    let mut request = path.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((_, answer)) => answer.status().as_u16(),
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        Err(other) => panic!("{query} {headers:?}: {other}"),
    }
}

fn locked() -> Access {
    let key = |owner: &str, key: &str, role: &str| settings::ApiKey {
        owner: owner.into(),
        key: key.into(),
        role: role.into(),
    };
    let keys = vec![key("ada", "key-of-ada", "user"), key("", "key-of-robots", "instance")];
    Access::from_settings(&settings::Access { key: keys, ..settings::Access::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulator_takes_its_end_with_an_instances_key_and_who_only_watches_does_not() {
    let fleet = Fleet::manual().await;
    let url = serve_with(&fleet, locked().and_instances("key-of-our-own")).await;
    for key in ["key-of-robots", "key-of-our-own"] {
        assert_eq!(seated(&url, &fleet, "", &[("authorization", &format!("Bearer {key}"))]).await, 101);
        assert_eq!(seated(&url, &fleet, "", &[("x-api-key", key)]).await, 101);
        assert_eq!(seated(&url, &fleet, &format!("?token={key}"), &[]).await, 101);
    }
    let viewer = fleet.controls.issue(&fleet.session, "anna", true).unwrap();
    assert_eq!(seated(&url, &fleet, &format!("?token={viewer}"), &[]).await, 403);
    assert_eq!(seated(&url, &fleet, "?token=key-of-ada", &[]).await, 403);
    assert_eq!(seated(&url, &fleet, "?token=key-of-nobody", &[]).await, 401);
    assert_eq!(seated(&url, &fleet, "", &[]).await, 401);
    let browsers = format!("{url}/api/webrtc/signaling/frontend/{}?token=key-of-robots", fleet.session);
    assert!(connect_async(browsers).await.is_err(), "an instance's key opens the simulator's end alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_everybody_may_attach_a_simulator_of_this_machine_needs_nothing_and_a_foreign_page_is_none() {
    let fleet = Fleet::manual().await;
    let url = serve(&fleet).await;
    assert_eq!(seated(&url, &fleet, "", &[]).await, 101);
    assert_eq!(seated(&url, &fleet, "", &[("authorization", "Bearer a-key-for-another-door")]).await, 101);
    assert_eq!(seated(&url, &fleet, "", &[("origin", "http://evil.test")]).await, 401);
    let viewer = fleet.controls.issue(&fleet.session, "anna", true).unwrap();
    assert_eq!(seated(&url, &fleet, &format!("?token={viewer}"), &[]).await, 403);
    let other = fleet.controls.issue(&"another".parse().unwrap(), "anna", false).unwrap();
    assert_eq!(seated(&url, &fleet, &format!("?token={other}"), &[]).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_an_end_is_the_browsers() {
    let fleet = Fleet::manual().await;
    let url = serve(&fleet).await;
    let path = format!("{url}/api/webrtc/signaling/{}", fleet.session);
    assert!(connect_async(path.clone()).await.is_err());
    let (mut page, _) = connect_async(format!("{path}?token={}", token(&fleet, "anna"))).await.unwrap();
    assert_eq!(seated(&url, &fleet, "", &[]).await, 101);
    assert_eq!(hear(&mut page, "ready").await["clientType"], "isaac-sim");
}
