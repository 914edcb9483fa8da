//! The REST wires over the wire: what is accepted, what is refused and how, and what an answer says beside the
//! recorded contract (see `transcripts`).

use std::time::{Duration, Instant};

use neuro::http::HttpOptions;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::edge::Edge;
use crate::golden::{fixture, root};

fn c0() -> Vec<u8> {
    std::fs::read(fixture("golden/images/c0.png")).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn form() -> Form {
    with(Form::new(), "image", c0())
}

fn with(form: Form, name: &'static str, bytes: Vec<u8>) -> Form {
    form.part(name, Part::bytes(bytes).file_name("picture"))
}

fn isaac(more: Value) -> Value {
    let mut body = json!({"image": base64(&c0()), "current_pose": [0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0]});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

async fn tiny() -> Edge {
    Edge::with_model(HttpOptions::default(), "tiny").await
}

async fn post_form(edge: &Edge, form: Form) -> (StatusCode, Value) {
    read(Client::new().post(edge.at("/predict")).multipart(form).send().await.unwrap()).await
}

async fn post_json(edge: &Edge, path: &str, body: &Value) -> (StatusCode, Value) {
    read(Client::new().post(edge.at(path)).json(body).send().await.unwrap()).await
}

async fn get(edge: &Edge, path: &str) -> (StatusCode, Value) {
    read(reqwest::get(edge.at(path)).await.unwrap()).await
}

async fn read(response: Response) -> (StatusCode, Value) {
    (response.status(), response.json().await.unwrap())
}

fn codes(answer: &Value) -> Vec<&str> {
    answer["warnings"].as_array().unwrap().iter().map(|warning| warning["code"].as_str().unwrap()).collect()
}

fn kinds(answer: &Value) -> Vec<(String, String)> {
    let problems = answer["detail"].as_array().unwrap();
    let kind = |problem: &Value| problem["type"].as_str().unwrap().to_owned();
    problems.iter().map(|problem| (kind(problem), problem["loc"].to_string())).collect()
}

/// Sends bytes as they are and reads until the server hangs up or says nothing for a second.
async fn raw(edge: &Edge, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(edge.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(Ok(count @ 1..)) =
        tokio::time::timeout(Duration::from_secs(1), stream.read(&mut chunk)).await
    {
        answer.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn every_word_for_yes_and_no_is_understood_and_empty_means_the_default() {
    let edge = tiny().await;
    let words =
        [("1", true), ("TRUE", true), ("t", true), ("yes", true), ("Y", true), ("On", true), ("", true)];
    let refusals =
        [("0", false), ("false", false), ("F", false), ("no", false), ("n", false), ("OFF", false)];
    for (word, expected) in words.into_iter().chain(refusals) {
        let (status, answer) = post_form(&edge, form().text("use_dummy_tactile", word)).await;
        assert_eq!(status, 200, "{word}");
        assert_eq!(answer["metadata"]["used_dummy_tactile"], expected, "{word}");
    }
    let (_, answer) = post_form(&edge, form().text("instruction", "").text("robot_id", "")).await;
    assert_eq!(answer["metadata"]["instruction"], "What action should the robot take?");
    let (_, answer) = post_form(&edge, form().text("use_dummy_tactile", "no")).await;
    assert!(codes(&answer).contains(&"tactile_missing"));
}

#[tokio::test]
async fn everything_that_is_wrong_is_listed_at_once() {
    let edge = tiny().await;
    let bad = Form::new()
        .text("image", "hello")
        .text("use_dummy_tactile", "perhaps")
        .text("tactile", "hello")
        .text("deadline_ms", "-5")
        .text("robot_id", "r".repeat(129));
    let (status, answer) = post_form(&edge, bad).await;
    assert_eq!(status, 422);
    let expected = [
        ("value_error", r#"["body","image"]"#),
        ("bool_parsing", r#"["body","use_dummy_tactile"]"#),
        ("value_error", r#"["body","tactile"]"#),
        ("string_too_long", r#"["body","robot_id"]"#),
        ("greater_than_equal", r#"["body","deadline_ms"]"#),
    ];
    let expected = expected.map(|(kind, loc)| (kind.to_owned(), loc.to_owned()));
    assert_eq!(kinds(&answer), expected);

    let bad = json!({"image": 5, "current_pose": [0, "a", null, "inf"], "text_prompt": null, "tactile": []});
    let (status, answer) = post_json(&edge, "/predict_isaac", &bad).await;
    assert_eq!(status, 422);
    let expected = [
        ("string_type", r#"["body","image"]"#),
        ("float_parsing", r#"["body","current_pose",1]"#),
        ("float_type", r#"["body","current_pose",2]"#),
        ("finite_number", r#"["body","current_pose",3]"#),
        ("string_type", r#"["body","text_prompt"]"#),
        ("string_type", r#"["body","tactile"]"#),
    ];
    let expected = expected.map(|(kind, loc)| (kind.to_owned(), loc.to_owned()));
    assert_eq!(kinds(&answer), expected);
}

#[tokio::test]
async fn base64_is_read_as_leniently_as_python_reads_it_and_as_a_data_uri() {
    let edge = tiny().await;
    let plain = base64(&c0());
    let accepted = [
        format!("data:image/png;base64,{plain}"),
        format!("DATA:;base64,{plain}"),
        plain.replace('A', "A\r\n \t"),
        format!("{plain}===="),
        format!("!{plain}?"),
    ];
    let (_, expected) = post_json(&edge, "/predict_isaac", &isaac(json!({}))).await;
    for text in accepted {
        let (status, answer) = post_json(&edge, "/predict_isaac", &isaac(json!({"image": text}))).await;
        assert_eq!((status, &answer["delta_pose"]), (StatusCode::OK, &expected["delta_pose"]), "{text:.40}");
    }
    for (text, why) in
        [("A", "base64"), ("AA", "padding"), ("ä", "ASCII"), ("", "empty"), ("AAAA", "identify")]
    {
        let (status, answer) = post_json(&edge, "/predict_isaac", &isaac(json!({"image": text}))).await;
        let error = answer["error"].as_str().unwrap();
        assert_eq!(status, 400, "{text}");
        assert!(error.starts_with("Invalid base64 image: ") && error.contains(why), "{text}: {error}");
        assert_eq!((&answer["success"], &answer["delta_pose"]), (&json!(false), &Value::Null));
        assert_eq!(answer["code"], "invalid_image");
    }
    let (status, answer) = post_json(&edge, "/predict_isaac", &isaac(json!({"tactile": "AAAA"}))).await;
    assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_tactile_image")));
    assert!(answer["error"].as_str().unwrap().starts_with("Invalid base64 tactile image: "), "{answer}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_in_the_shape_of_its_wire_announced_or_not() {
    let options = HttpOptions { max_body_bytes: 10_000, ..HttpOptions::default() };
    let edge = Edge::with_model(options, "tiny").await;
    let (status, answer) = post_form(&edge, with(Form::new(), "image", vec![0; 20_000])).await;
    assert_eq!(status, 413);
    assert_eq!((&answer["code"], answer.get("action")), (&json!("body_too_large"), Some(&Value::Null)));
    assert!(answer["error"].as_str().unwrap().contains("10000"), "{answer}");

    let (status, answer) = post_json(&edge, "/predict_isaac", &isaac(json!({"x": "y".repeat(20_000)}))).await;
    assert_eq!((status, answer.get("delta_pose")), (StatusCode::PAYLOAD_TOO_LARGE, Some(&Value::Null)));

    let head = "POST /predict_isaac HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let answer = raw(&edge, format!("{head}{}0\r\n\r\n", chunk.repeat(4)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(post_form(&edge, form()).await.0, 200);
}

#[tokio::test]
async fn a_slow_body_is_408_and_a_body_cut_short_harms_nobody() {
    let options = HttpOptions { body_timeout: Duration::from_millis(200), ..HttpOptions::default() };
    let edge = Edge::with_model(options, "tiny").await;
    let head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n--b";
    let start = Instant::now();
    let answer = raw(&edge, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(5));

    for _ in 0..20 {
        let mut stream = TcpStream::connect(edge.url.strip_prefix("http://").unwrap()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }
    assert_eq!(post_form(&edge, form()).await.0, 200);
    assert_eq!(get(&edge, "/health").await.1["waiting"], 0);
}

#[tokio::test]
async fn a_body_that_is_no_form_is_400_with_a_reason() {
    let options = HttpOptions { max_form_parts: 8, ..HttpOptions::default() };
    let edge = Edge::with_model(options, "tiny").await;
    let send = async |kind: &str, body: &'static [u8]| {
        let request = Client::new().post(edge.at("/predict")).header("content-type", kind).body(body);
        read(request.send().await.unwrap()).await
    };
    let multipart = "multipart/form-data; boundary=b";
    for (kind, body, reason) in [
        ("multipart/form-data", b"x".as_slice(), "Missing boundary"),
        (multipart, b"garbage", "incomplete"),
        (
            multipart,
            b"--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\nabc",
            "incomplete",
        ),
        (multipart, b"--b\r\nX: y\r\n\r\nabc\r\n--b--\r\n", "must be provided"),
    ] {
        let (status, answer) = send(kind, body).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains(reason), "{answer}");
    }
    let many = (0..9).fold(form(), |form, index| form.text(format!("x{index}"), "y"));
    let (status, answer) = post_form(&edge, many).await;
    assert_eq!(
        (status, &answer["detail"]),
        (StatusCode::BAD_REQUEST, &json!("Too many parts. Maximum number of parts is 8."))
    );
    let (status, answer) =
        send("application/x-www-form-urlencoded", b"image=hello&use_dummy_tactile=no").await;
    assert_eq!((status, &answer["detail"][0]["input"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("hello")));
    let (status, _) = send("image/png", b"\x89PNG").await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn hostile_pictures_are_refused_with_their_reason() {
    let edge = tiny().await;
    // The head of a BMP of 24 bits a pixel: sides in bytes 18 to 26.
    let mut huge = vec![0; 54];
    for (at, bytes) in
        [(0, &b"BM"[..]), (10, &[54]), (14, &[40]), (20, &[1]), (24, &[1]), (26, &[1]), (28, &[24])]
    {
        huge[at..at + bytes.len()].copy_from_slice(bytes);
    }
    for (picture, reason) in
        [(huge, "65536x65536"), (Vec::new(), "0 bytes"), (c0()[..100].to_vec(), "truncated")]
    {
        let (status, answer) = post_form(&edge, with(Form::new(), "image", picture)).await;
        assert_eq!(status, 400, "{answer}");
        assert_eq!((&answer["success"], answer.get("action")), (&json!(false), Some(&Value::Null)));
        assert!(answer["error"].as_str().unwrap().contains(reason), "{reason}: {answer}");
    }
}

#[tokio::test]
async fn a_model_that_cannot_use_words_or_touch_says_so() {
    let edge = tiny().await;
    let (_, plain) = post_form(&edge, form()).await;
    assert!(codes(&plain).is_empty());
    let asked = with(form().text("instruction", "lift the red ball"), "tactile", c0());
    let (_, answer) = post_form(&edge, asked).await;
    assert_eq!(codes(&answer), ["instruction_ignored", "tactile_ignored"]);
    assert_eq!(answer["action"], plain["action"]);
    assert_eq!(answer["metadata"]["used_dummy_tactile"], false);
    let body = isaac(json!({"text_prompt": "lift", "tactile": base64(&c0())}));
    let (_, answer) = post_json(&edge, "/predict_isaac", &body).await;
    assert_eq!(codes(&answer), ["instruction_ignored", "tactile_ignored"]);
    let (_, root) = get(&edge, "/").await;
    assert_eq!(
        root["inputs"],
        json!({"image": true, "tactile": false, "instruction": false, "current_pose": false})
    );
}

#[tokio::test]
async fn words_and_touch_move_a_model_that_uses_them() {
    let edge = Edge::with_model(HttpOptions::default(), "tabletop").await;
    let file = |name: &str| std::fs::read(root().join("models/tabletop/golden").join(name)).unwrap();
    let scene = || with(Form::new(), "image", file("00.png"));
    let ask = |words: &'static str| scene().text("instruction", words);
    let (_, lift) = post_form(&edge, ask("lift the red ball")).await;
    let (_, touch) = post_form(&edge, ask("touch the blue cube")).await;
    assert!(codes(&lift).is_empty(), "{lift}");
    assert_ne!(lift["action"], touch["action"]);
    let touched = || with(ask("lift the red ball"), "tactile", file("00_tactile.png"));
    let (_, felt) = post_form(&edge, touched()).await;
    assert_ne!(felt["action"], lift["action"]);
    assert_eq!(felt["metadata"]["used_dummy_tactile"], false);
    let (_, black) = post_form(&edge, touched().text("use_dummy_tactile", "true")).await;
    assert_eq!(black["action"], lift["action"]);
    assert_eq!(black["metadata"]["used_dummy_tactile"], true);

    let body = json!({
        "image": base64(&file("00.png")), "tactile": base64(&file("00_tactile.png")),
        "current_pose": [0, 0, 0, 0, 0, 0, 1], "text_prompt": "lift the red ball"
    });
    let (_, answer) = post_json(&edge, "/predict_isaac", &body).await;
    assert_eq!(answer["delta_pose"].as_array().unwrap()[..], felt["action"].as_array().unwrap()[..6]);
    assert_eq!(answer["gripper"], felt["action"][6]);
}

#[tokio::test]
async fn an_answer_names_model_and_statistics_and_says_where_the_time_went() {
    let edge = tiny().await;
    let response = Client::new().post(edge.at("/predict")).multipart(form()).send().await.unwrap();
    for header in ["x-queue-ms", "x-inference-ms", "x-total-ms"] {
        let value: f64 = response.headers()[header].to_str().unwrap().parse().unwrap();
        assert!((0.0..60_000.0).contains(&value), "{header} {value}");
    }
    let text = response.text().await.unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    let (_, stats) = get(&edge, "/stats").await;
    let metadata = &answer["metadata"];
    assert_eq!((&metadata["model"], &metadata["cached"]), (&json!("tiny"), &json!(false)));
    assert_eq!(metadata["stats"], json!({"id": stats["id"], "sha256": stats["sha256"]}));
    let total = metadata["timings_ms"]["total"].as_f64().unwrap();
    assert!(total > 0.0 && metadata["timings_ms"]["vision"].as_f64().unwrap() <= total, "{metadata}");
    // serde_json reads numbers to the last bit but one, so they are read from the text.
    let actions = text.split_once("\"action\":[").unwrap().1.split_once(']').unwrap().0;
    for number in actions.split(',') {
        let value: f64 = number.parse().unwrap();
        #[allow(clippy::cast_possible_truncation)]
        let narrowed = value as f32;
        assert_eq!(f64::from(narrowed).to_bits(), value.to_bits(), "{number} is not a float32");
    }
    let (_, again) = post_form(&edge, form()).await;
    assert_eq!((&again["metadata"]["cached"], &again["action"]), (&json!(true), &answer["action"]));
}

#[tokio::test]
async fn deadlines_come_by_header_or_field_and_a_missed_one_is_504() {
    let edge = tiny().await;
    let by_header = async |value: &str, form: Form| {
        let request = Client::new().post(edge.at("/predict")).header("x-deadline-ms", value).multipart(form);
        read(request.send().await.unwrap()).await
    };
    let (status, answer) = by_header("0", form()).await;
    assert_eq!((status, &answer["code"]), (StatusCode::GATEWAY_TIMEOUT, &json!("deadline_exceeded")));
    assert_eq!(by_header("30000", form()).await.0, 200);
    assert_eq!(by_header("1e30", form()).await.0, 200);
    let (status, _) = by_header("0", form().text("deadline_ms", "30000")).await;
    assert_eq!(status, 200, "the field counts before the header");
    let (status, answer) = by_header("soon", form()).await;
    assert_eq!(status, 422);
    assert_eq!(answer["detail"][0]["loc"], json!(["header", "x-deadline-ms"]));
    let (status, answer) = post_json(&edge, "/predict_isaac", &isaac(json!({"deadline_ms": 0}))).await;
    assert_eq!((status, answer.get("delta_pose")), (StatusCode::GATEWAY_TIMEOUT, Some(&Value::Null)));
    let (status, _) = post_json(&edge, "/predict_isaac", &isaac(json!({"deadline_ms": "30000"}))).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_pose_that_cannot_be_is_refused_and_an_odd_one_is_remarked_on() {
    let edge = tiny().await;
    for pose in
        ["[NaN,0,0,0,0,0,1]", "[0,0,0,0,0,0,Infinity]", "[0,0,0,0,0,0,\"nan\"]", "[0,0,0,0,0,0,1e999]"]
    {
        let body = format!("{{\"image\":\"{}\",\"current_pose\":{pose}}}", base64(&c0()));
        let request =
            Client::new().post(edge.at("/predict_isaac")).header("content-type", "application/json");
        let (status, answer) = read(request.body(body).send().await.unwrap()).await;
        assert_eq!(
            (status, &answer["detail"][0]["type"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("finite_number"))
        );
    }
    let (status, answer) =
        post_json(&edge, "/predict_isaac", &isaac(json!({"current_pose": [0, 0, 0, 0, 0, 0, 2]}))).await;
    assert_eq!((status, codes(&answer)), (StatusCode::OK, vec!["pose_not_unit"]));
}

#[tokio::test]
async fn while_the_model_loads_everything_says_so_and_when_to_come_back() {
    let edge = Edge::empty(HttpOptions::default()).await;
    let (status, health) = get(&edge, "/health").await;
    assert_eq!(status, 503);
    let expected = json!({
        "status": "loading", "model_loaded": false, "cuda_available": false, "gpu_memory": "N/A",
        "ready": false, "state": "loading", "waiting": 0
    });
    assert_eq!(health, expected);
    let waits = |response: &Response| response.headers()["retry-after"] == "1";
    let client = Client::new();
    let response = client.post(edge.at("/predict")).multipart(form()).send().await.unwrap();
    assert!(waits(&response));
    let (status, answer) = read(response).await;
    assert_eq!((status, &answer["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("loading")));
    let response = client.post(edge.at("/predict_isaac")).json(&isaac(json!({}))).send().await.unwrap();
    assert!(response.status() == 503 && waits(&response));
    for path in ["/stats", "/info"] {
        assert_eq!(get(&edge, path).await.0, 503, "{path}");
    }
    assert_eq!(get(&edge, "/").await.1["model"], Value::Null);
    edge.load("tiny").await;
    let (status, health) = get(&edge, "/health").await;
    assert_eq!(
        (status, &health["ready"], &health["status"]),
        (StatusCode::OK, &json!(true), &json!("healthy"))
    );
}

#[tokio::test]
async fn paths_and_methods_answer_as_the_original_does() {
    let edge = tiny().await;
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for (method, path, allow) in [
        ("HEAD", "/", "GET"),
        ("HEAD", "/predict", "POST"),
        ("POST", "/health", "GET"),
        ("DELETE", "/predict_isaac", "POST"),
        ("PUT", "/stats", "GET"),
    ] {
        let response = client.request(method.parse().unwrap(), edge.at(path)).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &allow.parse().unwrap()),
            "{path}"
        );
        if method != "HEAD" {
            assert_eq!(read(response).await.1, json!({"detail": "Method Not Allowed"}));
        }
    }
    let response = client.post(edge.at("/predict/?a=b")).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers()["location"].to_str().unwrap()),
        (307, "/predict?a=b")
    );
    for path in ["/nope", "/nope/", "//evil.example/", "/static/nope", "/static/../Cargo.toml"] {
        let response = client.get(edge.at(path)).send().await.unwrap();
        assert_eq!(read(response).await, (StatusCode::NOT_FOUND, json!({"detail": "Not Found"})), "{path}");
    }
}

#[tokio::test]
async fn a_browser_gets_a_page_and_a_program_gets_json() {
    let edge = tiny().await;
    let kind = async |accept: Option<&str>| {
        let request = Client::new().get(edge.at("/"));
        let request = match accept {
            Some(accept) => request.header("accept", accept),
            None => request,
        };
        request.send().await.unwrap().headers()["content-type"].to_str().unwrap().to_owned()
    };
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    assert!(kind(Some(browser)).await.starts_with("text/html"));
    for accept in [None, Some("*/*"), Some("application/json"), Some("application/json, text/html")] {
        assert_eq!(kind(accept).await, "application/json", "{accept:?}");
    }
}

#[tokio::test]
async fn roboeval_gets_its_json_and_refusals_it_can_read() {
    let edge = tiny().await;
    let observation =
        |images: Value| json!({"obs": {"instruction": "", "images": images, "state": {"flat": [0.0]}}});
    let (_, expected) = post_form(&edge, form()).await;
    let picture = base64(&c0());
    let (status, answer) =
        post_json(&edge, "/predict", &observation(json!({"primary": picture, "wrist": picture}))).await;
    assert_eq!((status, &answer["actions"]), (StatusCode::OK, &json!([expected["action"]])));
    assert_eq!(codes(&answer), ["camera_ignored"]);
    let (status, answer) = post_json(&edge, "/predict", &observation(json!({"primary": "AAAA"}))).await;
    assert_eq!((status, answer["error"].is_string()), (StatusCode::BAD_REQUEST, true));
    let (status, answer) = post_json(&edge, "/predict", &observation(json!({"wrist": picture}))).await;
    assert_eq!(status, 422);
    assert_eq!(answer["detail"][0]["loc"], json!(["body", "obs", "images", "primary"]));
    let (status, answer) = post_json(&edge, "/predict", &json!({"obs": {}})).await;
    assert_eq!((status, kinds(&answer).len()), (StatusCode::UNPROCESSABLE_ENTITY, 3));

    let (_, info) = get(&edge, "/info").await;
    assert_eq!(info["action_space"]["type"], "eef_delta");
    assert_eq!((&info["action_space"]["dim"], &info["action_chunk_size"]), (&json!(7), &json!(1)));
    let dims: u64 =
        info["action_spec"].as_object().unwrap().values().map(|spec| spec["dims"].as_u64().unwrap()).sum();
    assert_eq!(dims, 7);
    for spec in info["action_spec"]
        .as_object()
        .unwrap()
        .values()
        .chain(info["observation_spec"].as_object().unwrap().values())
    {
        assert!(spec["name"].is_string() && spec["format"].is_string(), "{spec}");
    }
    assert_eq!(post_json(&edge, "/reset", &json!({})).await, (StatusCode::OK, json!({"success": true})));
}
