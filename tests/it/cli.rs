//! Commands and their exit codes: what a script or a service manager relies on.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::golden::{model, root};
use crate::server::Server;
use crate::shell::{Signal, neuro, run, signal};

fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(model(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

/// Rewrites the safetensors header and the numbers behind it.
fn edit_weights(dir: &Path, edit: impl FnOnce(&mut serde_json::Map<String, Value>, &mut Vec<u8>)) {
    let path = dir.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let mut header: serde_json::Map<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut numbers = bytes[8 + length..].to_vec();
    edit(&mut header, &mut numbers);
    let header = serde_json::to_vec(&header).unwrap();
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header);
    out.extend(numbers);
    fs::write(&path, out).unwrap();
}

fn offset(header: &serde_json::Map<String, Value>, tensor: &str) -> usize {
    usize::try_from(header[tensor]["data_offsets"][0].as_u64().unwrap()).unwrap()
}

const HEAD: &str = "action_head.1.weight";

fn refused(dir: &Path, expected: &[&str]) {
    let dir = dir.to_str().unwrap();
    for arguments in
        [vec!["model", "check", dir], vec!["serve", "--host", "127.0.0.1", "--port", "0", "--model", dir]]
    {
        let ended = run(&[&arguments[..], &["--log", "error"]].concat());
        assert_eq!(ended.code, Some(3), "{arguments:?}: {}{}", ended.out, ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        for part in expected {
            assert!(ended.err.contains(part), "{part} is not in: {}", ended.err);
        }
    }
}

#[test]
fn a_wrong_model_folder_is_refused_with_code_3_and_one_line() {
    refused(Path::new("/no/such/model"), &["/no/such/model"]);

    let missing_stats = copy("tiny");
    fs::remove_file(missing_stats.path().join("action_stats.json")).unwrap();
    refused(missing_stats.path(), &["action_stats.json", "no action statistics"]);

    let unknown_key = copy("tiny");
    let path = unknown_key.path().join("config.json");
    let text = fs::read_to_string(&path).unwrap().replacen('{', "{\"hidden_sizes\": 3,", 1);
    fs::write(&path, text).unwrap();
    refused(unknown_key.path(), &["config.json", "hidden_sizes"]);

    let truncated = copy("tiny");
    let path = truncated.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1000]).unwrap();
    refused(truncated.path(), &["model.safetensors"]);

    let missing = copy("tiny");
    let mut name = String::new();
    edit_weights(missing.path(), |header, _| {
        name = header.keys().find(|key| key.contains("action") && key.ends_with("weight")).unwrap().clone();
        // Renamed, not removed: the file stays whole.
        let tensor = header.remove(&name).unwrap();
        header.insert("something.else".to_owned(), tensor);
    });
    refused(missing.path(), &[&name]);

    let reshaped = copy("tiny");
    edit_weights(reshaped.path(), |header, _| {
        let shape = header[&name]["shape"].as_array_mut().unwrap();
        shape.reverse();
    });
    refused(reshaped.path(), &[&name]);

    let not_a_number = copy("tiny");
    edit_weights(not_a_number.path(), |header, numbers| {
        let at = offset(header, &name);
        numbers[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    refused(not_a_number.path(), &[&name]);
    assert!(name.ends_with("weight"), "expected something like {HEAD}");
}

#[test]
fn a_port_in_use_is_code_4() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = run(&["serve", "--host", "127.0.0.1", "--port", &port, "--log", "error"]);
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert!(ended.err.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{}", ended.err);
    assert_eq!(run(&["serve", "--no-such-flag"]).code, Some(2));
}

#[test]
fn check_says_which_inputs_count_and_list_finds_the_models() {
    let checked = run(&["model", "check", "models/tabletop"]);
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert!(checked.out.contains("text counts"), "{}", checked.out);
    assert!(checked.out.contains("18 cases"), "{}", checked.out);
    let as_json = run(&["model", "check", "models/tiny", "--json"]);
    let report: Value = serde_json::from_str(&as_json.out).unwrap();
    assert_eq!(report["model"]["influence"]["text"], false, "{report}");
    assert!(report["peak_resident_bytes"].as_u64().unwrap() > 1 << 20);

    let broken = copy("tiny");
    fs::remove_file(broken.path().join("model.safetensors")).unwrap();
    let listed = run(&["model", "list", "models", broken.path().to_str().unwrap()]);
    let found = |name: &str| listed.out.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(found("models/tabletop").contains("picture + text"), "{}", listed.out);
    assert!(found(broken.path().to_str().unwrap()).contains("broken: "), "{}", listed.out);
}

#[test]
fn predict_prints_the_recorded_action() {
    let cases: Value =
        serde_json::from_slice(&fs::read(root().join("models/tabletop/golden/cases.json")).unwrap()).unwrap();
    let case = &cases[0];
    let image = format!("models/tabletop/golden/{}", case["image"].as_str().unwrap());
    let instruction = case["instruction"].as_str().unwrap();
    let mut arguments = vec!["predict", &image, "--instruction", instruction, "--json"];
    let tactile = case["tactile"].as_str().map(|name| format!("models/tabletop/golden/{name}"));
    arguments.extend(tactile.as_deref().map(|path| ["--tactile", path]).iter().flatten());
    let ended = run(&arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    for component in 0..7 {
        let difference =
            answer["action"][component].as_f64().unwrap() - case["action"][component].as_f64().unwrap();
        assert!(difference.abs() < 1e-4, "component {component}: {answer}");
    }
    let refused = run(&["predict", "Cargo.toml"]);
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    assert_eq!(refused.err.lines().count(), 1, "{}", refused.err);
}

#[test]
fn the_openapi_document_has_the_routes() {
    let ended = run(&["openapi"]);
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    assert!(document["paths"]["/predict"]["post"].is_object(), "{}", ended.out);
}

#[test]
fn a_model_of_random_weights_is_served_and_comes_out_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    for out in [&one, &two] {
        let made = run(&["model", "random", "--like", "tiny", "--dtype", "f32", out.to_str().unwrap()]);
        assert_eq!(made.code, Some(0), "{}", made.err);
    }
    let weights = |dir: &Path| fs::read(dir.join("model.safetensors")).unwrap();
    assert!(weights(&one) == weights(&two));
    assert_eq!(run(&["model", "check", one.to_str().unwrap()]).code, Some(0));
    let unknown = run(&["model", "random", "--like", "llama", one.to_str().unwrap()]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.err);
}

fn picture() -> reqwest::multipart::Form {
    let bytes = fs::read(root().join("models/tabletop/golden/00.png")).unwrap();
    let part = reqwest::multipart::Part::bytes(bytes).file_name("00.png");
    reqwest::multipart::Form::new().part("image", part).text("instruction", "pick up the red cube")
}

#[tokio::test]
async fn a_signal_lets_running_requests_finish_and_ends_with_code_0() {
    let mut server = Server::start(&["--model", "models/tabletop"]);
    let mut running = Vec::new();
    for _ in 0..8 {
        let post = reqwest::Client::new().post(server.at("/predict")).multipart(picture());
        running.push(tokio::spawn(async move { post.send().await?.text().await }));
    }
    // Long enough for all of them to be in the house, short against eight steps of the debug build.
    tokio::time::sleep(Duration::from_millis(60)).await;
    signal(server.pid(), Signal::Term);
    let mut answered = 0;
    for request in running {
        match request.await.unwrap() {
            Ok(text) => {
                let body: Value = serde_json::from_str(&text).unwrap();
                assert!(body["action"].is_array() || body.to_string().contains("shutting down"), "{body}");
                answered += usize::from(body["action"].is_array());
            }
            Err(error) => assert!(error.is_connect() || error.is_request(), "cut off in the middle: {error}"),
        }
    }
    assert!(answered > 0, "no request was in the house when the signal came");
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once_with_code_5() {
    let mut server = Server::start(&["--model", "models/tiny", "--shutdown-grace", "60s"]);
    // A request whose body never ends keeps the server from being idle.
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000\r\n\
        Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    signal(server.pid(), Signal::Int);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    signal(server.pid(), Signal::Int);
    assert_eq!(server.wait(), Some(5));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let mut child =
        neuro().args(["config", "show"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn the_originals_artefacts_become_a_model_that_passes_its_check() {
    let place = tempfile::tempdir().unwrap();
    let fixtures = root().join("tests/fixtures/import");
    let hub = place.path().join("hub");
    let vision = "siglip-tiny-patch14-62";
    fs::create_dir_all(hub.join(vision)).unwrap();
    for name in
        ["config.json", &format!("{vision}/config.json"), &format!("{vision}/preprocessor_config.json")]
    {
        fs::copy(fixtures.join("hub").join(name), hub.join(name)).unwrap();
    }
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(model("tiny").join(name), hub.join(name)).unwrap();
    }
    let out = place.path().join("imported");
    let [hub, checkpoint, stats, out] =
        [hub, fixtures.join("checkpoint_step100.pt"), fixtures.join("action_mean_std.pkl"), out]
            .map(|path| path.display().to_string());
    let arguments = ["model", "import", "--hub", &hub, "--checkpoint", &checkpoint, "--stats", &stats, &out];
    let imported = run(&arguments);
    assert_eq!(imported.code, Some(0), "{}", imported.err);
    assert_eq!(run(&["model", "check", &out, "--log", "error"]).code, Some(0));
    let again = run(&arguments);
    assert_eq!(again.code, Some(3), "an existing folder is not replaced: {}", again.out);
    assert!(again.err.contains("overwrite"), "{}", again.err);
}
