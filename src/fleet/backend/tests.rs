//! Clusters, as they answered when they were asked for real: Slurm 22.05 by `slurmrestd` v0.0.38, Ray 2.60 by its Jobs API.
//! `tests/backends` has the real ones.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::fleet::settings::Pool;

#[derive(Debug, Default)]
struct Cluster {
    jobs: Vec<Value>,
    bodies: Vec<Value>,
    cancelled: Vec<String>,
    tokens: Vec<String>,
    refuses: bool,
}

type Shared = Arc<Mutex<Cluster>>;

async fn serve(routes: Router<Shared>, cluster: &Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = routes.with_state(Arc::clone(cluster));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    url
}

fn backend(kind: &str, url: &str, resources: &str, data: &std::path::Path) -> Arc<dyn Backend> {
    std::fs::write(data.join("token"), "secret\n").unwrap();
    let pool = Pool {
        name: "rtx".to_owned(),
        backend: kind.to_owned(),
        url: url.to_owned(),
        user: "anna".to_owned(),
        token_file: data.join("token"),
        partition: "gpu".to_owned(),
        resources: resources.to_owned(),
        env: [("ROS_DOMAIN_ID".to_owned(), "7".to_owned())].into(),
        ..Pool::default()
    };
    let launch = Launch {
        binary: "/opt/neuro".into(),
        orchestrator_url: "http://head:50051".to_owned(),
        http_url: String::new(),
        data: data.to_owned(),
        key_file: None,
    };
    of_pool(&pool, &launch).unwrap()
}

fn birth(number: u32) -> Birth {
    Birth { instance: InstanceId::new(), name: format!("rtx-{number}") }
}

async fn slurm_submit(
    cluster: State<Shared>,
    headers: HeaderMap,
    body: Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut cluster = cluster.lock().unwrap();
    let token = |name: &str| headers[name].to_str().unwrap().to_owned();
    cluster.tokens.push(format!("{}:{}", token("x-slurm-user-name"), token("x-slurm-user-token")));
    if cluster.refuses {
        let error = json!({"errors": [{"error_code": 9001, "error": "Failure during parsing"}]});
        return (StatusCode::BAD_REQUEST, Json(error));
    }
    let id = 7 + cluster.jobs.len();
    let job = json!({"job_id": id, "name": body["job"]["name"], "job_state": "PENDING", "state_reason": "Resources"});
    cluster.jobs.push(job);
    cluster.bodies.push(body.0);
    (StatusCode::OK, Json(json!({"meta": {}, "errors": [], "job_id": id, "step_id": "BATCH"})))
}

async fn slurm_jobs(cluster: State<Shared>) -> Json<Value> {
    let cluster = cluster.lock().unwrap();
    Json(json!({"meta": {"Slurm": {"release": "22.05.8"}}, "errors": [], "jobs": cluster.jobs}))
}

async fn slurm_cancel(cluster: State<Shared>, job: Path<String>) -> (StatusCode, Json<Value>) {
    let mut cluster = cluster.lock().unwrap();
    if cluster.cancelled.contains(&job.0) {
        let error = json!({"errors": [{"description": "unable to kill JobId=7 with signal 9: Invalid job id specified",
            "error_number": 2017, "error": "Invalid job id specified", "source": "slurm_kill_job"}]});
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(error));
    }
    cluster.cancelled.push(job.0);
    (StatusCode::OK, Json(json!({"meta": {}, "errors": []})))
}

fn slurm_routes() -> Router<Shared> {
    Router::new()
        .route("/slurm/v0.0.38/job/submit", post(slurm_submit))
        .route("/slurm/v0.0.38/jobs", get(slurm_jobs))
        .route("/slurm/v0.0.38/job/{id}", delete(slurm_cancel))
}

