//! The fleet's REST mirror, from outside: `neuro orchestrate` with simulators of this binary.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::fleet_grpc::harness::{Fleet, NOBODY, SIMULATORS};

/// How long something that takes moments may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

async fn ask(fleet: &Fleet, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = Client::new().request(method, format!("http://{}{path}", fleet.http));
    let response = if body.is_null() { request } else { request.json(&body) }.send().await.unwrap();
    read(response).await
}

async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
}

async fn get(fleet: &Fleet, path: &str) -> (u16, Value) {
    ask(fleet, Method::GET, path, Value::Null).await
}

async fn post(fleet: &Fleet, path: &str, body: Value) -> (u16, Value) {
    ask(fleet, Method::POST, path, body).await
}

/// Looks until the session is in this phase.
async fn until(fleet: &Fleet, id: &str, phase: &str) -> Value {
    let end = Instant::now() + SOON;
    loop {
        let (_, session) = get(fleet, &format!("/v1/sessions/{id}")).await;
        if session["phase"] == phase {
            return session;
        }
        assert!(Instant::now() < end, "not {phase}: {session}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_session_is_made_started_watched_and_ended_over_rest() {
    let fleet = Fleet::start(SIMULATORS);
    let (status, made) = post(&fleet, "/v1/sessions", json!({ "session_id": "rest-1", "wait_s": 60 })).await;
    assert_eq!((status, &made["phase"], &made["mode"]), (201, &json!("ready"), &json!("manual")), "{made}");
    let (again, found) = post(&fleet, "/v1/sessions", json!({ "session_id": "rest-1" })).await;
    assert!(
        (200..300).contains(&again) && found["simulators"][0]["id"] == made["simulators"][0]["id"],
        "{found}"
    );

    let (status, _) = post(&fleet, "/v1/sessions/rest-1/start", json!({ "real_time": true })).await;
    assert_eq!(status, 200);
    let running = until(&fleet, "rest-1", "running").await;
    assert!(running["simulators"][0]["fence"].as_u64().unwrap() > 0, "{running}");
    assert_eq!(running["environment"], "balance");

    let picture = reqwest::get(format!("http://{}/v1/sessions/rest-1/frame.jpg", fleet.http)).await.unwrap();
    assert_eq!(picture.headers()["content-type"], "image/jpeg");
    assert!(picture.bytes().await.unwrap().starts_with(&[0xff, 0xd8]));

    let (status, list) = get(&fleet, "/v1/sessions/rest-1/events").await;
    let events = list["events"].as_array().unwrap();
    let seqs: Vec<i64> = events.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!((status, seqs), (200, (1..=list["last_seq"].as_i64().unwrap()).collect()));
    assert!(events.iter().any(|event| event["type"] == "phase" && event["to"] == "running"), "{list}");
    assert!(events.iter().any(|event| event["type"] == "instance" && event["event"] == "granted"), "{list}");

    let (status, released) = ask(&fleet, Method::DELETE, "/v1/sessions/rest-1", Value::Null).await;
    assert_eq!((status, released["released_instances"].as_array().unwrap().len()), (200, 1));
    let (_, nothing) = ask(&fleet, Method::DELETE, "/v1/sessions/rest-1", Value::Null).await;
    assert_eq!(nothing["released_instances"], json!([]));
    assert_eq!(get(&fleet, "/v1/sessions/rest-1").await.1["ended"], true);
}

#[tokio::test]
async fn a_watcher_hears_every_event_once_and_comes_back_after_its_last() {
    let fleet = Fleet::start(SIMULATORS);
    post(&fleet, "/v1/sessions", json!({ "session_id": "w", "wait_s": 60 })).await;
    let url = format!("ws://{}/v1/sessions/w/events", fleet.http);
    let (mut first, _) = connect_async(&url).await.unwrap();
    let seen: Value = serde_json::from_str(first.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(seen["seq"], 1);
    drop(first);

    let (mut second, _) = connect_async(format!("{url}?after=1")).await.unwrap();
    post(&fleet, "/v1/sessions/w/stop", json!({})).await;
    let mut expected = 2;
    let mut last = Value::Null;
    loop {
        match tokio::time::timeout(SOON, second.next()).await.expect("the log ends") {
            Some(Ok(Message::Text(text))) => {
                last = serde_json::from_str(&text).unwrap();
                assert_eq!(last["seq"], expected, "dense and in order");
                expected += 1;
            }
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(u16::from(frame.code), 1000);
                break;
            }
            Some(Ok(_)) => {}
            other => panic!("the log broke off: {other:?}"),
        }
    }
    assert!(expected > 3, "the end of the session was heard: {last}");
}

#[tokio::test]
async fn the_overview_tells_everything_once_and_then_what_changes() {
    let fleet = Fleet::start(SIMULATORS);
    let (mut socket, _) = connect_async(format!("ws://{}/v1/events", fleet.http)).await.unwrap();
    let mut next = async || loop {
        let message = tokio::time::timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap();
        if let Message::Text(text) = message {
            return serde_json::from_str::<Value>(&text).unwrap();
        }
    };
    let all = next().await;
    assert_eq!((&all["type"], &all["fleet"]["healthy"]), (&json!("all"), &json!(true)), "{all}");
    assert_eq!(all["pools"]["isaac-sim"]["backend"], "process");
    post(&fleet, "/v1/sessions", json!({ "session_id": "seen" })).await;
    loop {
        let news = next().await;
        assert_eq!(news["type"], "changes");
        if news["sessions"]["seen"].is_object() {
            break;
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_with_status_code_and_field() {
    let fleet = Fleet::start(NOBODY);
    let cases = [
        (json!({ "mode": "fast" }), 400, "invalid", "mode"),
        (json!({ "colour": "red" }), 400, "invalid", "colour"),
        (json!({ "session_id": "../x" }), 400, "invalid", "session_id"),
        (json!({ "wait_s": -1 }), 400, "invalid", "wait_s"),
        (
            json!({ "scene_config": { "obstacles": [{ "type": "cone" }] } }),
            400,
            "invalid",
            "scene_config.obstacles[0].type",
        ),
    ];
    for (body, status, code, field) in cases {
        let (got, said) = post(&fleet, "/v1/sessions", body.clone()).await;
        assert_eq!(
            (got, &said["code"], &said["field"]),
            (status, &json!(code), &json!(field)),
            "{body}: {said}"
        );
    }
    let (status, said) = get(&fleet, "/v1/sessions/nobody").await;
    assert_eq!((status, &said["code"]), (404, &json!("not_found")));
    assert!(said["detail"].as_str().unwrap().contains("nobody"), "{said}");
    let (status, said) = get(&fleet, "/v1/sessions?phase=asleep").await;
    assert_eq!((status, &said["field"]), (400, &json!("phase")), "{said}");
    let (status, said) = get(&fleet, "/v1/sessions?colour=red").await;
    assert_eq!(status, 400, "{said}");
    assert_eq!(get(&fleet, "/v1/nothing").await.0, 404);
    assert_eq!(ask(&fleet, Method::PUT, "/v1/sessions", json!({})).await.0, 405);

    let plain =
        Client::new().post(format!("http://{}/v1/sessions", fleet.http)).body("{}").send().await.unwrap();
    assert_eq!(plain.status(), 415, "a form of another site is no request");
}

#[tokio::test]
async fn nothing_free_is_429_with_a_time_or_202_with_a_place_in_the_queue() {
    let fleet = Fleet::start(NOBODY);
    let url = format!("http://{}/v1/sessions", fleet.http);
    let refused = Client::new().post(&url).json(&json!({ "queue": false })).send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"), "{:?}", refused.headers());
    let (status, said) = read(refused).await;
    assert_eq!((status, &said["code"]), (429, &json!("exhausted")), "{said}");
    assert!(said["retry_after_s"].as_f64().unwrap() > 0.0);

    let (status, queued) =
        post(&fleet, "/v1/sessions", json!({ "session_id": "q", "mode": "training" })).await;
    assert_eq!(
        (status, &queued["phase"], &queued["queue_position"]),
        (202, &json!("queued"), &json!(1)),
        "{queued}"
    );
    assert!(!queued["waiting_for"].as_str().unwrap().is_empty(), "{queued}");
}

#[tokio::test]
async fn a_key_opens_its_owners_sessions_and_pages_are_open() {
    let keys = "[[access.key]]\nowner = \"ada\"\nkey = \"adas-long-key-1234\"\nrole = \"user\"\n\
        [[access.key]]\nowner = \"grace\"\nkey = \"graces-long-key-12\"\nrole = \"user\"\n\
        [[access.key]]\nowner = \"root\"\nkey = \"roots-long-key-123\"\nrole = \"admin\"\n";
    let fleet = Fleet::start(&format!("{keys}{NOBODY}"));
    let with = |key: &str, method: Method, path: &str| {
        Client::new().request(method, format!("http://{}{path}", fleet.http)).bearer_auth(key)
    };
    assert_eq!(get(&fleet, "/v1/sessions").await.0, 401);
    assert_eq!(get(&fleet, "/health").await.0, 200);
    let page = Client::new()
        .get(format!("http://{}/", fleet.http))
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert!(page.text().await.unwrap().contains("neuro: fleet"));

    let body = json!({ "session_id": "adas", "owner": "grace", "mode": "training" });
    let made = with("adas-long-key-1234", Method::POST, "/v1/sessions").json(&body).send().await.unwrap();
    let (status, made) = read(made).await;
    assert_eq!((status, &made["owner"]), (202, &json!("ada")), "a key is never another owner: {made}");
    for (key, status) in
        [("adas-long-key-1234", 200), ("graces-long-key-12", 404), ("roots-long-key-123", 200)]
    {
        let answer = with(key, Method::GET, "/v1/sessions/adas").send().await.unwrap();
        assert_eq!(answer.status(), status, "{key}");
    }
    let drain = with("adas-long-key-1234", Method::POST, "/v1/pools/drain").send().await.unwrap();
    assert_eq!(drain.status(), 403);
    let header = Client::new()
        .get(format!("http://{}/v1/sessions", fleet.http))
        .header("x-api-key", "adas-long-key-1234");
    assert_eq!(header.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_page_of_another_site_can_neither_act_nor_listen() {
    let fleet = Fleet::start(NOBODY);
    let url = format!("http://{}/v1/sessions", fleet.http);
    let foreign =
        Client::new().post(&url).header("origin", "http://evil.test").json(&json!({})).send().await.unwrap();
    let (status, said) = read(foreign).await;
    assert_eq!((status, &said["code"]), (403, &json!("cross_origin")));
    let mut request = format!("ws://{}/v1/events", fleet.http).into_client_request().unwrap();
    request.headers_mut().insert("origin", "http://evil.test".parse().unwrap());
    assert!(connect_async(request).await.is_err());
    let own = Client::new()
        .post(&url)
        .header("origin", format!("http://{}", fleet.http))
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(own.status(), 202);
}

#[tokio::test]
async fn a_drained_fleet_takes_no_sessions_until_it_is_undrained() {
    let fleet = Fleet::start(NOBODY);
    assert_eq!(get(&fleet, "/v1/health").await.0, 200);
    let (status, drained) = post(&fleet, "/v1/pools/drain", json!({ "deadline_s": 5 })).await;
    assert_eq!((status, &drained["sessions"]), (200, &json!([])), "{drained}");
    assert_eq!(get(&fleet, "/v1/health").await.0, 503);
    let (status, said) = post(&fleet, "/v1/sessions", json!({})).await;
    assert_eq!((status, &said["code"]), (503, &json!("unavailable")), "{said}");
    assert_eq!(post(&fleet, "/v1/pools/undrain", json!({})).await.0, 200);
    assert_eq!(get(&fleet, "/v1/health").await.0, 200);
}

#[tokio::test]
async fn metrics_count_sessions_and_instances() {
    let fleet = Fleet::start(NOBODY);
    post(&fleet, "/v1/sessions", json!({ "mode": "training" })).await;
    let text = reqwest::get(format!("http://{}/metrics", fleet.http)).await.unwrap().text().await.unwrap();
    for line in [
        "neuro_fleet_sessions{phase=\"queued\"} 1",
        "neuro_fleet_queue_length 1",
        "neuro_fleet_sessions{phase=\"running\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_shell_shows_what_rest_shows() {
    let fleet = Fleet::start(NOBODY);
    post(&fleet, "/v1/sessions", json!({ "session_id": "shown", "mode": "training", "owner": "ada" })).await;
    let at = format!("http://{}", fleet.grpc);
    let run = |arguments: &[&str]| {
        let whole = [&["fleet"], arguments, &["--orchestrator", &at]].concat();
        crate::shell::run(&whole)
    };
    let (status, list) = (run(&["status"]), run(&["sessions", "--json"]));
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.out.contains("1 queued"), "{status:?}");
    let line: Value = serde_json::from_str(list.out.trim()).unwrap();
    assert_eq!(
        (&line["session_id"], &line["phase"], &line["owner"]),
        (&json!("shown"), &json!("queued"), &json!("ada"))
    );
    assert_eq!(run(&["drain"]).code, Some(0));
    assert_eq!(run(&["status"]).code, Some(1), "a drained fleet is an answer of no");
    assert_eq!(run(&["drain", "--undo"]).code, Some(0));
    ask(&fleet, Method::DELETE, "/v1/sessions/shown", Value::Null).await;
    let watched = run(&["watch", "shown"]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(watched.out.lines().last().unwrap().contains("stopped"), "{watched:?}");
    let nobody = crate::shell::run(&["fleet", "status", "--orchestrator", "http://127.0.0.1:9"]);
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.err.contains("no orchestrator answers at http://127.0.0.1:9"), "{nobody:?}");
}
