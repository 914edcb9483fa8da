//! The node and a ClusterService: registers, says every few seconds how it is, and registers again when it was forgotten.
//!
//! The service gives the node a name, which is kept over restarts of the agent: a new registration would be a new node.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tracing::{info, warn};

use super::report::Reporter;
use super::{End, Pace, ending};
use crate::agent::store::write_synced;
use crate::proto::hypervisor::v1::cluster_service_client::ClusterServiceClient;
use crate::proto::hypervisor::v1::{DeregisterNodeRequest, HeartbeatRequest, NodeCommand};
use crate::telemetry::agent::reported;

/// Commands that are remembered, so that one that is repeated is carried out once.
const COMMANDS: usize = 64;

/// The most that a service may ask for between two heartbeats.
const LONGEST_BEAT: Duration = Duration::from_secs(300);

/// What of a registration outlives the agent.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    server: String,
    node_id: String,
}

struct Session {
    server: String,
    client: ClusterServiceClient<Channel>,
    reporter: Reporter,
    pace: Pace,
    file: PathBuf,
    node_id: Option<String>,
    beat: Duration,
    done: VecDeque<String>,
}

/// Why a report did not go through.
enum Failed {
    /// Ask again later.
    Later(Status),
    /// The service does not know the node any more.
    Forgotten,
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::NotFound => Self::Forgotten,
            _ => Self::Later(status),
        }
    }
}

/// Reports until told to end.
pub(super) async fn run(server: String, reporter: Reporter, pace: Pace, mut stop: watch::Receiver<End>) {
    let endpoint = match Endpoint::from_shared(server.clone()) {
        Ok(endpoint) => endpoint.connect_timeout(pace.answer),
        Err(error) => {
            warn!(server, %error, "cluster.server is no address: the node reports nowhere");
            return;
        }
    };
    let file = reporter.agent.data().join("cluster.json");
    let node_id = known(&file, &server);
    let client = ClusterServiceClient::new(endpoint.connect_lazy());
    let beat = pace.beat;
    let mut session = Session {
        server,
        client,
        reporter,
        pace,
        file,
        node_id,
        beat,
        done: VecDeque::with_capacity(COMMANDS),
    };
    let end = tokio::select! {
        end = ending(&mut stop) => end,
        () = session.report() => End::Quiet,
    };
    if end == End::Deregister {
        session.deregister().await;
    }
}

impl Session {
    /// For ever.
    async fn report(&mut self) {
        // What the node can is part of its registration, and probes take seconds.
        drop(tokio::time::timeout(self.pace.longest_delay, self.reporter.agent.probed()).await);
        let mut failures = 0_u32;
        let mut forgotten = 0_u32;
        loop {
            let done = match self.node_id.clone() {
                None => self.register().await,
                Some(node_id) => self.heartbeat(node_id).await,
            };
            match done {
                Ok(beaten) => {
                    if failures > 0 {
                        info!(server = self.server, "the cluster answers again");
                    }
                    failures = 0;
                    reported("cluster", "ok");
                    if beaten {
                        forgotten = 0;
                        tokio::time::sleep(self.beat).await;
                    } else if forgotten > 1 {
                        // It knows the node no longer than it takes to ask: not at once again.
                        tokio::time::sleep(self.pace.delay(forgotten)).await;
                    }
                }
                Err(Failed::Forgotten) => {
                    reported("cluster", "refused");
                    forgotten = forgotten.saturating_add(1);
                    warn!(server = self.server, "the cluster has forgotten this node: it registers again");
                    self.node_id = None;
                }
                Err(Failed::Later(status)) => {
                    reported("cluster", "failed");
                    if failures == 0 {
                        warn!(server = self.server, code = %status.code(), message = status.message(), "the cluster does not answer");
                    }
                    failures = failures.saturating_add(1);
                    tokio::time::sleep(self.pace.delay(failures)).await;
                }
            }
        }
    }