#[tokio::test]
async fn slurm_is_given_a_job_that_runs_the_instance_and_every_state_is_understood() {
    let (cluster, data) = (Shared::default(), tempfile::tempdir().unwrap());
    let url = serve(slurm_routes(), &cluster).await;
    let backend = backend("slurm", &url, "sim:1", data.path());
    let one = birth(1);
    backend.start(one.clone()).await.unwrap();
    let body = cluster.lock().unwrap().bodies[0].clone();
    let script = body["script"].as_str().unwrap();
    assert!(
        script.starts_with("#!/bin/sh\nexec /opt/neuro simulate --orchestrator http://head:50051 "),
        "{script}"
    );
    assert!(script.contains(&format!("--instance-id {}", one.instance)));
    assert_eq!((&body["job"]["gres"], &body["job"]["partition"]), (&json!("sim:1"), &json!("gpu")));
    assert_eq!(body["job"]["environment"]["ROS_DOMAIN_ID"], "7");
    assert!(
        body["job"]["environment"]["PATH"].is_string(),
        "slurmrestd refuses a job without an environment"
    );
    assert_eq!(cluster.lock().unwrap().tokens, ["anna:secret"]);

    let waits = backend.list().await.unwrap();
    assert_eq!((waits[0].instance, waits[0].name.as_str()), (one.instance, "rtx-1"));
    assert_eq!(waits[0].state, Provision::Waiting);
    cluster.lock().unwrap().jobs[0]["job_state"] = json!("RUNNING");
    assert_eq!(backend.list().await.unwrap()[0].state, Provision::Running);
    // As from v0.0.40 on.
    cluster.lock().unwrap().jobs[0]["job_state"] = json!(["RUNNING"]);
    assert_eq!(backend.list().await.unwrap()[0].state, Provision::Running);
    backend.stop(one.instance).await.unwrap();
    backend.stop(one.instance).await.unwrap();
    assert_eq!(cluster.lock().unwrap().cancelled, ["7"]);
    cluster.lock().unwrap().jobs[0]["job_state"] = json!("FAILED");
    cluster.lock().unwrap().jobs[0]["state_reason"] = json!("NonZeroExitCode");
    std::fs::write(data.path().join("instances/rtx-1.log"), "no driver\n").unwrap();
    let expected = "rtx-1 (Slurm job 7) is FAILED, NonZeroExitCode; its last lines: no driver".to_owned();
    assert_eq!(backend.list().await.unwrap()[0].state, Provision::Ended { reason: expected });
    assert!(backend.list().await.unwrap().is_empty(), "an end is told once, Slurm lists it for minutes");
}

#[tokio::test]
async fn jobs_of_others_are_not_ours_and_those_of_an_earlier_server_are() {
    let (cluster, data) = (Shared::default(), tempfile::tempdir().unwrap());
    let url = serve(slurm_routes(), &cluster).await;
    let one = birth(3);
    backend("slurm", &url, "sim:1", data.path()).start(one.clone()).await.unwrap();
    let theirs = json!({"job_id": 99, "name": "train.sh", "job_state": "RUNNING"});
    cluster.lock().unwrap().jobs.push(theirs);
    let next = backend("slurm", &url, "sim:1", data.path());
    let all = next.list().await.unwrap();
    assert_eq!(all.iter().map(|job| job.instance).collect::<Vec<_>>(), [one.instance]);
    next.stop(one.instance).await.unwrap();
    assert_eq!(cluster.lock().unwrap().cancelled, ["7"]);
}

#[tokio::test]
async fn a_refusal_of_slurm_is_told_in_its_words_and_so_is_its_absence() {
    let (cluster, data) = (Shared::default(), tempfile::tempdir().unwrap());
    cluster.lock().unwrap().refuses = true;
    let url = serve(slurm_routes(), &cluster).await;
    let error = backend("slurm", &url, "gpu:9", data.path()).start(birth(1)).await.unwrap_err().to_string();
    assert!(error.contains("\"Failure during parsing\" (9001)"), "{error}");
    let error = backend("slurm", "http://127.0.0.1:1", "", data.path()).list().await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
    let wrong = Pool { backend: "slurm".to_owned(), api: "22.05".to_owned(), ..Pool::default() };
    let launch = Launch {
        binary: "/n".into(),
        orchestrator_url: String::new(),
        http_url: String::new(),
        data: data.path().to_owned(),
        key_file: None,
    };
    assert!(of_pool(&wrong, &launch).unwrap_err().to_string().contains("pool.api"));
}

