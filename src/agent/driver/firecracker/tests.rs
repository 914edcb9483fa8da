//! What is said to Firecracker, against a transcript: one request and its answer a line, in the words of Firecracker's own
//! description of its API. No Firecracker runs here: see the module.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use super::api::{Api, ApiError, Machine, Request};
use super::run::said_code;
use super::start::say;

const TRANSCRIPT: &str = r#"
PUT /machine-config {"vcpu_count":2,"mem_size_mib":129} 204
PUT /boot-source {"kernel_image_path":"/i/k","boot_args":"console=ttyS0","initrd_path":"/i/r"} 204
PUT /balloon {"amount_mib":0,"deflate_on_oom":true,"stats_polling_interval_s":2} 204
PUT /entropy {} 204
PUT /drives/disk0 {"drive_id":"disk0","path_on_host":"/d, \"x/disk0.raw","is_root_device":false,"is_read_only":false,"rate_limiter":{"bandwidth":{"size":1000,"refill_time":1000}}} 204
PUT /network-interfaces/eth0 {"iface_id":"eth0","host_dev_name":"nv0","guest_mac":"52:54:00:00:00:01"} 204
PUT /actions {"action_type":"InstanceStart"} 204
"#;

type Calls = Arc<Mutex<Vec<(String, Value)>>>;

/// Answers from the transcript, and refuses what is not in it.
async fn answer(State(calls): State<Calls>, method: Method, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let head = format!("{method} {} ", uri.path());
    calls.lock().unwrap().push((head.trim().to_owned(), body.clone()));
    let found = TRANSCRIPT.lines().find_map(|line| {
        let (expected, code) = line.strip_prefix(&head)?.rsplit_once(' ')?;
        (serde_json::from_str::<Value>(expected).ok()? == body).then(|| code.parse().ok()).flatten()
    });
    match found {
        Some(code) => (StatusCode::from_u16(code).unwrap(), String::new()),
        None => (
            StatusCode::BAD_REQUEST,
            json!({"fault_message": "The requested operation is not supported before starting the microVM."})
                .to_string(),
        ),
    }
}

/// A socket that answers, and what it was asked.
fn served(folder: &Path) -> (Api, Calls) {
    let socket = folder.join("api.sock");
    let calls = Calls::default();
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&calls));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (Api::new(&socket).unwrap(), calls)
}

#[tokio::test]
async fn a_machine_is_described_in_order_and_started_at_last() {
    let folder = tempfile::tempdir().unwrap();
    let (api, calls) = served(folder.path());
    let machine = Machine {
        cpu_cores: 2,
        memory_bytes: (128 << 20) + 1,
        kernel: Path::new("/i/k"),
        initrd: Some(Path::new("/i/r")),
        kernel_line: "console=ttyS0".to_owned(),
        disks: vec![Path::new("/d, \"x/disk0.raw")],
        disk_bps: 1000,
        network: Some(("nv0".to_owned(), "52:54:00:00:00:01".to_owned())),
    };
    say(&api, &machine).await.unwrap();
    let said: Vec<String> = calls.lock().unwrap().iter().map(|(head, _)| head.clone()).collect();
    let expected: Vec<&str> =
        TRANSCRIPT.trim().lines().map(|line| line.split(" {").next().unwrap()).collect();
    assert_eq!(said, expected);
}

#[tokio::test]
async fn a_refusal_names_the_request_and_gives_firecrackers_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (api, _) = served(folder.path());
    let error = api.send(&Request::action("SendCtrlAltDel")).await.unwrap_err();
    let ApiError::Refused { path, status, text, .. } = &error else { panic!("{error}") };
    assert_eq!((path.as_str(), *status), ("/actions", 400));
    assert!(text.contains("before starting the microVM"), "{error}");
    let nobody = Api::new(&folder.path().join("nobody.sock")).unwrap();
    assert!(matches!(nobody.send(&Request::get("/")).await, Err(ApiError::Gone(_))));
}

#[test]
fn a_disk_without_an_initrd_is_the_root() {
    let machine = Machine {
        cpu_cores: 1,
        memory_bytes: 1,
        kernel: Path::new("/k"),
        initrd: None,
        kernel_line: String::new(),
        disks: vec![Path::new("/a"), Path::new("/b")],
        disk_bps: 0,
        network: None,
    };
    let requests = machine.requests();
    let roots: Vec<&Value> =
        requests.iter().filter_map(|request| request.body.get("is_root_device")).collect();
    assert_eq!(roots, [&json!(true), &json!(false)]);
    assert!(requests.iter().all(|request| request.body.get("rate_limiter").is_none()));
}

#[test]
fn the_code_that_it_said_is_read_out_of_its_log() {
    let log = "2026 [anonymous:main] Firecracker exiting successfully. exit_code=0\n";
    assert_eq!(said_code(log), Some(0));
    let log = "Firecracker exiting with error. exit_code=148\nx";
    assert_eq!(said_code(log), Some(148));
    assert_eq!(said_code("exit_code=\n"), None);
    assert_eq!(said_code(""), None);
}