    /// `false`: a heartbeat is to follow at once.
    async fn register(&mut self) -> Result<bool, Failed> {
        let request = self.timed(self.reporter.registration());
        let answer = self.client.register_node(request).await.map_err(Failed::Later)?.into_inner();
        if answer.node_id.is_empty() {
            return Err(Failed::Later(Status::internal("the answer names no node")));
        }
        self.beat = self.beat_of(answer.heartbeat_interval_seconds);
        info!(server = self.server, node_id = answer.node_id, "registered");
        let known = Known { server: self.server.clone(), node_id: answer.node_id.clone() };
        let file = self.file.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let text = serde_json::to_vec_pretty(&known)?;
            write_synced(&file, &text)
        });
        if !matches!(kept.await, Ok(Ok(()))) {
            warn!(file = %self.file.display(), "the node's name in the cluster cannot be kept");
        }
        self.node_id = Some(answer.node_id);
        Ok(false)
    }

    async fn heartbeat(&mut self, node_id: String) -> Result<bool, Failed> {
        let now = self.reporter.now();
        let request = HeartbeatRequest {
            node_id,
            status: now.status.into(),
            conditions: now.conditions,
            allocated: Some(now.allocated),
        };
        let answer = self.client.heartbeat(self.timed(request)).await?.into_inner();
        if !answer.accepted {
            return Err(Failed::Forgotten);
        }
        if answer.next_heartbeat_seconds > 0 {
            self.beat = self.beat_of(answer.next_heartbeat_seconds);
        }
        let mut changed = false;
        for command in answer.commands {
            changed |= self.obey(command).await;
        }
        // What a command changed is said at once.
        Ok(!changed)
    }

    async fn obey(&mut self, command: NodeCommand) -> bool {
        if !command.id.is_empty() && self.done.contains(&command.id) {
            return false;
        }
        let caller = format!("cluster {}", self.server);
        let undo = command.parameters.get("undo").is_some_and(|undo| undo == "true");
        let agent = &self.reporter.agent;
        let done = match (command.r#type.as_str(), undo) {
            ("drain" | "maintenance", false) => agent.drain(&caller).await,
            ("drain" | "maintenance", true) => agent.undrain(&caller).await,
            (other, _) => {
                warn!(
                    command = other,
                    id = command.id,
                    "the cluster asks for something that this agent cannot do"
                );
                self.remember(command.id);
                return false;
            }
        };
        match done {
            Ok(()) => {
                info!(
                    command = command.r#type,
                    id = command.id,
                    undo,
                    "the cluster's command was carried out"
                );
                self.reporter.maintenance = command.r#type == "maintenance" && !undo;
                self.remember(command.id);
                true
            }
            Err(error) => {
                warn!(command = command.r#type, id = command.id, %error, "the cluster's command failed");
                false
            }
        }
    }

    fn remember(&mut self, id: String) {
        if id.is_empty() {
            return;
        }
        if self.done.len() >= COMMANDS {
            self.done.pop_front();
        }
        self.done.push_back(id);
    }

    async fn deregister(&mut self) {
        let Some(node_id) = self.node_id.take() else { return };
        match self.client.deregister_node(self.timed(DeregisterNodeRequest { node_id })).await {
            Ok(_) => {
                info!(server = self.server, "deregistered");
                drop(std::fs::remove_file(&self.file));
            }
            Err(status) => warn!(server = self.server, message = status.message(), "cannot deregister"),
        }
    }

    fn timed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.pace.answer);
        request
    }

    fn beat_of(&self, seconds: i64) -> Duration {
        match u64::try_from(seconds) {
            Ok(0) | Err(_) => self.pace.beat,
            Ok(seconds) => Duration::from_secs(seconds).min(LONGEST_BEAT),
        }
    }
}

/// The name that this server gave the node in an earlier life of the agent.
fn known(file: &Path, server: &str) -> Option<String> {
    let known: Known = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    (known.server == server && !known.node_id.is_empty()).then_some(known.node_id)
}
