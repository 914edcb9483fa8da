//! `--renderer docker`, with a program called `docker` that keeps a diary and starts `neuro render` for a container.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use super::{World, drive};
use crate::shell::neuro;

/// A `docker` that writes down what it is told, one argument a line. `run` does as `run` says.
fn docker(folder: &Path, run: &str) -> String {
    let diary = folder.join("diary");
    let script = format!(
        "#!/bin/sh\n\
         for argument in \"$@\"; do echo \"$argument\" >> {diary}; done\n\
         echo -- >> {diary}\n\
         case $1 in\n\
         run) {run} ;;\n\
         inspect) if [ -e {folder}/pid ] && kill -0 \"$(cat {folder}/pid)\"; then echo true; else echo false; fi ;;\n\
         logs) echo 'loading checkpoint'; echo 'CUDA error: no device' >&2 ;;\n\
         rm) exit 1 ;;\n\
         esac\n",
        diary = diary.display(),
        folder = folder.display(),
    );
    let program = folder.join("docker");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

fn world(path: &str, port: u16) -> World {
    let mut command = neuro();
    command.env("PATH", path);
    World::start_with(command, &["--renderer", "docker", "--nurec", &format!("127.0.0.1:{port}")])
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Ends what the pretended container started.
struct Container<'a>(&'a Path);

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(self.0.join("pid")) {
            drop(std::process::Command::new("kill").arg(pid.trim()).status());
        }
    }
}

#[tokio::test]
async fn a_restart_replaces_the_container_and_waits_until_it_draws() {
    let place = tempfile::tempdir().unwrap();
    let port = free_port();
    let scenes = crate::golden::fixture("scenario/data").display().to_string();
    let run = format!(
        "{} render --port {port} --scenes {scenes} >/dev/null 2>&1 & echo $! > {}/pid; echo 0123456789ab",
        env!("CARGO_BIN_EXE_neuro"),
        place.path().display()
    );
    let path = docker(place.path(), &run);
    let _container = Container(place.path());
    let world = world(&path, port);
    let body = json!({"usdz_path": drive(), "nurec_host": "127.0.0.1", "nurec_port": port});
    let (status, answer) = world.post("/api/nurec/restart", &body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((answer["status"].as_str(), answer["grpc_ready"].as_bool()), (Some("restarted"), Some(true)));
    assert_eq!(answer["container_name"], format!("nurec-grpc-{port}"));
    let diary = fs::read_to_string(place.path().join("diary")).unwrap();
    assert!(diary.starts_with(&format!("rm\n-f\nnurec-grpc-{port}\n--\nrun\n-d\n")), "{diary}");
    for argument in [
        "--gpus\nall",
        "carlasimulator/nvidia-nurec-grpc:0.2.0",
        &format!("-p\n127.0.0.1:{port}:{port}"),
        &format!("--mount\ntype=bind,source={scenes},target={scenes},readonly"),
        &format!("--artifact-glob\n{}", drive()),
        &format!("--port\n{port}"),
    ] {
        assert!(diary.contains(argument), "{argument:?} is not in {diary}");
    }
    assert!(!diary.contains("sudo"));
    assert_eq!(world.post("/api/load", &body).await.0, 200);
    let render = json!({"timestamp_us": 1_721_400_133_438_417_i64, "camera_ids": ["camera_front_wide_120fov"], "resolution_scale": 0.05});
    let (_, drawn) = world.post("/api/render", &render).await;
    assert_eq!(drawn["images"].as_object().unwrap().len(), 1, "{drawn}");
}

#[tokio::test]
async fn a_container_that_ends_is_told_with_its_last_lines() {
    let place = tempfile::tempdir().unwrap();
    let path = docker(place.path(), "echo 0123456789ab");
    let world = world(&path, free_port());
    let (status, answer) = world.post("/api/nurec/restart", &json!({"usdz_path": drive()})).await;
    assert_eq!(status, 500);
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.starts_with("Failed to restart NuRec: container nurec-grpc-"), "{detail}");
    assert!(detail.contains("loading checkpoint") && detail.contains("CUDA error: no device"), "{detail}");
}

#[tokio::test]
async fn what_docker_says_is_passed_on() {
    let place = tempfile::tempdir().unwrap();
    let path = docker(place.path(), "echo 'pull access denied' >&2; exit 125");
    let world = world(&path, free_port());
    let (status, answer) = world.post("/api/nurec/restart", &json!({"usdz_path": drive()})).await;
    assert_eq!(
        (status, answer["detail"].as_str()),
        (500, Some("Failed to restart NuRec: pull access denied"))
    );
    // Without the program at all.
    let world = World::start_with(
        {
            let mut command = neuro();
            command.env("PATH", place.path().join("nowhere"));
            command
        },
        &["--renderer", "docker"],
    );
    let (status, answer) = world.post("/api/nurec/restart", &json!({"usdz_path": drive()})).await;
    assert_eq!(status, 500);
    assert!(answer["detail"].as_str().unwrap().contains("docker"), "{answer}");
}

#[tokio::test]
async fn another_host_is_asked_only_when_the_settings_name_it() {
    let world = World::start(&["--renderer", "external"]);
    let body = json!({"usdz_path": drive(), "nurec_host": "198.51.100.7", "nurec_port": 46435});
    for path in ["/api/load", "/api/nurec/restart"] {
        let (status, answer) = world.post(path, &body).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("198.51.100.7"), "{answer}");
    }
    let (status, answer) = world
        .post(
            "/api/load",
            &json!({"usdz_path": drive(), "nurec_host": "127.0.0.1", "nurec_port": free_port()}),
        )
        .await;
    assert_eq!(status, 503, "nobody listens there: {answer}");
    assert!(answer["detail"].as_str().unwrap().contains("check"), "{answer}");
}
