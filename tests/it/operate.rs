//! What an operator does to a running server: change its model, scrape it, trace it.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use crate::golden::{model, root};
use crate::server::Server;
use crate::shell::{neuro, run};

async fn ask(server: &Server) -> u16 {
    let bytes = fs::read(root().join("models/tabletop/golden/00.png")).unwrap();
    let part = reqwest::multipart::Part::bytes(bytes).file_name("00.png");
    let form = reqwest::multipart::Form::new().part("image", part);
    let answer = reqwest::Client::new().post(server.at("/predict")).multipart(form).send().await.unwrap();
    answer.status().as_u16()
}

async fn page(server: &Server) -> String {
    reqwest::get(server.at("/metrics")).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn the_model_is_changed_from_the_shell_and_a_refused_one_changes_nothing() {
    let broken = tempfile::tempdir().unwrap();
    fs::create_dir(broken.path().join("half")).unwrap();
    fs::copy(model("tiny").join("config.json"), broken.path().join("half/config.json")).unwrap();
    let roots = format!("models,{}", broken.path().display());
    let server =
        Server::start(&["--model", "models/tabletop", "--admin-token", "sesame", "--models", &roots]);
    let swap = |dir: &str, token: &str| run(&["model", "swap", &server.url, dir, "--admin-token", token]);

    let wrong = swap("models/tiny", "guess");
    assert_eq!(wrong.code, Some(1), "{}{}", wrong.out, wrong.err);
    let refused = swap(broken.path().join("half").to_str().unwrap(), "sesame");
    assert_eq!(refused.code, Some(3), "{}{}", refused.out, refused.err);
    assert!(refused.err.contains("action_stats.json"), "{}", refused.err);
    assert_eq!(refused.err.lines().count(), 1, "{}", refused.err);
    assert!(page(&server).await.contains("neuro_model_info{model=\"tabletop\""));

    let changed = swap("models/tiny", "sesame");
    assert_eq!(changed.code, Some(0), "{}", changed.err);
    assert!(changed.out.contains("now serves tiny"), "{}", changed.out);
    let page = page(&server).await;
    let info = |name: &str| {
        let start = format!("neuro_model_info{{model=\"{name}\"");
        page.lines().find(|line| line.starts_with(&start)).unwrap().rsplit_once(' ').unwrap().1.to_owned()
    };
    assert_eq!((info("tiny"), info("tabletop")), ("1".to_owned(), "0".to_owned()));
    assert!(page.contains("neuro_model_loads_total{outcome=\"refused\"} 1"), "{page}");
    assert_eq!(ask(&server).await, 200);
}

#[tokio::test]
async fn a_request_is_counted_by_wire_outcome_and_stage() {
    let server = Server::start(&["--model", "models/tabletop"]);
    assert_eq!(ask(&server).await, 200);
    let page = page(&server).await;
    for line in [
        "neuro_requests_total{wire=\"predict\",outcome=\"ok\"} 1",
        "neuro_stage_seconds_count{stage=\"vision\"} 1",
        "neuro_stage_seconds_count{stage=\"resize\"} 1",
        "neuro_stage_seconds_count{stage=\"queue\"} 1",
        "neuro_batch_size_count 1",
        "neuro_queue_depth 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
}

#[tokio::test]
async fn the_largest_batch_can_be_made_smaller_but_not_larger() {
    for (wanted, expected) in [("3", 3), ("1000000", 64)] {
        let flags = ["--model", "models/tiny", "--backend", "zero", "--max-batch", wanted];
        let server = Server::start(&[&flags[..], &["--admin-token", "sesame"]].concat());
        let asked =
            reqwest::Client::new().get(server.at("/admin/model")).bearer_auth("sesame").send().await.unwrap();
        let model: serde_json::Value = serde_json::from_str(&asked.text().await.unwrap()).unwrap();
        assert_eq!(model["backend"]["max_batch"], expected, "{model}");
    }
}

#[tokio::test]
async fn spans_leave_for_the_collector_that_was_named() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let (came, seen) = std::sync::mpsc::sync_channel(1);
    let accept = move || {
        let mut stream = collector.accept().unwrap().0;
        let mut preface = [0; 14];
        stream.read_exact(&mut preface).unwrap();
        came.send(preface).unwrap();
    };
    std::thread::Builder::new().name("collector".into()).spawn(accept).unwrap();
    let server = Server::start(&["--model", "models/tiny", "--otlp", &endpoint]);
    assert_eq!(ask(&server).await, 200);
    // gRPC begins with the preface of HTTP/2; the batch of spans leaves within five seconds.
    let preface = seen.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0");
}

#[test]
fn logs_are_one_json_object_a_line_when_asked_for() {
    let mut command = neuro();
    command.args(["serve", "--host", "127.0.0.1", "--port", "0", "--model", "/none", "--log-format", "json"]);
    command.args(["--token", "hidden-token"]);
    let ended = command.output().unwrap();
    let text = String::from_utf8(ended.stderr).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["message"], "starting");
    assert!(first["settings"].as_str().unwrap().contains("token=<redacted> (--token)"), "{text}");
    assert!(!text.contains("hidden-token"), "{text}");
}
