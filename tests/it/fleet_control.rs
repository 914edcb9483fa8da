//! Driving a real simulator through the real orchestrator, from a page's side of the websocket.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use hmac::{Hmac, Mac};
use neuro::proto::neuro::ext::{ReleaseControlRequest, TakeControlRequest, WatchSessionRequest};
use neuro::proto::neuro::orchestrator::{CreateSessionRequest, StartSimulationRequest, StopSessionRequest};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::fleet_grpc::harness::{Clients, Fleet, SIMULATORS, fresh_id};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const SECRET: &str = "a secret of thirty-two bytes, ok";

/// A fleet with one simulator and a known secret.
fn fleet() -> Fleet {
    Fleet::start(&format!("{SIMULATORS}[control]\nsecret = \"{SECRET}\"\nttl_ms = 2000\n"))
}

/// A session as the platform makes one: no configs at all.
async fn session(clients: &mut Clients) -> String {
    let session_id = fresh_id();
    let create = CreateSessionRequest { session_id: session_id.clone(), mode: 1, ..Default::default() };
    clients.neuro.create_session(create).await.unwrap();
    let start = StartSimulationRequest { session_id: session_id.clone(), ..Default::default() };
    clients.neuro.start_simulation(start).await.unwrap();
    session_id
}

/// A token signed here, not by the orchestrator.
fn token(session: &str, change: impl FnOnce(&mut Value)) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut body = json!({
        "iss": "https://nexus.mosia.app", "sub": "7a1c3c52", "aud": "neuro", "exp": now + 3600, "iat": now,
        "session_id": session, "permission": [], "token_type": "Control",
    });
    change(&mut body);
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS256"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(body.to_string()));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

async fn open(fleet: &Fleet, session: &str, token: &str) -> Socket {
    connect_async(format!("ws://{}/control/{session}?token={token}", fleet.http)).await.unwrap().0
}

async fn refused(fleet: &Fleet, session: &str, token: &str) -> u16 {
    match connect_async(format!("ws://{}/control/{session}?token={token}", fleet.http)).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn hear(socket: &mut Socket, kind: &str) -> Value {
    let waiting = async {
        loop {
            let message = socket.next().await.expect("the socket is open").unwrap();
            if let Message::Text(text) = message {
                let value: Value = serde_json::from_str(&text).unwrap();
                if value["type"] == kind {
                    return value;
                }
            }
        }
    };
    timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("no {kind}"))
}

async fn say(socket: &mut Socket, value: Value) {
    socket.send(Message::text(value.to_string())).await.unwrap();
}

