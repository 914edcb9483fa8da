//! What many clients at once are told: to come back, or that a newer request took their place.

use reqwest::Client;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use crate::golden::fixture;
use crate::server::Server;

/// Requests at once.
const CROWD: usize = 24;

/// Sends the same observation many times at once, each with a robot's id; statuses, `Retry-After` and bodies.
async fn crowd(server: &Server, robot_id: impl Fn(usize) -> String) -> Vec<(u16, Option<u64>, Value)> {
    let image = std::fs::read(fixture("golden/images/c0.png")).unwrap();
    let client = Client::new();
    let asked = (0..CROWD).map(|index| {
        // Every picture differs in bytes behind its end, so that none is answered from memory.
        let picture = [image.clone(), vec![u8::try_from(index).unwrap(); 8]].concat();
        let form = Form::new()
            .part("image", Part::bytes(picture).file_name("image.png"))
            .text("instruction", "take the blue cube")
            .text("robot_id", robot_id(index));
        let request = client.post(server.at("/predict")).multipart(form);
        async move {
            let response = request.send().await.unwrap();
            let wait =
                response.headers().get("retry-after").map(|wait| wait.to_str().unwrap().parse().unwrap());
            (response.status().as_u16(), wait, response.json().await.unwrap())
        }
    });
    futures_util::future::join_all(asked).await
}

#[tokio::test]
async fn a_full_house_says_when_to_come_back() {
    let server = Server::start(&["--model", "models/tabletop", "--backend", "candle", "--queue", "2"]);
    let answers = crowd(&server, |index| format!("robot-{index}")).await;
    let full: Vec<_> = answers.iter().filter(|(status, ..)| *status == 429).collect();
    assert!(!full.is_empty(), "two places and {CROWD} requests");
    for (_, wait, body) in &full {
        assert!(wait.is_some_and(|seconds| seconds >= 1), "{body}");
        assert_eq!((body["success"].as_bool(), body["code"].as_str()), (Some(false), Some("overloaded")));
    }
    let answered = answers.iter().filter(|(status, ..)| *status == 200).count();
    assert!(answered >= 2 && answered + full.len() == CROWD, "{answers:?}");
}

#[tokio::test]
async fn of_one_robots_requests_the_newest_is_answered_and_the_waiting_ones_are_told() {
    let server = Server::start(&["--model", "models/tabletop", "--backend", "candle"]);
    let answers = crowd(&server, |_| "robot".to_owned()).await;
    let superseded: Vec<_> = answers.iter().filter(|(status, ..)| *status == 409).collect();
    assert!(!superseded.is_empty(), "{CROWD} requests of one robot at once");
    for (_, _, body) in &superseded {
        assert_eq!(body["code"], "superseded");
        assert!(body["error"].as_str().unwrap().contains("robot"), "{body}");
    }
    assert!(answers.iter().any(|(status, ..)| *status == 200), "somebody is answered");
    assert!(answers.iter().all(|(status, ..)| [200, 409].contains(status)), "{answers:?}");
}
