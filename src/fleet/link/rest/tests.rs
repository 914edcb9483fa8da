//! A simulator that is polled: a small HTTP server that keeps the instance contract.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, patch, post, put};
use axum::{Json, Router};
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::fleet::error::FleetError;
use crate::fleet::ids::Fence;
use crate::fleet::ledger::Outcome;
use crate::fleet::link::tests::House;
use crate::fleet::link::{Ask, Links};
use crate::fleet::rows::Condition;
use crate::proto::neuro::{common, ext};

const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Machine {
    instance_id: String,
    ready: bool,
    session: String,
    fence: u64,
    calls: Vec<(String, Value)>,
}

type Shared = Arc<Mutex<Machine>>;
type Answer = Result<(StatusCode, Json<Value>), (StatusCode, Json<Value>)>;

fn fenced(machine: &Shared, what: &str, body: &Value) -> Result<(), (StatusCode, Json<Value>)> {
    let mut machine = machine.lock().unwrap();
    let fence = body["fence"].as_u64().unwrap();
    if fence < machine.fence {
        let problem = json!({"detail": "too late", "code": "stale_fence", "fence": machine.fence});
        return Err((StatusCode::CONFLICT, Json(problem)));
    }
    machine.fence = fence;
    machine.calls.push((what.to_owned(), body.clone()));
    Ok(())
}

async fn act(machine: State<Shared>, path: Path<(String, String)>, body: Json<Value>) -> Answer {
    fenced(&machine, &path.1, &body)?;
    let answer = match path.1.as_str() {
        "snapshot" => json!({"uri": body["uri"], "size_bytes": 12, "sha256": "ab"}),
        "restore" => {
            let problem = json!({"detail": "no such file", "code": "invalid"});
            return Err((StatusCode::UNPROCESSABLE_ENTITY, Json(problem)));
        }
        _ => json!({}),
    };
    Ok((StatusCode::OK, Json(answer)))
}

async fn load(machine: State<Shared>, session: Path<String>, body: Json<Value>) -> Answer {
    fenced(&machine, "load", &body)?;
    machine.lock().unwrap().session = session.0;
    Ok((StatusCode::CREATED, Json(json!({"prim_paths": ["/World/Obstacles/obstacle_0"]}))))
}

async fn change(machine: State<Shared>, _session: Path<String>, body: Json<Value>) -> Answer {
    fenced(&machine, "scene", &body)?;
    Ok((StatusCode::OK, Json(json!({"prim_paths": []}))))
}

async fn unload(machine: State<Shared>, _session: Path<String>, query: Query<Value>) -> Answer {
    let fence: u64 = query["fence"].as_str().unwrap().parse().unwrap();
    fenced(&machine, "unload", &json!({"fence": fence}))?;
    machine.lock().unwrap().session.clear();
    Ok((StatusCode::NO_CONTENT, Json(Value::Null)))
}

async fn health(machine: State<Shared>) -> Json<Value> {
    let machine = machine.lock().unwrap();
    let gpus = json!([{"index": 0, "uuid": "GPU-1", "name": "L40"}]);
    Json(json!({"ready": machine.ready, "fps": 61.5, "session": machine.session, "fence": machine.fence,
        "instance_id": machine.instance_id, "gpus": gpus}))
}

async fn serve(machine: Shared, at: &str) -> (String, JoinHandle<()>) {
    let routes = Router::new()
        .route("/v1/health", get(health))
        .route("/v1/sessions/{id}", put(load).delete(unload))
        .route("/v1/sessions/{id}/scene", patch(change))
        .route("/v1/sessions/{id}/{what}", post(act))
        .with_state(machine);
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (format!("http://{address}"), server)
}

struct Polling {
    house: House,
    machine: Shared,
    url: String,
    server: JoinHandle<()>,
    poller: JoinHandle<()>,
    trouble: tokio::sync::watch::Receiver<String>,
}