/// Where the robot's hand is.
fn hand(state: &Value) -> [f64; 3] {
    let pose = state["pose"].as_array().expect("a pose");
    [0, 1, 2].map(|axis| pose[axis].as_f64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_moves_the_robot_and_sees_it_move() {
    let fleet = fleet();
    let mut clients = fleet.clients().await;
    let session = session(&mut clients).await;
    let mut page = open(&fleet, &session, &token(&session, |_| {})).await;
    assert_eq!(hear(&mut page, "connected").await["driving"], true);
    let before = hand(&hear(&mut page, "robot_state").await);
    let start = Instant::now();
    let mut moved = 0.0;
    while moved < 0.01 && start.elapsed() < Duration::from_secs(10) {
        say(&mut page, json!({"type": "robot_control", "velocity": {"x": 0.2, "y": 0.0}})).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = hand(&hear(&mut page, "robot_state").await);
        moved = now.iter().zip(before).map(|(now, before)| (now - before).powi(2)).sum::<f64>().sqrt();
    }
    assert!(moved >= 0.01, "the hand moved {moved} m in {:?}", start.elapsed());
    let stop = StopSessionRequest { session_id: session.clone(), cleanup: true };
    clients.neuro.stop_session(stop).await.unwrap();
    hear(&mut page, "ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_forged_expired_or_for_something_else_open_nothing() {
    let fleet = fleet();
    let mut clients = fleet.clients().await;
    let session = session(&mut clients).await;
    let forged = |token: String| format!("{}A", &token[..token.len() - 1]);
    assert_eq!(refused(&fleet, &session, &token(&session, |body| body["exp"] = 1.into())).await, 401);
    assert_eq!(refused(&fleet, &session, &token(&session, |body| body["aud"] = "web".into())).await, 401);
    assert_eq!(
        refused(&fleet, &session, &token(&session, |body| body["token_type"] = "Access".into())).await,
        401
    );
    assert_eq!(refused(&fleet, &session, &token("another", |_| {})).await, 403);
    assert_eq!(refused(&fleet, "another", &token("another", |_| {})).await, 404);
    assert_eq!(refused(&fleet, &session, "").await, 401);
    let broken = token(&session, |_| {});
    let last = broken.chars().last().unwrap();
    if last != 'A' {
        assert_eq!(refused(&fleet, &session, &forged(broken)).await, 401);
    }
}

/// Anna takes a session over, and what she does is recorded.
fn recorded(session_id: &str) -> TakeControlRequest {
    TakeControlRequest {
        session_id: session_id.to_owned(),
        user: "anna".into(),
        ttl_ms: 20_000,
        record: true,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_taken_over_grpc_is_driven_with_its_token_and_kept_as_a_demonstration() {
    let fleet = fleet();
    let mut clients = fleet.clients().await;
    let session_id = session(&mut clients).await;
    let take = recorded(&session_id);
    let lease = clients.sessions.take_control(take.clone()).await.unwrap().into_inner();
    let other = TakeControlRequest { user: "bert".into(), ..take };
    let refused = clients.sessions.take_control(other).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
    let mut page = open(&fleet, &session_id, &lease.token).await;
    assert_eq!(hear(&mut page, "connected").await["driving"], true);
    for _ in 0..50 {
        say(&mut page, json!({"type": "robot_control", "velocity": {"x": 0.1, "y": 0.0}})).await;
        hear(&mut page, "step").await;
    }
    let release = |fence| ReleaseControlRequest {
        session_id: session_id.clone(),
        fence,
        resume_policy: true,
        ..Default::default()
    };
    let stale = clients.sessions.release_control(release(lease.fence - 1)).await.unwrap_err();
    assert_eq!(stale.code(), tonic::Code::FailedPrecondition, "{stale:?}");
    let id =
        clients.sessions.release_control(release(lease.fence)).await.unwrap().into_inner().demonstration_id;
    let folder = fleet.folder.path().join("data/demonstrations").join(&session_id).join(&id);
    let meta: Value = serde_json::from_slice(&std::fs::read(folder.join("meta.json")).unwrap()).unwrap();
    assert!(meta["steps"].as_u64().unwrap() >= 20, "{meta}");
    assert_eq!(meta["user"], "anna");
    let steps = std::fs::read_to_string(folder.join("steps.jsonl")).unwrap();
    assert!(steps.lines().all(|line| line.contains(r#""controller":"human""#)), "{steps}");
    assert!(folder.join("frames/000001.jpg").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_outlives_the_orchestrator_and_its_person_comes_back() {
    let mut fleet = fleet();
    let mut clients = fleet.clients().await;
    let session = session(&mut clients).await;
    let token = token(&session, |_| {});
    let mut page = open(&fleet, &session, &token).await;
    assert_eq!(hear(&mut page, "connected").await["driving"], true);
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-KILL", &fleet.pid().to_string()]).status().unwrap().success());
    fleet.wait();
    let listen = ["--listen".to_owned(), fleet.grpc.clone(), "--http".to_owned(), fleet.http.clone()];
    let folder = std::mem::replace(&mut fleet.folder, tempfile::tempdir().unwrap());
    drop(fleet);
    let settings = std::fs::read_to_string(folder.path().join("fleet.toml")).unwrap();
    let again = Fleet::start_in(folder, &settings, &listen.each_ref().map(String::as_str));
    let start = Instant::now();
    let mut page = open(&again, &session, &token).await;
    let mut driving = hear(&mut page, "connected").await["driving"] == true;
    while !driving && start.elapsed() < Duration::from_secs(20) {
        driving = hear(&mut page, "mode").await["driving"] == true;
    }
    assert!(driving, "nobody drives after the restart");
    hear(&mut page, "robot_state").await;
}

/// A browser offers a connection, before or after the simulator is there, and hears what the simulator says to that.
async fn offer_is_answered(fleet: &Fleet, session: &str) {
    let token = token(session, |_| {});
    let url = format!("ws://{}/api/webrtc/signaling/frontend/{session}?token={token}", fleet.http);
    let (mut page, _) = connect_async(url).await.unwrap();
    say(&mut page, json!({"type": "offer", "sessionId": session, "sdp": "v=0\r\n"})).await;
    let answer = hear(&mut page, "error").await;
    assert_eq!((answer["sessionId"].as_str(), answer["code"].as_str()), (Some(session), Some("no_webrtc")));
    let sentence = answer["message"].as_str().unwrap();
    let picture = sentence.split(' ').find(|word| word.starts_with("http://")).expect("an address");
    assert!(picture.ends_with(&format!("/stream/{session}")), "{sentence}");
    let pictures = reqwest::get(picture).await.unwrap();
    let kind = pictures.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("multipart/x-mixed-replace"), "{kind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browsers_offer_reaches_a_simulator_that_a_pool_started_and_its_answer_comes_back() {
    let fleet = fleet();
    let session = session(&mut fleet.clients().await).await;
    offer_is_answered(&fleet, &session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulator_of_a_pool_relays_signalling_where_keys_are_asked_for_too() {
    let key = "[[access.key]]\nowner = \"ada\"\nkey = \"key-of-ada\"\nrole = \"user\"\n";
    let fleet = Fleet::start(&format!("{SIMULATORS}[control]\nsecret = \"{SECRET}\"\n{key}"));
    let mut clients = fleet.clients().await;
    let session_id = fresh_id();
    let create = CreateSessionRequest { session_id: session_id.clone(), mode: 1, ..Default::default() };
    let mut create = tonic::Request::new(create);
    create.metadata_mut().insert("x-api-key", "key-of-ada".parse().unwrap());
    clients.neuro.create_session(create).await.unwrap();
    offer_is_answered(&fleet, &session_id).await;
}

/// One series of the metrics page; 0 for one that is not there.
async fn scrape(fleet: &Fleet, series: &str) -> f64 {
    let page = reqwest::get(format!("http://{}/metrics", fleet.http)).await.unwrap().text().await.unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or(0.0)
}

/// Scrapes until a series has this value.
async fn counted(fleet: &Fleet, series: &str, wanted: f64) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let value = scrape(fleet, series).await;
        if value == wanted {
            return;
        }
        assert!(Instant::now() < end, "{series} is {value}, expected {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_commands_steps_and_watchers_are_counted_while_a_person_drives() {
    let fleet = fleet();
    let mut clients = fleet.clients().await;
    let session_id = session(&mut clients).await;
    let order = |name: &str| format!("neuro_fleet_orders_total{{order=\"{name}\",outcome=\"ok\"}}");
    counted(&fleet, &order("load"), 1.0).await;
    counted(&fleet, &order("start"), 1.0).await;
    counted(&fleet, "neuro_fleet_watchers", 0.0).await;
    let watch = WatchSessionRequest { session_id: session_id.clone(), resume_after: 0 };
    let mut events = clients.sessions.watch_session(watch).await.unwrap().into_inner();
    events.message().await.unwrap().unwrap();
    assert_eq!(scrape(&fleet, "neuro_fleet_watchers").await, 1.0, "a watch is counted once");

    let take = recorded(&session_id);
    let lease = clients.sessions.take_control(take).await.unwrap().into_inner();
    let mut page = open(&fleet, &session_id, &lease.token).await;
    assert_eq!(hear(&mut page, "connected").await["driving"], true);
    for _ in 0..10 {
        say(&mut page, json!({"type": "robot_control", "velocity": {"x": 0.1, "y": 0.0}})).await;
        hear(&mut page, "step").await;
    }
    let commands = |outcome: &str| format!("neuro_fleet_control_commands_total{{outcome=\"{outcome}\"}}");
    // On a busy machine a command is overtaken by the next: it counts as dropped then.
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let forwarded = scrape(&fleet, &commands("forwarded")).await;
        let given = forwarded + scrape(&fleet, &commands("dropped")).await;
        if forwarded >= 1.0 && given == 10.0 {
            break;
        }
        assert!(Instant::now() < end, "{given} of 10 commands are counted, {forwarded} as forwarded");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let steps = scrape(&fleet, "neuro_fleet_demonstration_steps_total").await;
    assert!(steps >= 1.0, "steps are counted as they are recorded, not at the end");

    let mut other = open(&fleet, &session_id, &token(&session_id, |body| body["sub"] = "bert".into())).await;
    assert_eq!(hear(&mut other, "connected").await["driving"], false);
    say(&mut other, json!({"type": "robot_control", "velocity": {"x": -1.0, "y": 0.0}})).await;
    counted(&fleet, &commands("refused"), 1.0).await;

    let stop = StopSessionRequest { session_id, cleanup: true };
    clients.neuro.stop_session(stop).await.unwrap();
    while let Ok(Some(_)) = events.message().await {}
    counted(&fleet, &order("stop"), 1.0).await;
    counted(&fleet, "neuro_fleet_watchers", 0.0).await;
}
