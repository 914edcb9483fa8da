//! `neuro simulate` alone, as a process: REST, the control websocket, pictures, reset/step, how it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use neuro::instance::step::StepClient;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::shell::neuro;

const SOON: Duration = Duration::from_secs(20);

/// A running `neuro simulate`, ended when it goes out of scope.
struct Simulate {
    child: Child,
    url: String,
    steps: String,
    client: Client,
}

impl Simulate {
    fn start(flags: &[&str]) -> Self {
        let mut command = neuro();
        command.arg("simulate").args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut url, mut steps) = (String::new(), String::new());
        for line in lines.map_while(Result::ok) {
            if let Some(at) = line.strip_prefix("neuro simulate listening on ") {
                url = at.to_owned();
            } else if let Some(at) = line.strip_prefix("neuro simulate steps on ") {
                steps = at.to_owned();
            } else if line.starts_with("  picture ") {
                break;
            }
        }
        assert!(!url.is_empty() && !steps.is_empty(), "it did not come up");
        Self { child, url, steps, client: Client::new() }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let sent = self.client.request(method, format!("{}{path}", self.url)).json(&body).send();
        let answer = sent.await.unwrap();
        let status = answer.status();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// Loads a session and starts it.
    async fn run(&self, session: &str, fence: u64, scene: Value) {
        let load = json!({"fence": fence, "scene_config": scene});
        self.done(Method::PUT, &format!("/v1/sessions/{session}"), load).await;
        self.done(Method::POST, &format!("/v1/sessions/{session}/start"), json!({"fence": fence})).await;
    }

    async fn control(&self, session: &str, fence: u64) -> Result<Control, tungstenite::Error> {
        let url = format!("{}/control/{session}?fence={fence}", self.url.replacen("http", "ws", 1));
        Ok(Control(connect_async(url).await?.0))
    }
}

