//! The original server's recorded answers, all of them, replayed against the real binary with the same weights.
//!
//! A recording holds the answer and a name; what was asked is rebuilt here from the name (`golden/README.md` says
//! the edge cases use `c0.png` and change what they are named for). Fields beside the recorded ones are allowed.
//! Where this server differs on purpose, `DIFFERENCES` says how and why; docs/WIRES.md has the same table.

use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::golden::fixture;
use crate::server::Server;

/// Actions agree this closely (metres, radians, gripper units).
const TOLERANCE: f64 = 1e-5;
/// JPEG decoders differ by about a grey level, and these random weights make much of it: 3.8e-4 was measured.
const JPEG_TOLERANCE: f64 = 1e-3;

/// One recorded pair.
struct Recorded {
    name: String,
    method: String,
    path: String,
    /// The golden case whose picture and text were sent, for the pairs that are not edge cases.
    case: Option<Value>,
    status: u16,
    allow: Option<String>,
    body: Value,
}

impl Recorded {
    fn all() -> Vec<Self> {
        let text = std::fs::read_to_string(fixture("golden/http/transcripts.json")).unwrap();
        let pairs: Vec<Value> = serde_json::from_str(&text).unwrap();
        pairs.iter().map(Self::read).collect()
    }

    fn read(pair: &Value) -> Self {
        let text = |key: &str| pair[key].as_str().unwrap().to_owned();
        assert_eq!(pair["content_type"], "application/json");
        Self {
            name: text("name"),
            method: text("method"),
            path: text("path"),
            case: golden_case(&text("name")),
            status: u16::try_from(pair["status"].as_u64().unwrap()).unwrap(),
            allow: pair["allow"].as_str().map(str::to_owned),
            body: pair["body"].clone(),
        }
    }

    fn is_jpeg(&self) -> bool {
        self.case.as_ref().is_some_and(|case| case["image"].as_str().unwrap().ends_with(".jpg"))
    }
}

/// Where an answer is meant to differ from the recorded one.
struct Difference {
    name: &'static str,
    status: u16,
    why: &'static str,
}

const fn differs(name: &'static str, status: u16, why: &'static str) -> Difference {
    Difference { name, status, why }
}

const UNREADABLE: &str = "a picture that cannot be read is the sender's fault: 400, not 500";
const NOT_FINITE: &str = "a pose that is not finite is a fault upstream of the policy: 422";
const DATA_URI: &str = "data: URIs are read";
const THIN: &str = "the original trips over pictures one pixel high; they are served like any other";
const TRANSPOSED: &str =
    "the original takes pictures three pixels high for planar ones and turns them around";

const DIFFERENCES: &[Difference] = &[
    differs("p_bad_image", 400, UNREADABLE),
    differs("p_truncated_png", 400, UNREADABLE),
    differs("p_truncated_jpeg", 400, UNREADABLE),
    differs("i_nan_pose", 422, NOT_FINITE),
    differs("i_data_uri", 200, DATA_URI),
    differs("p_size_1x1", 200, THIN),
    differs("i_size_1x1", 200, THIN),
    differs("p_size_3x3", 200, TRANSPOSED),
    differs("p_size_5x3", 200, TRANSPOSED),
];

fn image(name: &str) -> Vec<u8> {
    std::fs::read(fixture(&format!("golden/images/{name}"))).unwrap()
}