async fn ray_submit(cluster: State<Shared>, body: Json<Value>) -> Json<Value> {
    let mut cluster = cluster.lock().unwrap();
    let id = body["submission_id"].clone();
    cluster.jobs.push(
        json!({"type": "SUBMISSION", "submission_id": id, "status": "PENDING", "message": "Job is waiting."}),
    );
    cluster.bodies.push(body.0);
    Json(json!({"job_id": id, "submission_id": id}))
}

async fn ray_jobs(cluster: State<Shared>) -> Json<Value> {
    Json(json!(cluster.lock().unwrap().jobs))
}

async fn ray_stop(cluster: State<Shared>, job: Path<String>) -> Json<Value> {
    cluster.lock().unwrap().cancelled.push(job.0);
    Json(json!({"stopped": true}))
}

async fn ray_delete(cluster: State<Shared>, job: Path<String>) -> Json<Value> {
    cluster.lock().unwrap().jobs.retain(|one| one["submission_id"] != job.0);
    Json(json!({"deleted": true}))
}

async fn ray_logs() -> Json<Value> {
    Json(json!({"logs": "starting\nno driver\n"}))
}

#[tokio::test]
async fn ray_is_given_an_entry_point_with_resources_and_is_rid_of_what_is_over() {
    let (cluster, data) = (Shared::default(), tempfile::tempdir().unwrap());
    let routes = Router::new()
        .route("/api/jobs/", post(ray_submit).get(ray_jobs))
        .route("/api/jobs/{id}/stop", post(ray_stop))
        .route("/api/jobs/{id}/logs", get(ray_logs))
        .route("/api/jobs/{id}", delete(ray_delete));
    let url = serve(routes, &cluster).await;
    let backend = backend("ray", &url, r#"{"sim": 1, "CPU": 0.5, "GPU": 1}"#, data.path());
    let one = birth(1);
    backend.start(one.clone()).await.unwrap();
    let driver = json!({"type": "DRIVER", "submission_id": null, "status": "RUNNING"});
    cluster.lock().unwrap().jobs.push(driver);
    let body = cluster.lock().unwrap().bodies[0].clone();
    assert!(body["entrypoint"].as_str().unwrap().starts_with("exec /opt/neuro simulate "));
    assert_eq!(body["entrypoint_resources"], json!({"sim": 1.0}));
    assert_eq!((&body["entrypoint_num_cpus"], &body["entrypoint_num_gpus"]), (&json!(0.5), &json!(1.0)));
    assert_eq!(body["runtime_env"]["env_vars"]["ROS_DOMAIN_ID"], "7");
    assert_eq!(backend.list().await.unwrap()[0].state, Provision::Waiting);
    cluster.lock().unwrap().jobs[0]["status"] = json!("RUNNING");
    assert_eq!(backend.list().await.unwrap()[0].state, Provision::Running);
    backend.stop(one.instance).await.unwrap();
    assert!(cluster.lock().unwrap().cancelled[0].contains(&one.instance.to_string()));
    cluster.lock().unwrap().jobs[0]["status"] = json!("STOPPED");
    cluster.lock().unwrap().jobs[0]["message"] = json!("Job was intentionally stopped.");
    let expected =
        "rtx-1 (a Ray job) is STOPPED: Job was intentionally stopped.; its last lines: starting | no driver";
    let ended = Provision::Ended { reason: expected.to_owned() };
    assert_eq!(backend.list().await.unwrap()[0].state, ended);
    assert!(backend.list().await.unwrap().is_empty());
    assert_eq!(cluster.lock().unwrap().jobs.len(), 1, "the driver's stays, ours is gone");
}