async fn polling(machine: Machine) -> Polling {
    let house = House::new();
    let machine = Arc::new(Mutex::new(machine));
    let (url, server) = serve(Arc::clone(&machine), "127.0.0.1:0").await;
    let (trouble, seen) = tokio::sync::watch::channel(String::new());
    let one = Polled { url: url.clone(), pool: "lab".to_owned(), name: "lab-1".to_owned() };
    let poller = tokio::spawn(poll(house.links.clone(), one, trouble));
    Polling { house, machine, url, server, poller, trouble: seen }
}

impl Polling {
    async fn present(&self) -> InstanceId {
        let id = id_of_url(&self.url);
        self.house.until("registered", |house| house.condition(id) == Some(Condition::Present)).await;
        id
    }

    fn links(&self) -> &Links {
        &self.house.links
    }

    fn calls(&self) -> Vec<String> {
        self.machine.lock().unwrap().calls.iter().map(|(what, _)| what.clone()).collect()
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.poller.abort();
        self.server.abort();
    }
}

fn ready() -> Machine {
    Machine { ready: true, ..Machine::default() }
}

fn scene(session: &str) -> Ask {
    let scene = common::GrpcSceneConfig { environment: "reach".to_owned(), ..Default::default() };
    Ask::Load(ext::LoadScene {
        session_id: session.to_owned(),
        scene_config: scene.encode_to_vec(),
        stream_config: Vec::new(),
    })
}

#[test]
fn an_id_of_a_url_is_always_the_same_and_a_uuid_that_says_it_is_made_up() {
    let id = id_of_url("http://10.0.0.1:8211");
    assert_eq!(id, id_of_url("http://10.0.0.1:8211/"));
    assert_ne!(id, id_of_url("http://10.0.0.1:8212"));
    assert_eq!((id.0.get_version_num(), id.0.get_variant()), (8, uuid::Variant::RFC4122));
}

#[tokio::test]
async fn one_that_is_not_ready_is_not_registered_until_it_is() {
    let polling = polling(Machine::default()).await;
    let mut trouble = polling.trouble.clone();
    trouble.wait_for(|text| text == "it is not ready").await.unwrap();
    assert_eq!(polling.house.condition(id_of_url(&polling.url)), None);
    polling.machine.lock().unwrap().ready = true;
    let id = polling.present().await;
    trouble.wait_for(String::is_empty).await.unwrap();
    let row = polling.house.books.read(|tables| tables.instances[&id].clone());
    assert_eq!((row.name.as_str(), row.pool.as_str()), ("lab-1", "lab"));
    assert_eq!(row.gpus[0].uuid, "GPU-1");
    assert_eq!(row.endpoints.control_ws_url, format!("{}/control", polling.url.replace("http", "ws")));
    polling.house.until("a pulse", |house| house.links.pulse(id).is_some()).await;
    assert!((polling.links().pulse(id).unwrap().heartbeat.fps - 61.5).abs() < 1e-9);
}