fn picture(name: &str) -> Vec<u8> {
    std::fs::read(fixture(&format!("rest/{name}"))).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The golden case a recording called `predict_CASE` or `isaac_CASE` was made with.
fn golden_case(name: &str) -> Option<Value> {
    let name = name.strip_prefix("predict_").or_else(|| name.strip_prefix("isaac_"))?;
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(fixture("golden/cases.json")).unwrap()).unwrap();
    manifest["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).cloned()
}

/// Picture and text of a golden case.
fn observation(case: &Value) -> (Vec<u8>, String) {
    let name = case["image"].as_str().unwrap().strip_prefix("images/").unwrap();
    (image(name), case["text"].as_str().unwrap().to_owned())
}

fn file(bytes: Vec<u8>) -> Part {
    Part::bytes(bytes).file_name("image.png")
}

fn with_image(bytes: Vec<u8>) -> Form {
    Form::new().part("image", file(bytes))
}

/// The form a recording of `/predict` was made with; `None` is a request without a body.
fn form(pair: &Recorded) -> Option<Form> {
    if let Some(case) = &pair.case {
        let (image, text) = observation(case);
        return Some(with_image(image).text("instruction", text));
    }
    let c0 = || with_image(image("c0.png"));
    let half = |name: &str| image(name).into_iter().take(image(name).len() / 2).collect::<Vec<_>>();
    Some(match pair.name.as_str() {
        "p_only_image" => c0(),
        "p_no_image" => Form::new().text("instruction", "x"),
        "p_no_body" => return None,
        "p_image_as_text" => Form::new().text("image", "hello"),
        "p_image_no_filename" => Form::new().part("image", Part::bytes(image("c0.png"))),
        "p_bad_image" => with_image(b"this is not an image".to_vec()),
        "p_truncated_png" => with_image(half("c0.png")),
        "p_truncated_jpeg" => with_image(half("c3.jpg")),
        "p_ws_instruction" => c0().text("instruction", "   "),
        "p_extra_field" => c0().text("instruction", "x").text("foo", "bar"),
        "p_two_images" => c0().part("image", file(image("c5.png"))),
        "p_wrong_ctype_part" => {
            Form::new().part("image", file(image("c0.png")).mime_str("text/plain").unwrap())
        }
        name => match name.strip_prefix("p_tactile_") {
            Some(word) => c0().text("use_dummy_tactile", word.to_owned()),
            None => with_image(picture(pictures_file(name))),
        },
    })
}

/// The pictures of `p_size_*` and `p_fmt_*`; `tests/fixtures/rest/README.md` says how they were found.
fn pictures_file(name: &str) -> &str {
    let files = [
        ("p_size_1x1", "size_1x1.png"),
        ("i_size_1x1", "size_1x1.png"),
        ("p_size_3x3", "size_3x3.png"),
        ("p_size_5x3", "size_5x3.png"),
        ("p_size_3x5", "size_3x5.png"),
        ("p_size_4x4", "size_4x4.png"),
        ("p_fmt_1_PNG", "fmt_1.png"),
        ("p_fmt_I_PNG", "fmt_I.png"),
        ("p_fmt_RGB_BMP", "fmt_RGB.bmp"),
        ("p_fmt_RGB_WEBP", "fmt_RGB.webp"),
        ("p_fmt_RGB_GIF", "fmt_RGB.gif"),
        ("p_fmt_RGB_TIFF", "fmt_RGB.tiff"),
        ("p_fmt_F_TIFF", "fmt_F.tiff"),
    ];
    files.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no request known for {name}")).1
}

const POSE: &str = "[0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0]";

/// A body as Python's `json.dumps` writes it, so that recorded lengths hold.
fn body_with(image: &str, pose: &str, more: &str) -> String {
    let image = serde_json::to_string(image).unwrap();
    format!("{{\"image\": {image}, \"current_pose\": {pose}{more}}}")
}

/// Body and content type a recording of `/predict_isaac` was made with.
fn document(pair: &Recorded) -> (String, Option<&'static str>) {
    let c0 = base64(&image("c0.png"));
    let pose = |pose: &str| body_with(&c0, pose, "");
    let text = |text: &str| body_with(&c0, POSE, &format!(", \"text_prompt\": {text}"));
    let picture_text = |image: &str| body_with(image, POSE, "");
    if let Some(case) = &pair.case {
        let (image, text) = observation(case);
        let prompt = format!(", \"text_prompt\": {}", serde_json::to_string(&text).unwrap());
        return (body_with(&base64(&image), POSE, &prompt), Some("application/json"));
    }
    let body = match pair.name.as_str() {
        "i_ok" | "i_text_ctype" | "i_no_ctype" => pose(POSE),
        "i_empty_text" => text("\"\""),
        "i_null_text" => text("null"),
        "i_int_text" => text("5"),
        "i_pose6" => pose("[0.0, 0.0, 0.5, 0.0, 0.0, 0.0]"),
        "i_pose8" => pose("[0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0, 0]"),
        "i_pose_str" => pose(r#"["0", "0", "0.5", "0", "0", "0", "1"]"#),
        "i_pose_badstr" => pose(r#"["a", "a", "a", "a", "a", "a", "a"]"#),
        "i_pose_null" => pose("null"),
        "i_pose_ints" => pose("[0, 0, 1, 0, 0, 0, 1]"),
        "i_pose_bool" => pose("[true, false, true, false, false, false, true]"),
        "i_no_pose" => format!("{{\"image\": \"{c0}\"}}"),
        "i_no_image" => format!("{{\"current_pose\": {POSE}}}"),
        "i_empty_obj" => "{}".to_owned(),
        "i_extra" => body_with(&c0, POSE, ", \"foo\": [1, {\"bar\": null}]"),
        "i_bad_b64" => picture_text("!!!not base64!!!"),
        "i_not_image" => picture_text(&base64(b"hello world, this is not a picture")),
        "i_data_uri" => picture_text(&format!("data:image/png;base64,{c0}")),
        "i_newlines" => {
            let lines: Vec<&str> =
                (0..c0.len()).step_by(76).map(|at| &c0[at..c0.len().min(at + 76)]).collect();
            picture_text(&lines.join("\n"))
        }
        "i_no_padding" => picture_text(c0.trim_end_matches('=')),
        "i_urlsafe" => picture_text(&c0.replace('+', "-").replace('/', "_")),
        "i_nonascii" => picture_text(&format!("é{c0}")),
        "i_trailing_garbage" => picture_text(&format!("{c0}!!!!")),
        "i_truncated" => picture_text(&base64(&image("c0.png")[..2000])),
        "i_bad_json" => "{bad json".to_owned(),
        "i_nan_pose" => pose("[NaN, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0]"),
        "i_array" => "[1]".to_owned(),
        "i_size_1x1" => picture_text(&base64(&picture(pictures_file(&pair.name)))),
        name => panic!("no request known for {name}"),
    };
    let content_type = match pair.name.as_str() {
        "i_text_ctype" => Some("text/plain"),
        "i_no_ctype" => None,
        _ => Some("application/json"),
    };
    (body, content_type)
}

fn request(client: &Client, server: &Server, pair: &Recorded) -> RequestBuilder {
    let url = server.at(&pair.path);
    if pair.method == "GET" {
        return client.get(url);
    }
    if pair.path == "/predict" {
        return match form(pair) {
            Some(form) => client.post(url).multipart(form),
            None => client.post(url),
        };
    }
    let (body, content_type) = document(pair);
    let request = client.post(url).body(body);
    match content_type {
        Some(kind) => request.header("content-type", kind),
        None => request,
    }
}

/// Lists where `ours` does not have what was `recorded`; what it has beside that is its own business.
fn disagreements(recorded: &Value, ours: &Value, tolerance: f64, at: &str, list: &mut Vec<String>) {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            for (key, value) in recorded {
                let ours = ours.get(key).unwrap_or(&Value::Null);
                disagreements(value, ours, tolerance, &format!("{at}.{key}"), list);
            }
        }
        (Value::Array(recorded), Value::Array(ours)) if recorded.len() == ours.len() => {
            for (index, (value, ours)) in recorded.iter().zip(ours).enumerate() {
                disagreements(value, ours, tolerance, &format!("{at}[{index}]"), list);
            }
        }
        (Value::Number(recorded), Value::Number(ours)) => {
            let (recorded, ours) = (recorded.as_f64().unwrap(), ours.as_f64().unwrap());
            if (recorded - ours).abs() > tolerance {
                list.push(format!("{at}: recorded {recorded}, ours {ours}"));
            }
        }
        (Value::String(recorded), Value::String(ours)) => {
            if !same_text(recorded, ours) {
                list.push(format!("{at}: recorded {recorded:?}, ours {ours:?}"));
            }
        }
        _ if recorded == ours => {}
        _ => list.push(format!("{at}: recorded {recorded}, ours {ours}")),
    }
}

/// Equal, or `recorded` is `ours` shortened as `beginning...(N chars)`.
fn same_text(recorded: &str, ours: &str) -> bool {
    let shortened = recorded.strip_suffix(" chars)").and_then(|text| text.rsplit_once("...("));
    match shortened {
        Some((beginning, count)) => {
            ours.starts_with(beginning) && ours.chars().count() == count.parse::<usize>().unwrap()
        }
        None => recorded == ours,
    }
}

/// What is left of a recorded body where the values are this server's own: texts of errors, names of models.
fn comparable(pair: &Recorded) -> Value {
    let mut body = pair.body.clone();
    let own = ["model", "checkpoint", "device", "dtype"];
    if pair.name == "root" {
        body.as_object_mut().unwrap().retain(|key, _| !own.contains(&key.as_str()));
    }
    if body["success"] == false {
        body.as_object_mut().unwrap().remove("error");
    }
    body
}

async fn check(pair: &Recorded, pairs: &[Recorded], response: Response) -> Vec<String> {
    let mut list = Vec::new();
    let difference = DIFFERENCES.iter().find(|difference| difference.name == pair.name);
    let status = difference.map_or(pair.status, |difference| difference.status);
    if response.status() != status {
        list.push(format!("status {}, expected {status}", response.status()));
    }
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    if !kind.starts_with("application/json") {
        list.push(format!("content type {kind}"));
    }
    let allow = response.headers().get("allow").map(|value| value.to_str().unwrap().to_owned());
    if allow != pair.allow {
        list.push(format!("allow {allow:?}, recorded {:?}", pair.allow));
    }
    let ours: Value = response.json().await.unwrap();
    if pair.name == "openapi" {
        assert!(ours["paths"].as_object().unwrap().len() > 5);
        return list;
    }
    match difference {
        Some(difference) => differently(pairs, difference, &ours, &mut list),
        None => {
            let tolerance = if pair.is_jpeg() { JPEG_TOLERANCE } else { TOLERANCE };
            disagreements(&comparable(pair), &ours, tolerance, "", &mut list);
        }
    }
    if pair.body["success"] == false && ours["success"] == false {
        failed_in_shape(pair, &ours, &mut list);
    }
    list
}

/// A failure has a sentence, a stable code, and null where the action would be.
fn failed_in_shape(pair: &Recorded, ours: &Value, list: &mut Vec<String>) {
    let action = if pair.path == "/predict" { "action" } else { "delta_pose" };
    let sentence = ours["error"].as_str().is_some_and(|text| text.len() > 10);
    if !(sentence && ours["code"].is_string() && ours.get(action) == Some(&Value::Null)) {
        list.push(format!("a failure out of shape: {ours}"));
    }
    if pair.path == "/predict_isaac" && !ours["error"].as_str().unwrap().starts_with("Invalid base64 image: ")
    {
        list.push(format!("error {}", ours["error"]));
    }
}

/// What holds in the answers that are meant to differ.
fn differently(pairs: &[Recorded], difference: &Difference, ours: &Value, list: &mut Vec<String>) {
    let holds = match difference.why {
        UNREADABLE => ours["code"] == "invalid_image",
        NOT_FINITE => {
            ours["detail"][0]["type"] == "finite_number"
                && ours["detail"][0]["loc"] == json!(["body", "current_pose", 0])
        }
        DATA_URI | THIN => ours["success"] == true,
        // The colour is that of the picture four pixels high, so the action is.
        TRANSPOSED => {
            let upright = pairs.iter().find(|pair| pair.name == "p_size_4x4").unwrap();
            disagreements(&upright.body["action"], &ours["action"], TOLERANCE, ".action", list);
            ours["success"] == true
        }
        why => panic!("nothing is checked for: {why}"),
    };
    if !holds {
        list.push(format!("{}, but got {ours}", difference.why));
    }
}

#[tokio::test]
async fn every_recorded_answer_is_given_again() {
    let server = Server::start(&["--model", "models/tiny"]);
    let client = Client::new();
    let pairs = Recorded::all();
    assert_eq!(pairs.len(), 80);
    for difference in DIFFERENCES {
        assert!(pairs.iter().any(|pair| pair.name == difference.name), "{} is not recorded", difference.name);
    }
    let mut wrong = Vec::new();
    for pair in &pairs {
        let response = request(&client, &server, pair).send().await.unwrap();
        let list = check(pair, &pairs, response).await;
        wrong.extend(list.into_iter().map(|line| format!("{}: {line}", pair.name)));
    }
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_the_original_made_of_a_picture_three_pixels_high_is_understood() {
    let server = Server::start(&["--model", "models/tiny"]);
    let pairs = Recorded::all();
    let recorded = pairs.iter().find(|pair| pair.name == "p_size_5x3").unwrap();
    let form = with_image(picture("turned_5x3.png"));
    let response = Client::new().post(server.at("/predict")).multipart(form).send().await.unwrap();
    let ours: Value = response.json().await.unwrap();
    let mut list = Vec::new();
    disagreements(&recorded.body["action"], &ours["action"], TOLERANCE, ".action", &mut list);
    assert!(list.is_empty(), "{list:?}");
}

#[test]
fn a_disagreement_is_seen_wherever_it_is() {
    let seen = |recorded: Value, ours: Value| {
        let mut list = Vec::new();
        disagreements(&recorded, &ours, TOLERANCE, "", &mut list);
        list.len()
    };
    let recorded = json!({"a": [1.0, {"b": null}], "c": "be...(5 chars)"});
    assert_eq!(
        seen(recorded.clone(), json!({"a": [1.000_001, {"b": null, "d": 1}], "c": "begin", "e": 2})),
        0
    );
    assert_eq!(seen(recorded.clone(), json!({"a": [1.0001, {"b": 0}], "c": "begins"})), 3);
    assert_eq!(seen(recorded, json!({"a": [1.0]})), 2);
}
