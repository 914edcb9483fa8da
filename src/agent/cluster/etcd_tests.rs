//! A real etcd, where `NEURO_TEST_AGENT=1` says that Debian's etcd-server is there; everywhere else a member of a few lines
//! that forgets leases.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::register_tests::agent;
use super::{Pace, Reports};
use crate::agent::Agent;
use crate::agent::settings::AgentSettings;

fn quick() -> Pace {
    Pace {
        first_delay: Duration::from_millis(50),
        longest_delay: Duration::from_millis(400),
        answer: Duration::from_secs(3),
        beat: Duration::from_millis(100),
    }
}

fn begin(agent: &Agent, members: &[String]) -> Reports {
    let mut settings = AgentSettings::default();
    settings.cluster.etcd = members.to_vec();
    settings.node.zone = "b".into();
    Reports::begin(agent, &settings, "127.0.0.1:50052".parse().unwrap(), quick())
}

fn sound(record: &Value, agent: &Agent) {
    assert_eq!(record["id"], json!(agent.node().node_id));
    assert_eq!(
        (&record["ip"], &record["port"], &record["role"], &record["status"], &record["zone"]),
        (&json!("127.0.0.1"), &json!(50052), &json!("worker"), &json!("ready"), &json!("b"))
    );
    for part in ["capacity", "allocatable", "allocated"] {
        let keys: Vec<&String> = record[part].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["cpu_cores", "memory_bytes", "disk_bytes", "gpu_count"], "{part}");
    }
    assert_eq!(record["supported_instance_types"], json!(["container"]));
    assert_eq!(record["conditions"].as_array().unwrap().len(), 3);
    assert!(record["created_at"].as_str().unwrap().ends_with('Z') && record["labels"].is_object());
}

#[derive(Debug, Default)]
struct Member {
    leases: u32,
    alive: bool,
    puts: Vec<Value>,
    revoked: u32,
}

type Shared = Arc<Mutex<Member>>;

async fn member(shared: Shared) -> String {
    let grant = |State(shared): State<Shared>, Json(body): Json<Value>| async move {
        assert_eq!(body["TTL"], "30");
        let mut member = shared.lock().unwrap();
        (member.leases, member.alive) = (member.leases + 1, true);
        Json(json!({ "ID": member.leases.to_string(), "TTL": "30" }))
    };
    let keep = |State(shared): State<Shared>, Json(body): Json<Value>| async move {
        let member = shared.lock().unwrap();
        let same = body["ID"] == json!(member.leases.to_string());
        // As etcd says that a lease is gone: without a time.
        Json(if member.alive && same {
            json!({ "result": { "TTL": "30" } })
        } else {
            json!({ "result": {} })
        })
    };
    let put = |State(shared): State<Shared>, Json(body): Json<Value>| async move {
        shared.lock().unwrap().puts.push(body);
        Json(json!({ "header": {} }))
    };
    let revoke = |State(shared): State<Shared>, Json(_): Json<Value>| async move {
        shared.lock().unwrap().revoked += 1;
        Json(json!({ "header": {} }))
    };
    let router = Router::new()
        .route("/v3/lease/grant", post(grant))
        .route("/v3/lease/keepalive", post(keep))
        .route("/v3/lease/revoke", post(revoke))
        .route("/v3/kv/put", post(put))
        .with_state(shared);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come");
}

fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_is_put_under_a_lease_that_is_kept_and_replaced_when_it_was_forgotten() {
    let data = tempfile::tempdir().unwrap();
    let agent = agent(data.path()).await;
    let shared = Shared::default();
    // The first member is away: the one that answers is taken.
    let members = [format!("http://{}", free_port()), member(shared.clone()).await];
    let reports = begin(&agent, &members);
    until("three records", || shared.lock().unwrap().puts.len() >= 3).await;
    {
        let mut member = shared.lock().unwrap();
        assert_eq!(member.leases, 1, "one lease, kept");
        let put = &member.puts[0];
        let decoded =
            |field: &str| String::from_utf8(STANDARD.decode(put[field].as_str().unwrap()).unwrap()).unwrap();
        assert_eq!(decoded("key"), format!("/hypervisor/nodes/{}", agent.node().node_id));
        assert_eq!(put["lease"], "1");
        sound(&serde_json::from_str(&decoded("value")).unwrap(), &agent);
        member.alive = false;
    }
    until("another lease", || shared.lock().unwrap().puts.last().unwrap()["lease"] == "2").await;
    reports.end(true).await;
    assert_eq!(shared.lock().unwrap().revoked, 1, "the record goes when the node does");
}

struct Etcd {
    child: Child,
    url: String,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn etcd(data: &std::path::Path) -> Etcd {
    let (client, peer) = (format!("http://{}", free_port()), format!("http://{}", free_port()));
    let child = Command::new("etcd")
        .args(["--data-dir", data.to_str().unwrap(), "--name", "one", "--log-level", "error"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("one={peer}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Etcd { child, url: client }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_etcd_has_the_record_while_it_is_kept() {
    if std::env::var("NEURO_TEST_AGENT").as_deref() != Ok("1") {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let agent = agent(&data.path().join("a")).await;
    let etcd = etcd(&data.path().join("etcd"));
    let reports = begin(&agent, std::slice::from_ref(&etcd.url));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let key = STANDARD.encode(format!("/hypervisor/nodes/{}", agent.node().node_id));
    let range = || async {
        let url = format!("{}/v3/kv/range", etcd.url);
        let answer = http.post(url).json(&json!({ "key": key })).send().await.ok()?;
        answer.json::<Value>().await.ok()?.pointer("/kvs/0").cloned()
    };
    let mut found = None;
    for _ in 0..300 {
        found = range().await;
        if found.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let found = found.unwrap();
    assert!(found["lease"].as_str().is_some_and(|lease| lease != "0"), "{found}");
    let value = STANDARD.decode(found["value"].as_str().unwrap()).unwrap();
    sound(&serde_json::from_slice(&value).unwrap(), &agent);
    reports.end(true).await;
    assert_eq!(range().await, None, "the record goes with its lease");
}
