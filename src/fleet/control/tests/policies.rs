use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Multipart;
use axum::routing::post;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::fleet::{Fleet, PICTURE, Wish, until};
use crate::fleet::control::Who;
use crate::fleet::control::policy::{Action, PolicyDriver, RemotePolicy};
use crate::fleet::error::FleetError;
use crate::instance::contract::{ToRobot, Velocity};
use crate::proto::neuro::ext::Controller;

#[derive(Debug, Default)]
struct Counting {
    acts: AtomicU32,
    broken: AtomicBool,
}

impl PolicyDriver for Counting {
    fn act(&self, frame_jpeg: Bytes, instruction: &str) -> BoxFuture<'_, Result<Action, FleetError>> {
        assert_eq!((&frame_jpeg[..], instruction), (PICTURE, "stand still"));
        let number = f64::from(self.acts.fetch_add(1, Ordering::SeqCst) + 1);
        let broken = self.broken.load(Ordering::SeqCst);
        Box::pin(async move {
            if broken {
                return Err(FleetError::Internal("out of paper".to_owned()));
            }
            Ok([number / 1000.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        })
    }
}

async fn with(driver: &Arc<Counting>) -> Fleet {
    let driver = Arc::clone(driver) as Arc<dyn PolicyDriver>;
    Fleet::start(Wish { policy: "local".to_owned(), driver: Some(driver), ..Wish::default() }).await
}

fn actions(fleet: &Fleet) -> usize {
    fleet.simulator().commands().iter().filter(|command| matches!(command, ToRobot::Action { .. })).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_drives_until_a_person_does_and_then_again() {
    let driver = Arc::new(Counting::default());
    let fleet = with(&driver).await;
    until("five actions", || actions(&fleet) >= 5).await;
    let closed = |command: &ToRobot| matches!(command, ToRobot::Action { action } if action[6] == 0.0);
    assert!(fleet.simulator().commands().iter().all(closed));
    let person = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    assert!(!person.driving(), "being there does not take it from the policy");
    let velocity = Velocity { x: 0.5, ..Velocity::default() };
    person.send(ToRobot::RobotControl { velocity }).await.unwrap();
    assert!(person.driving());
    let before = actions(&fleet);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(actions(&fleet), before, "the policy went on beside the person");
    person.give_back(true).await.unwrap();
    until("the policy again", || actions(&fleet) > before + 2).await;
    let told: Vec<_> =
        fleet.simulator().controllers().into_iter().map(|(controller, _)| controller).collect();
    assert_eq!(told, [Controller::Policy, Controller::Human, Controller::Policy]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_given_back_to_nobody_stays_put_until_the_policy_is_asked() {
    let driver = Arc::new(Counting::default());
    let fleet = with(&driver).await;
    until("an action", || actions(&fleet) >= 1).await;
    let person = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    person.take(false, None).await.unwrap();
    person.give_back(false).await.unwrap();
    let before = actions(&fleet);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(actions(&fleet), before);
    person.give_back(true).await.unwrap();
    until("the policy again", || actions(&fleet) > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_fails_is_asked_ever_less_often_and_the_log_says_why_once() {
    let driver = Arc::new(Counting { broken: AtomicBool::new(true), ..Counting::default() });
    let fleet = with(&driver).await;
    tokio::time::sleep(Duration::from_millis(2200)).await;
    let acts = driver.acts.load(Ordering::SeqCst);
    assert!((2..=4).contains(&acts), "{acts} tries");
    driver.broken.store(false, Ordering::SeqCst);
    until("actions", || actions(&fleet) >= 1).await;
    until("told", || driver.acts.load(Ordering::SeqCst) > acts).await;
    let events = fleet.books.events(&fleet.session, 0, 100).await.unwrap();
    let said = format!("{events:?}");
    assert_eq!(said.matches("policy failed: out of paper").count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_does_is_recorded_with_what_it_saw() {
    let driver = Arc::new(Counting::default());
    let fleet = with(&driver).await;
    until("an action", || actions(&fleet) >= 2).await;
    for number in 1..=10 {
        fleet.simulator().step(number, "policy");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let person = fleet.controls.robot(&fleet.session, None, Who::named("anna")).await.unwrap();
    person.take(false, Some(false)).await.unwrap();
    let rows = || fleet.books.read(|tables| tables.demonstrations.values().cloned().collect::<Vec<_>>());
    until("a recording", || !rows().is_empty()).await;
    let row = rows().remove(0).demonstration;
    assert_eq!((row.user.as_str(), row.steps), ("policy", 10));
    let folder = row.uri.strip_prefix("file://").unwrap();
    let steps = std::fs::read_to_string(format!("{folder}/steps.jsonl")).unwrap();
    assert_eq!(steps.matches(r#""type":"action""#).count(), 10, "{steps}");
    assert_eq!(std::fs::read(format!("{folder}/frames/000001.jpg")).unwrap(), PICTURE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_server_is_asked_by_a_form_and_its_failures_are_told_apart() {
    async fn predict(mut form: Multipart) -> (axum::http::StatusCode, String) {
        let (mut image, mut instruction) = (Bytes::new(), String::new());
        while let Some(field) = form.next_field().await.unwrap() {
            match field.name().unwrap() {
                "image" => {
                    assert_eq!(field.content_type(), Some("image/jpeg"));
                    image = field.bytes().await.unwrap();
                }
                "instruction" => instruction = field.text().await.unwrap(),
                other => panic!("{other}"),
            }
        }
        assert_eq!(&image[..], PICTURE);
        match instruction.as_str() {
            "good" => (
                axum::http::StatusCode::OK,
                r#"{"success":true,"action":[0.1,0.2,0.3,0,0,0,0.5],"warnings":[]}"#.to_owned(),
            ),
            "short" => (axum::http::StatusCode::OK, r#"{"success":true,"action":[1]}"#.to_owned()),
            _ => (
                axum::http::StatusCode::SERVICE_UNAVAILABLE,
                r#"{"success":false,"error":"loading","action":null,"code":"loading"}"#.to_owned(),
            ),
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/predict", post(predict))).await.unwrap();
    });
    let policy = RemotePolicy::new(&url, reqwest::Client::new()).unwrap();
    let frame = Bytes::from_static(PICTURE);
    assert_eq!(policy.act(frame.clone(), "good").await, Ok([0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 0.5]));
    let short = policy.act(frame.clone(), "short").await.unwrap_err().to_string();
    assert!(short.contains("1 numbers, expected 7"), "{short}");
    let loading = policy.act(frame, "wait").await.unwrap_err();
    assert!(loading.retry_after().is_some() && loading.to_string().contains("503"), "{loading}");
    assert!(loading.to_string().contains("loading"), "{loading}");
    server.abort();
}