#[tokio::test]
async fn orders_become_calls_of_the_instance_contract() {
    let polling = polling(ready()).await;
    let id = polling.present().await;
    let (session, outcome) = polling.house.open("s-1").await;
    let Outcome::Granted { members, .. } = outcome else { panic!("{outcome:?}") };
    let fence = members[0].fence;
    let order = |ask| polling.links().order(id, fence, ask, LIMIT);
    let paths = order(scene(session.as_str())).await.unwrap();
    assert_eq!(paths["prim_paths"], r#"["/World/Obstacles/obstacle_0"]"#);
    order(Ask::Start(ext::Start { real_time: true, time_scale: 2.0 })).await.unwrap();
    order(Ask::Pause(ext::Pause {})).await.unwrap();
    let human = ext::SetController { controller: ext::Controller::Human.into(), user: "anna".to_owned() };
    order(Ask::Controller(human)).await.unwrap();
    let position = common::GrpcPosition { x: 1.0, y: 2.0, z: 3.0 }.encode_to_vec();
    order(Ask::Update(ext::UpdateScene { robot_position: position, ..Default::default() })).await.unwrap();
    let to = ext::Snapshot { uri: "file:///s".to_owned(), checkpoint: false };
    let saved = order(Ask::Snapshot(to)).await.unwrap();
    assert_eq!((saved["uri"].as_str(), saved["size_bytes"].as_str()), ("file:///s", "12"));
    order(Ask::Stop(ext::Stop { cleanup: false, grace_ms: 0 })).await.unwrap();
    order(Ask::Stop(ext::Stop { cleanup: true, grace_ms: 0 })).await.unwrap();
    let expected = ["load", "start", "pause", "controller", "scene", "snapshot", "stop", "unload"];
    assert_eq!(polling.calls(), expected);
    let calls = polling.machine.lock().unwrap().calls.clone();
    assert!(calls.iter().all(|(_, body)| body["fence"] == fence.0));
    assert_eq!(calls[0].1["scene_config"]["environment"], "reach");
    assert_eq!(calls[1].1["time_scale"], 2.0);
    assert_eq!(calls[3].1["controller"], "human");
    assert_eq!(calls[4].1["robot_position"]["y"], 2.0);
}

#[tokio::test]
async fn refusals_of_a_polled_simulator_say_whose_turn_it_is() {
    let polling = polling(ready()).await;
    let id = polling.present().await;
    let none = polling.links().order(id, Fence(9), Ask::Pause(ext::Pause {}), LIMIT).await.unwrap_err();
    assert!(matches!(none, FleetError::Precondition(_)), "{none}");
    polling.house.open("s").await;
    polling.links().order(id, Fence(9), scene("s"), LIMIT).await.unwrap();
    let stale = polling.links().order(id, Fence(3), Ask::Pause(ext::Pause {}), LIMIT).await.unwrap_err();
    assert!(matches!(stale, FleetError::Stale { given: Fence(3), current: Fence(9), .. }), "{stale}");
    let restore = Ask::Restore(ext::RestoreScene { uri: "file:///none".to_owned() });
    let invalid = polling.links().order(id, Fence(9), restore, LIMIT).await.unwrap_err();
    assert!(matches!(invalid, FleetError::Invalid { .. }), "{invalid}");
    let train = polling.links().order(id, Fence(9), Ask::Train(ext::Train::default()), LIMIT).await;
    assert!(matches!(train, Err(FleetError::Precondition(_))));
}

#[tokio::test]
async fn one_that_stops_answering_is_away_then_lost_and_comes_back_as_the_same_one() {
    let mut polling = polling(ready()).await;
    let id = polling.present().await;
    polling.server.abort();
    polling.house.until("away", |house| house.condition(id) == Some(Condition::Away)).await;
    polling.house.until("lost", |house| house.condition(id) == Some(Condition::Lost)).await;
    assert!(!polling.links().knows(id));
    assert!(polling.trouble.borrow().contains("refused"), "{}", *polling.trouble.borrow());
    let address = polling.url.trim_start_matches("http://").to_owned();
    polling.server = serve(Arc::clone(&polling.machine), &address).await.1;
    polling.present().await;
}

#[tokio::test]
async fn one_that_was_restarted_under_a_session_is_lost_and_ready_for_another() {
    let polling = polling(ready()).await;
    let id = polling.present().await;
    let (session, _) = polling.house.open("s").await;
    let fence = polling.house.books.read(|tables| tables.instances[&id].fence);
    polling.links().order(id, fence, scene("s"), LIMIT).await.unwrap();
    polling
        .house
        .until("the poll sees it", |house| {
            house.links.pulse(id).is_some_and(|pulse| pulse.heartbeat.session_id == "s")
        })
        .await;
    polling.machine.lock().unwrap().session.clear();
    let higher = |house: &House| house.books.read(|tables| tables.instances[&id].fence) > fence;
    polling.house.until("a new grant", higher).await;
    let members = |house: &House| house.books.read(|tables| tables.members(&session).len());
    polling.house.until("the session has it again", |house| members(house) == 1).await;
}

#[tokio::test]
async fn one_that_runs_what_nobody_asked_for_is_told_to_drop_it() {
    let polling = polling(Machine { session: "old".to_owned(), ..ready() }).await;
    let id = polling.present().await;
    polling.house.until("dropped", |_| polling.machine.lock().unwrap().session.is_empty()).await;
    assert_eq!(polling.calls()[0], "unload");
    polling.links().freed(id, Fence(99));
}
