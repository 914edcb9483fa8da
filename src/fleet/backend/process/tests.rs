//! Real processes: a shell each.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::*;
use crate::fleet::backend::Launch;

const SOON: Duration = Duration::from_secs(10);

fn backend(data: &Path, script: &str) -> ProcessBackend {
    let command = ["/bin/sh", "-c", script, "sh", "{name}", "{id}"].map(str::to_owned).to_vec();
    let pool = Pool { name: "p".to_owned(), command, ..Pool::default() };
    let launch = Launch {
        binary: "/nowhere/neuro".into(),
        orchestrator_url: "http://127.0.0.1:1".to_owned(),
        http_url: String::new(),
        data: data.to_owned(),
        key_file: None,
    };
    ProcessBackend::open(&pool, InstanceCommand::new(&pool, &launch).unwrap(), data).unwrap()
}

fn birth(name: &str) -> Birth {
    Birth { instance: InstanceId::new(), name: name.to_owned() }
}

async fn only(backend: &ProcessBackend) -> Provided {
    let mut all = backend.list().await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

async fn ended(backend: &ProcessBackend) -> String {
    timeout(SOON, backend.changed()).await.expect("an end");
    match only(backend).await.state {
        Provision::Ended { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn pid(data: &Path, instance: InstanceId) -> i32 {
    let text = std::fs::read(data.join(format!("processes/{instance}.json"))).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    i32::try_from(value["pid"].as_i64().unwrap()).unwrap()
}

fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

async fn until_gone(pid: i32) {
    let began = Instant::now();
    while exists(pid) {
        assert!(began.elapsed() < SOON, "process {pid} stays");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_end_is_heard_of_at_once_with_its_code_and_last_words_and_leaves_no_zombie() {
    let data = tempfile::tempdir().unwrap();
    let backend =
        backend(data.path(), "echo starting $1; echo 'no GPU with RT cores' >&2; sleep 0.3; exit 3");
    let birth = birth("sim-1");
    let began = Instant::now();
    backend.start(birth.clone()).await.unwrap();
    let number = pid(data.path(), birth.instance);
    assert_eq!(only(&backend).await.state, Provision::Running);
    let reason = ended(&backend).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let expected = "sim-1 ended with exit status: 3; its last lines: starting sim-1 | no GPU with RT cores";
    assert_eq!(reason, expected);
    assert!(!exists(number), "a zombie is left");
    assert!(backend.list().await.unwrap().is_empty(), "an end is told once");
    assert_eq!(std::fs::read_dir(data.path().join("processes")).unwrap().count(), 0);
}

#[tokio::test]
async fn stopping_ends_the_whole_group_also_one_that_will_not_listen() {
    let data = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; sleep 1000 & echo $!; while :; do wait; done";
    let backend = backend(data.path(), script);
    let birth = birth("sim-1");
    backend.start(birth.clone()).await.unwrap();
    let number = pid(data.path(), birth.instance);
    let log = data.path().join("instances/sim-1.log");
    let began = Instant::now();
    let child = loop {
        if let Ok(child) = std::fs::read_to_string(&log).unwrap_or_default().trim().parse::<i32>() {
            break child;
        }
        assert!(began.elapsed() < SOON);
        sleep(Duration::from_millis(10)).await;
    };
    backend.stop(birth.instance).await.unwrap();
    until_gone(number).await;
    until_gone(child).await;
    assert!(ended(&backend).await.contains("signal: 9"));
    backend.stop(birth.instance).await.unwrap();
}

#[tokio::test]
async fn what_runs_outlives_its_server_and_the_next_one_takes_it_over_instead_of_starting_another() {
    let data = tempfile::tempdir().unwrap();
    let first = backend(data.path(), "echo up; sleep 1000");
    let birth = birth("sim-1");
    first.start(birth.clone()).await.unwrap();
    let number = pid(data.path(), birth.instance);
    drop(first);
    let second = backend(data.path(), "echo up; sleep 1000");
    let one = only(&second).await;
    assert_eq!((one.instance, one.name.as_str(), one.state), (birth.instance, "sim-1", Provision::Running));
    second.stop(birth.instance).await.unwrap();
    until_gone(number).await;
}

#[tokio::test]
async fn a_process_that_was_started_but_not_written_down_is_found_by_its_environment() {
    let data = tempfile::tempdir().unwrap();
    let first = backend(data.path(), "sleep 1000");
    let birth = birth("sim-1");
    first.start(birth.clone()).await.unwrap();
    let number = pid(data.path(), birth.instance);
    drop(first);
    // As a kill right after the start leaves it.
    let path = data.path().join(format!("processes/{}.json", birth.instance));
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    value["pid"] = 0.into();
    std::fs::write(&path, value.to_string()).unwrap();
    let second = backend(data.path(), "sleep 1000");
    assert_eq!(only(&second).await.state, Provision::Running);
    assert_eq!(pid(data.path(), birth.instance), number);
    second.stop(birth.instance).await.unwrap();
    until_gone(number).await;
}

#[tokio::test]
async fn another_process_under_a_recorded_number_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let first = backend(data.path(), "sleep 1000");
    let birth = birth("sim-1");
    first.start(birth.clone()).await.unwrap();
    let number = pid(data.path(), birth.instance);
    let path = data.path().join(format!("processes/{}.json", birth.instance));
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    value["start_ticks"] = (value["start_ticks"].as_u64().unwrap() - 1).into();
    std::fs::write(&path, value.to_string()).unwrap();
    let second = backend(data.path(), "sleep 1000");
    assert!(matches!(only(&second).await.state, Provision::Ended { .. }));
    second.stop(birth.instance).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    assert!(exists(number), "it was ended although it is another one");
    first.stop(birth.instance).await.unwrap();
    until_gone(number).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let data = tempfile::tempdir().unwrap();
    let command = vec!["/nowhere/simulator".to_owned()];
    let pool = Pool { name: "p".to_owned(), command, ..Pool::default() };
    let launch = Launch {
        binary: "/nowhere/neuro".into(),
        orchestrator_url: String::new(),
        http_url: String::new(),
        data: data.path().to_owned(),
        key_file: None,
    };
    let command = InstanceCommand::new(&pool, &launch).unwrap();
    let backend = ProcessBackend::open(&pool, command, data.path()).unwrap();
    let error = backend.start(birth("sim-1")).await.unwrap_err().to_string();
    assert!(error.contains("\"/nowhere/simulator\"") && error.contains("No such file"), "{error}");
    assert_eq!(std::fs::read_dir(data.path().join("processes")).unwrap().count(), 0);
}
