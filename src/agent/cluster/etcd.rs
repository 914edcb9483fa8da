//! The node's record in etcd, as upstream's agents write it: one JSON document under a lease, so that it goes when nobody
//! keeps it. Spoken over etcd's JSON gateway, where keys and values are base64.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{info, warn};

use super::instant::rfc3339;
use super::report::Reporter;
use super::{End, Pace, ending};
use crate::agent::audit::now_ms;
use crate::proto::hypervisor::v1::{NodeStatus, Resources};
use crate::telemetry::agent::reported;

/// How long the record stays when the agent is gone.
const LEASE_S: u64 = 30;

struct Writer {
    http: reqwest::Client,
    members: Vec<String>,
    reporter: Reporter,
    pace: Pace,
    created_ms: i64,
    lease: Option<String>,
}

/// Writes until told to end.
pub(super) async fn run(
    members: Vec<String>,
    reporter: Reporter,
    pace: Pace,
    mut stop: watch::Receiver<End>,
) {
    let http = match reqwest::Client::builder().timeout(pace.answer).no_proxy().build() {
        Ok(http) => http,
        Err(error) => {
            warn!(%error, "no record of the node in etcd");
            return;
        }
    };
    let mut writer = Writer { http, members, reporter, pace, created_ms: now_ms(), lease: None };
    let end = tokio::select! {
        end = ending(&mut stop) => end,
        () = writer.report() => End::Quiet,
    };
    if end == End::Deregister
        && let Some(lease) = writer.lease.take()
    {
        // The record goes with its lease.
        match writer.call("/v3/lease/revoke", &json!({ "ID": lease })).await {
            Ok(_) => info!("the node's record in etcd is gone"),
            Err(error) => warn!(error, "the node's record in etcd stays until its lease has run out"),
        }
    }
}

impl Writer {
    /// For ever.
    async fn report(&mut self) {
        drop(tokio::time::timeout(self.pace.longest_delay, self.reporter.agent.probed()).await);
        let mut failures = 0_u32;
        loop {
            match self.write().await {
                Ok(()) => {
                    reported("etcd", "ok");
                    failures = 0;
                    tokio::time::sleep(self.pace.beat.min(Duration::from_secs(LEASE_S / 3))).await;
                }
                Err(error) => {
                    reported("etcd", "failed");
                    if failures == 0 {
                        warn!(error, "the node's record cannot be written to etcd");
                    }
                    failures = failures.saturating_add(1);
                    tokio::time::sleep(self.pace.delay(failures)).await;
                }
            }
        }
    }

    async fn write(&mut self) -> Result<(), String> {
        let lease = match self.kept().await? {
            Some(lease) => lease,
            None => self.grant().await?,
        };
        let key = format!("/hypervisor/nodes/{}", self.reporter.agent.node().node_id);
        let record = self.record().to_string();
        let put = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(record), "lease": lease });
        self.call("/v3/kv/put", &put).await.map(drop)
    }

    /// The lease, when it is still there.
    async fn kept(&mut self) -> Result<Option<String>, String> {
        let Some(lease) = self.lease.clone() else { return Ok(None) };
        let answer = self.call("/v3/lease/keepalive", &json!({ "ID": lease })).await?;
        let left = answer.pointer("/result/TTL").and_then(Value::as_str).and_then(|left| left.parse().ok());
        if left.unwrap_or(0_i64) > 0 {
            return Ok(Some(lease));
        }
        warn!("etcd has forgotten the node's lease: it gets another");
        self.lease = None;
        Ok(None)
    }

    async fn grant(&mut self) -> Result<String, String> {
        let answer = self.call("/v3/lease/grant", &json!({ "TTL": LEASE_S.to_string() })).await?;
        let lease = answer.get("ID").and_then(Value::as_str).ok_or("the answer names no lease")?.to_owned();
        info!(lease, "the node's record in etcd is under a lease");
        self.lease = Some(lease.clone());
        Ok(lease)
    }

    /// Asks the members in turn; the one that answered is asked first the next time.
    async fn call(&mut self, path: &str, body: &Value) -> Result<Value, String> {
        let mut last = "no member is named".to_owned();
        for _ in 0..self.members.len() {
            let Some(member) = self.members.first() else { break };
            match ask(&self.http, member, path, body).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = format!("{member}: {error}"),
            }
            self.members.rotate_left(1);
        }
        Err(last)
    }

    fn record(&mut self) -> Value {
        let now = self.reporter.now();
        let (region, zone) = self.reporter.region();
        let capacity = self.reporter.agent.capacity();
        let conditions: Vec<Value> = now
            .conditions
            .iter()
            .map(|one| {
                let since = one.last_transition_time.unwrap_or_default();
                let since_ms =
                    since.seconds.saturating_mul(1000).saturating_add(i64::from(since.nanos) / 1_000_000);
                json!({
                    "type": one.r#type, "status": one.status, "reason": one.reason, "message": one.message,
                    "last_transition_time": rfc3339(since_ms),
                })
            })
            .collect();
        let status = match now.status {
            NodeStatus::Maintenance => "maintenance",
            NodeStatus::Draining => "draining",
            NodeStatus::NotReady => "not_ready",
            NodeStatus::Ready | NodeStatus::Unspecified => "ready",
        };
        json!({
            "id": self.reporter.agent.node().node_id,
            "hostname": self.reporter.hostname,
            "ip": self.reporter.ip.to_string(),
            "port": self.reporter.port,
            "role": "worker",
            "status": status,
            "region": region,
            "zone": zone,
            "capacity": resources(&capacity),
            "allocatable": resources(&capacity),
            "allocated": resources(&now.allocated),
            "conditions": conditions,
            "labels": self.reporter.labels(),
            "annotations": {},
            "supported_instance_types": self.reporter.kinds(),
            "created_at": rfc3339(self.created_ms),
            "last_seen": rfc3339(now_ms()),
        })
    }
}

fn resources(all: &Resources) -> Value {
    json!({
        "cpu_cores": all.cpu_cores, "memory_bytes": all.memory_bytes, "disk_bytes": all.disk_bytes,
        "gpu_count": all.gpu_count,
    })
}

async fn ask(http: &reqwest::Client, member: &str, path: &str, body: &Value) -> Result<Value, String> {
    let url = format!("{}{path}", member.trim_end_matches('/'));
    let answer = http.post(url).json(body).send().await.map_err(|error| error.without_url().to_string())?;
    let status = answer.status();
    let answer: Value = answer.json().await.map_err(|error| error.without_url().to_string())?;
    if !status.is_success() {
        return Err(format!("answers {status}: {answer}"));
    }
    if let Some(error) = answer.get("error") {
        return Err(format!("answers {error}"));
    }
    Ok(answer)
}