impl Drop for Simulate {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

struct Control(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Control {
    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message of a type.
    async fn next(&mut self, kind: &str) -> Value {
        let wanted = async {
            loop {
                if let Message::Text(text) = self.0.next().await.unwrap().unwrap() {
                    let message: Value = serde_json::from_str(text.as_str()).unwrap();
                    if message["type"] == kind {
                        return message;
                    }
                }
            }
        };
        tokio::time::timeout(SOON, wanted).await.unwrap_or_else(|_| panic!("no {kind} came"))
    }

    /// Until the newest state satisfies something.
    async fn until(&mut self, what: &str, satisfied: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let state = self.next("robot_state").await;
            if satisfied(&state) {
                return state;
            }
            assert!(begun.elapsed() < SOON, "{what} did not happen: {state}");
        }
    }

    async fn refusal(&mut self, text: &str) -> String {
        self.0.send(Message::text(text.to_owned())).await.unwrap();
        self.next("error").await["message"].as_str().unwrap().to_owned()
    }
}

fn joint(state: &Value, what: &str) -> f64 {
    state[what][0].as_f64().unwrap()
}

fn turn(speed: f64) -> Value {
    json!({"type": "joint_command", "commands": [
        {"type": "velocity", "names": ["panda_joint1"], "values": [speed]}]})
}

fn push(x: f64) -> Value {
    json!({"type": "robot_control", "velocity": {"x": x}})
}

#[tokio::test]
async fn a_session_lives_and_ends_by_its_fence() {
    let simulate = Simulate::start(&[]);
    let ball = json!({"type": "SPHERE", "size": [0.1], "position": {"x": 2.0, "y": 0.0, "z": 0.1}});
    let load = json!({"fence": 7, "scene_config": {"obstacles": [ball, ball]}});
    let loaded = simulate.done(Method::PUT, "/v1/sessions/a", load.clone()).await;
    let paths = json!(["/World/Obstacles/obstacle_0", "/World/Obstacles/obstacle_1"]);
    assert_eq!(loaded["prim_paths"], paths);
    assert_eq!(simulate.done(Method::PUT, "/v1/sessions/a", load).await["prim_paths"], paths, "sent again");

    let patch = json!({"fence": 7, "add": [ball], "remove": ["/World/Obstacles/obstacle_1"]});
    let added = simulate.done(Method::PATCH, "/v1/sessions/a/scene", patch.clone()).await;
    assert_eq!(added["prim_paths"], json!(["/World/Obstacles/obstacle_2"]));
    let (status, problem) = simulate.call(Method::PATCH, "/v1/sessions/a/scene", patch).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid")));

    let (status, problem) = simulate.call(Method::POST, "/v1/sessions/a/start", json!({"fence": 6})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!((&problem["code"], &problem["fence"]), (&json!("stale_fence"), &json!(7)));
    let (status, problem) = simulate.call(Method::POST, "/v1/sessions/b/start", json!({"fence": 7})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));

    let mut before = simulate.control("a", 7).await.unwrap();
    simulate.run("b", 8, json!({"environment": "reach"})).await;
    let closed = async {
        loop {
            match before.0.next().await.unwrap().unwrap() {
                Message::Close(frame) => return frame.unwrap(),
                _ => continue,
            }
        }
    };
    assert_eq!(u16::from(tokio::time::timeout(SOON, closed).await.unwrap().code), 4409);
    assert!(simulate.control("b", 7).await.is_err(), "a stale fence opens no websocket");
    assert!(simulate.control("a", 8).await.is_err(), "it is gone");

    let health = simulate.done(Method::GET, "/v1/health", Value::Null).await;
    assert_eq!((&health["session"], &health["fence"]), (&json!("b"), &json!(8)));
    let (status, _) = simulate.call(Method::DELETE, "/v1/sessions/b?fence=8", Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _) = simulate.call(Method::DELETE, "/v1/sessions/b?fence=8", Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "a second time, too");
    assert_eq!(simulate.done(Method::GET, "/v1/health", Value::Null).await["session"], "");
}

#[tokio::test]
async fn states_come_fifty_times_a_second_and_sensor_data_ten() {
    let simulate = Simulate::start(&[]);
    let mut control = simulate.control("local", 0).await.unwrap();
    let (mut states, mut sensors) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        if let Message::Text(text) = control.0.next().await.unwrap().unwrap() {
            let message: Value = serde_json::from_str(text.as_str()).unwrap();
            match message["type"].as_str().unwrap() {
                "robot_state" => states += 1,
                "sensor_data" => {
                    assert_eq!(message["lidar"].as_array().unwrap().len(), 36);
                    sensors += 1;
                }
                other => panic!("nobody drives, and there is a {other}"),
            }
        }
    }
    assert!((80..=110).contains(&states), "{states} states in 2 s");
    assert!((16..=22).contains(&sensors), "{sensors} in 2 s");
}

#[tokio::test]
async fn joints_follow_commands_within_their_limits_and_stop_when_the_client_vanishes() {
    let simulate = Simulate::start(&[]);
    let mut control = simulate.control("local", 0).await.unwrap();
    let mut watcher = simulate.control("local", 0).await.unwrap();
    let rest = control.next("robot_state").await;
    assert_eq!(rest["names"].as_array().unwrap().len(), 7);
    for _ in 0..10 {
        control.say(turn(9.0)).await;
        control.next("robot_state").await;
    }
    let moving = control.until("moving", |state| joint(state, "velocities") > 1.0).await;
    assert!(joint(&moving, "velocities") <= 2.175 + 1e-6, "{moving}");
    assert!(joint(&moving, "positions") > joint(&rest, "positions"));
    // What was said before is still on its way to the watcher.
    watcher.until("moving", |state| joint(state, "velocities") > 1.0).await;
    drop(control);
    let stood = watcher.until("stopping", |state| joint(state, "velocities") == 0.0).await;
    let later = watcher.next("robot_state").await;
    assert_eq!(joint(&stood, "positions"), joint(&later, "positions"));
    let aim = json!({"type": "joint_command", "commands": [
        {"type": "position", "names": ["panda_joint1"], "values": [0.25]}]});
    watcher.say(aim).await;
    watcher.until("arriving", |state| (joint(state, "positions") - 0.25).abs() < 1e-3).await;
}

