//! Recording through the real server, and replaying what was recorded.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::golden::root;
use crate::server::Server;
use crate::shell::{Signal, run, signal};

async fn ask(server: &Server, image: &str, instruction: &str) -> Value {
    let bytes = fs::read(root().join("models/tabletop/golden").join(image)).unwrap();
    let part = reqwest::multipart::Part::bytes(bytes).file_name(image.to_owned());
    let form =
        reqwest::multipart::Form::new().part("image", part).text("instruction", instruction.to_owned());
    let answer = reqwest::Client::new().post(server.at("/predict")).multipart(form).send().await.unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// Records four requests, one of them refused, and stops the server properly.
async fn record(dir: &Path, flags: &[&str]) -> Vec<Value> {
    let all = [&["--model", "models/tabletop", "--record", dir.to_str().unwrap()], flags].concat();
    let mut server = Server::start(&all);
    let mut answers = Vec::new();
    for (image, words) in
        [("00.png", "pick up the red cube"), ("02.png", ""), ("00.png", "touch the blue ball")]
    {
        answers.push(ask(&server, image, words).await);
    }
    ask(&server, "cases.json", "").await;
    signal(server.pid(), Signal::Term);
    assert_eq!(server.wait(), Some(0));
    answers
}

fn recordings(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn lines(recording: &Path) -> Vec<Value> {
    let text = fs::read_to_string(recording.join("recording.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn action(value: &Value) -> [f32; 7] {
    serde_json::from_value(value["action"].clone()).unwrap()
}

#[tokio::test]
async fn a_recording_replays_to_the_same_bits_and_shows_another_model() {
    let folder = tempfile::tempdir().unwrap();
    let answers = record(folder.path(), &[]).await;
    let found = recordings(folder.path());
    assert_eq!(found.len(), 1);
    let lines = lines(&found[0]);
    assert_eq!(lines[0]["neuro_recording"], 1);
    assert_eq!(lines[0]["model"], "tabletop");
    assert_eq!(lines[0]["stats"]["sha256"].as_str().unwrap().len(), 16);
    assert_eq!(lines.len(), 5, "a header and four requests");
    for (line, answer) in lines[1..].iter().zip(&answers) {
        assert_eq!(line["outcome"], "ok");
        assert_eq!(line["wire"], "predict");
        assert_eq!(action(line), action(answer));
        assert!(line["timings"]["total_ms"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(lines[4]["outcome"], "invalid_image");
    assert!(lines[4]["action"].is_null());
    let kept = fs::read(found[0].join(lines[1]["image"]["file"].as_str().unwrap())).unwrap();
    assert!(
        kept == fs::read(root().join("models/tabletop/golden/00.png")).unwrap(),
        "the picture as it came"
    );
    assert_eq!(lines[1]["image"]["file"], lines[3]["image"]["file"], "the same picture is kept once");

    let dir = folder.path().to_str().unwrap();
    let same = run(&["replay", dir, "--model", "models/tabletop", "--json"]);
    let report: Value = serde_json::from_str(&same.out).unwrap_or_else(|_| panic!("{}", same.err));
    assert_eq!(same.code, Some(0), "{report}");
    assert_eq!((report["steps"].as_u64(), report["bit_equal"].as_u64()), (Some(3), Some(3)), "{report}");
    assert_eq!(report["skipped"].as_array().unwrap().len(), 1, "the refused one");

    let other = run(&["replay", dir, "--model", "models/tiny"]);
    assert_eq!(other.code, Some(1), "{}{}", other.out, other.err);
    assert!(other.out.contains("different: 3 above"), "{}", other.out);
    let tolerant = run(&["replay", dir, "--model", "models/tiny", "--tolerance", "10"]);
    assert_eq!(tolerant.code, Some(0), "{}", tolerant.out);

    let server = Server::start(&["--model", "models/tabletop"]);
    let served = run(&["replay", dir, "--server", &server.url, "--json"]);
    let report: Value = serde_json::from_str(&served.out).unwrap_or_else(|_| panic!("{}", served.err));
    assert_eq!((served.code, report["bit_equal"].as_u64()), (Some(0), Some(3)), "{report}");
}

#[tokio::test]
async fn redaction_keeps_neither_pictures_nor_words_and_such_steps_are_not_replayed() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &["--record-images", "hash", "--record-text", "none"]).await;
    let found = recordings(folder.path());
    let all = fs::read_to_string(found[0].join("recording.jsonl")).unwrap();
    assert!(!all.contains("red cube"), "{all}");
    let lines = lines(&found[0]);
    assert_eq!(lines[1]["image"]["sha256"], lines[3]["image"]["sha256"], "equal pictures can be told");
    assert!(lines[1]["image"]["file"].is_null() && lines[1]["instruction"].is_null());
    assert_eq!(fs::read_dir(found[0].join("images")).unwrap().count(), 0);
    let replayed = run(&["replay", folder.path().to_str().unwrap(), "--model", "models/tabletop"]);
    assert_eq!(replayed.code, Some(1), "nothing could be compared: {}", replayed.out);
    assert!(replayed.out.contains("4 skipped"), "{}", replayed.out);
}

#[tokio::test]
async fn recordings_rotate_and_stop_at_their_limit() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &["--record-rotate", "1KiB"]).await;
    assert!(recordings(folder.path()).len() >= 3, "{:?}", recordings(folder.path()));
    let limited = tempfile::tempdir().unwrap();
    record(limited.path(), &["--record-limit", "1KiB"]).await;
    let written: usize = recordings(limited.path()).iter().map(|path| lines(path).len() - 1).sum();
    assert_eq!(written, 1, "the request that passed the limit was the last");
}

#[test]
fn a_folder_without_recordings_or_with_a_broken_line_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let none = run(&["replay", dir]);
    assert_eq!(none.code, Some(2), "{}", none.err);
    assert!(none.err.contains("no recording here"), "{}", none.err);
    let header = r#"{"neuro_recording":1,"started_us":0,"server":"x","model":null,"weights":null,"stats":null,"backend":null,"images":"full","text":"full"}"#;
    fs::write(folder.path().join("recording.jsonl"), format!("{header}\n{{\"id\": 3}}\n")).unwrap();
    let broken = run(&["replay", dir]);
    assert_eq!(broken.code, Some(1), "{}", broken.err);
    assert!(broken.err.contains("recording.jsonl:2: "), "{}", broken.err);
    fs::write(folder.path().join("recording.jsonl"), format!("{header}\n{{\"id\": \"cut o")).unwrap();
    let torn = run(&["replay", dir]);
    assert!(torn.out.contains("last line torn"), "{}{}", torn.out, torn.err);
}