#[tokio::test]
async fn commands_that_make_no_sense_are_refused_with_a_sentence_and_the_connection_stays() {
    let simulate = Simulate::start(&[]);
    let mut control = simulate.control("local", 0).await.unwrap();
    for (text, part) in [
        ("{", "not a command"),
        (r#"{"type":"robot_control","velocity":{"x":NaN}}"#, "not a command"),
        (r#"{"type":"robot_control","velocity":{"x":1e999}}"#, "out of range"),
        (r#"{"type":"action","action":[0,0,0]}"#, "7 numbers, not 3"),
        (r#"{"type":"mode","mode":"sideways"}"#, "sideways"),
        (
            r#"{"type":"joint_command","commands":[{"type":"velocity","names":["knee"],"values":[1]}]}"#,
            "\"knee\"",
        ),
    ] {
        let sentence = control.refusal(text).await;
        assert!(sentence.contains(part), "{sentence:?} does not say {part:?}");
    }
    simulate.done(Method::POST, "/v1/sessions/local/pause", json!({"fence": 0})).await;
    assert!(control.refusal(&push(1.0).to_string()).await.contains("start the session"));
    control.next("robot_state").await;
}

#[tokio::test]
async fn a_person_takes_over_a_stepped_environment_and_gives_it_back() {
    let simulate = Simulate::start(&[]);
    let mut steps = StepClient::new(&simulate.steps).unwrap();
    let begun = steps.reset(Some(42), SOON).await.unwrap();
    let again = steps.reset(Some(42), SOON).await.unwrap();
    assert_eq!(begun.observation, again.observation, "one seed, one episode");
    assert_eq!(begun.observation.len(), steps.spec(SOON).await.unwrap().observation_size);
    let first = steps.step(vec![0.0], None, SOON).await.unwrap();
    assert_eq!((first.reward, first.info.by_hand()), (1.0, false));

    let mut control = simulate.control("local", 0).await.unwrap();
    assert!(control.refusal(&push(1.0).to_string()).await.contains("take control"));
    let human = json!({"fence": 0, "controller": "human", "user": "ann"});
    simulate.done(Method::POST, "/v1/sessions/local/controller", human).await;
    assert_eq!(control.next("mode").await["mode"], "manual");
    control.say(push(1.0)).await;
    control.next("robot_state").await;
    let begun = Instant::now();
    let mut by_hand = Vec::new();
    for _ in 0..5 {
        control.say(push(1.0)).await;
        let stepped = steps.step(vec![0.0], None, SOON).await.unwrap();
        assert!(stepped.info.by_hand(), "{stepped:?}");
        by_hand.extend(stepped.info.action);
    }
    assert_eq!(by_hand, [1.0; 5], "what the person did, not what the trainer asked for");
    // Five steps of 20 ms: four times between them, of which the pace may make up for one.
    assert!(begun.elapsed() >= Duration::from_millis(55), "in the task's own time");
    assert_eq!(control.next("step").await["controller"], "human");

    let policy = json!({"fence": 0, "controller": "policy"});
    simulate.done(Method::POST, "/v1/sessions/local/controller", policy).await;
    let back = steps.step(vec![0.0], None, SOON).await.unwrap();
    assert!(!back.info.by_hand() && back.info.action.is_empty(), "{back:?}");
}

#[tokio::test]
async fn pictures_are_jpeg_of_the_size_asked_for_and_change_when_the_robot_moves() {
    let simulate = Simulate::start(&[]);
    let load = json!({"fence": 1, "stream_config": {"width": 320, "height": 240, "fps": 10}});
    simulate.done(Method::PUT, "/v1/sessions/p", load).await;
    simulate.done(Method::POST, "/v1/sessions/p/start", json!({"fence": 1})).await;
    let frame = || async {
        let answer = reqwest::get(format!("{}/v1/sessions/p/frame.jpg", simulate.url)).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "image/jpeg");
        answer.bytes().await.unwrap()
    };
    let before = frame().await;
    let picture = image::load_from_memory(&before).unwrap();
    assert_eq!((picture.width(), picture.height()), (320, 240));
    let mut control = simulate.control("p", 1).await.unwrap();
    for _ in 0..10 {
        control.say(turn(2.0)).await;
        control.next("robot_state").await;
    }
    assert_ne!(frame().await, before);

    let mut stream = reqwest::get(format!("{}/stream/p", simulate.url)).await.unwrap();
    let kind = stream.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("multipart/x-mixed-replace; boundary="), "{kind}");
    let boundary = format!("--{}", kind.rsplit('=').next().unwrap());
    let mut text = Vec::new();
    let parts =
        |text: &[u8]| text.windows(boundary.len()).filter(|part| *part == boundary.as_bytes()).count();
    while parts(&text) < 3 {
        text.extend_from_slice(&stream.chunk().await.unwrap().unwrap());
    }
    let gone = reqwest::get(format!("{}/stream/nowhere", simulate.url)).await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_restored_session_is_the_saved_one() {
    let simulate = Simulate::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file =
        |name: &str| json!({"fence": 3, "uri": format!("file://{}/{name}.json", folder.path().display())});
    simulate
        .done(Method::PUT, "/v1/sessions/s", json!({"fence": 3, "scene_config": {"environment": "reach"}}))
        .await;
    let mut steps = StepClient::new(&simulate.steps).unwrap();
    steps.reset(Some(9), SOON).await.unwrap();
    for _ in 0..5 {
        steps.step(vec![0.3; 7], None, SOON).await.unwrap();
    }
    let saved = simulate.done(Method::POST, "/v1/sessions/s/snapshot", file("one")).await;
    let expected = steps.step(vec![0.1; 7], None, SOON).await.unwrap();
    simulate.done(Method::POST, "/v1/sessions/s/restore", file("one")).await;
    let resaved = simulate.done(Method::POST, "/v1/sessions/s/snapshot", file("two")).await;
    let same = |got: &[f64], expected: &[f64]| {
        got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12)
    };
    let got = steps.step(vec![0.1; 7], None, SOON).await.unwrap();
    assert!(same(&got.observation, &expected.observation), "{got:?} is not {expected:?}");
    assert_eq!(saved["size_bytes"], std::fs::metadata(folder.path().join("one.json")).unwrap().len());
    assert_eq!(saved["sha256"].as_str().unwrap().len(), resaved["sha256"].as_str().unwrap().len());
    let (status, problem) = simulate.call(Method::POST, "/v1/sessions/s/restore", file("three")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem["detail"].as_str().unwrap().contains("three.json"), "{problem}");
}

#[tokio::test]
async fn a_scenario_is_driven_through_and_unknown_ones_are_refused() {
    let simulate = Simulate::start(&["--scenes", "scenes"]);
    simulate.run("d", 1, json!({"environment": "town.usdz", "enable_physics": true})).await;
    let mut control = simulate.control("d", 1).await.unwrap();
    let start = control.next("robot_state").await;
    assert_eq!(start["names"], json!(["base_x", "base_y", "base_yaw"]));
    let drive = json!({"type": "robot_control", "velocity": {"x": 5.0, "yaw": 0.1}});
    for _ in 0..10 {
        control.say(drive.clone()).await;
        control.next("robot_state").await;
    }
    let moved = control.next("robot_state").await;
    let far = |axis: usize| {
        (moved["positions"][axis].as_f64().unwrap() - start["positions"][axis].as_f64().unwrap()).abs()
    };
    assert!(far(0).hypot(far(1)) > 0.2 && far(2) > 0.0, "{moved} from {start}");
    let (status, problem) = simulate
        .call(
            Method::PUT,
            "/v1/sessions/e",
            json!({"fence": 2, "scene_config": {"environment": "moon.usdz"}}),
        )
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem["detail"].as_str().unwrap().contains("moon.usdz"), "{problem}");
    assert_eq!(
        simulate.done(Method::GET, "/v1/health", Value::Null).await["session"],
        "d",
        "what ran still runs"
    );
}

#[tokio::test]
async fn a_signal_ends_it_even_while_pictures_are_watched() {
    let mut simulate = Simulate::start(&[]);
    let mut stream = reqwest::get(format!("{}/stream/local", simulate.url)).await.unwrap();
    stream.chunk().await.unwrap().unwrap();
    let pid = simulate.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = simulate.child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < SOON, "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn an_instance_without_an_orchestrator_ends_by_itself() {
    let orphan = tokio::process::Command::from(neuro())
        .args([
            "simulate",
            "--orchestrator",
            "http://127.0.0.1:9",
            "--name",
            "isaac-sim-1",
            "--orphan-s",
            "1",
        ])
        .stdin(Stdio::null())
        .output();
    let ended = tokio::time::timeout(SOON, orphan).await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("as isaac-sim-1"));
}
