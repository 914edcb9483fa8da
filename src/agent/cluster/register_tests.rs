//! A cluster that forgets, is away, and commands; in this process, over a real socket.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::{Pace, Reports};
use crate::agent::driver::fake::{FakeDriver, World};
use crate::agent::image::store::ImageStore;
use crate::agent::settings::AgentSettings;
use crate::agent::spec::Kind;
use crate::agent::{Agent, AgentOptions};
use crate::proto::hypervisor::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use crate::proto::hypervisor::v1::{
    DeregisterNodeRequest, HeartbeatRequest, HeartbeatResponse, Node, NodeCommand, NodeStatus,
    RegisterNodeRequest, RegisterNodeResponse, UpdateNodeStatusRequest,
};

#[derive(Debug, Default)]
struct Seen {
    registered: Vec<RegisterNodeRequest>,
    /// The node that is known; heartbeats of others are not accepted.
    known: Option<String>,
    beats: Vec<HeartbeatRequest>,
    commands: Vec<NodeCommand>,
    gone: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Cluster(Arc<Mutex<Seen>>);

impl Cluster {
    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&Seen) -> bool) {
        for _ in 0..1000 {
            if self.seen(|seen| holds(seen)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{what} did not come: {:?}", self.0);
    }

    async fn serve(&self, at: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = ClusterServiceServer::new(self.clone());
        let server = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        (address, tokio::spawn(async { server.await.unwrap() }))
    }
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn register_node(
        &self,
        request: Request<RegisterNodeRequest>,
    ) -> Result<Response<RegisterNodeResponse>, Status> {
        let node_id = self.seen(|seen| {
            seen.registered.push(request.into_inner());
            let id = format!("node-{}", seen.registered.len());
            seen.known = Some(id.clone());
            id
        });
        // Zero seconds leave the pace to the agent.
        Ok(Response::new(RegisterNodeResponse {
            node_id,
            heartbeat_interval_seconds: 0,
            lease_ttl_seconds: 30,
        }))
    }

    async fn deregister_node(&self, request: Request<DeregisterNodeRequest>) -> Result<Response<()>, Status> {
        self.seen(|seen| seen.gone.push(request.into_inner().node_id));
        Ok(Response::new(()))
    }

    async fn update_node_status(
        &self,
        _: Request<UpdateNodeStatusRequest>,
    ) -> Result<Response<Node>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let beat = request.into_inner();
        Ok(Response::new(self.seen(|seen| {
            let accepted = seen.known.as_ref() == Some(&beat.node_id);
            seen.beats.push(beat);
            HeartbeatResponse { accepted, next_heartbeat_seconds: 0, commands: seen.commands.clone() }
        })))
    }
}

const ANYWHERE: &str = "127.0.0.1:0";

fn quick() -> Pace {
    Pace {
        first_delay: Duration::from_millis(20),
        longest_delay: Duration::from_millis(200),
        answer: Duration::from_secs(5),
        beat: Duration::from_millis(30),
    }
}

pub(super) async fn agent(data: &std::path::Path) -> Agent {
    let driver = Arc::new(FakeDriver::new(Kind::Container, World::default()));
    let images = Arc::new(ImageStore::open(data).unwrap());
    let options = AgentOptions::new(AgentSettings::default(), data.to_owned(), vec![driver], images);
    Agent::open(options).await.unwrap()
}

fn settings(server: SocketAddr) -> AgentSettings {
    let mut settings = AgentSettings::default();
    settings.cluster.server = format!("http://{server}");
    settings.node.region = "lab".into();
    settings.node.labels.insert("rack".into(), "b7".into());
    settings
}

fn begin(agent: &Agent, server: SocketAddr) -> Reports {
    Reports::begin(agent, &settings(server), "127.0.0.1:50052".parse().unwrap(), quick())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_forgotten_registers_again_and_keeps_its_name_over_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let agent = agent(data.path()).await;
    let cluster = Cluster::default();
    let (address, _server) = cluster.serve(ANYWHERE.parse().unwrap()).await;
    let reports = begin(&agent, address);
    cluster.until("a heartbeat", |seen| seen.beats.len() > 3).await;
    cluster.seen(|seen| {
        assert_eq!(seen.registered.len(), 1);
        let node = &seen.registered[0];
        assert_eq!((node.ip.as_str(), node.port, node.region.as_str()), ("127.0.0.1", 50052, "lab"));
        assert_eq!(node.supported_instance_types, ["container"]);
        let labels = &node.metadata.as_ref().unwrap().labels;
        assert_eq!((labels["rack"].as_str(), labels["neuro.io/container"].as_str()), ("b7", "fake"));
        assert_eq!(labels["neuro.io/node-id"], agent.node().node_id);
        assert!(node.capacity.as_ref().unwrap().memory_bytes > 1 << 26 && !node.hostname.is_empty());
        let beat = &seen.beats[0];
        assert_eq!((beat.node_id.as_str(), beat.status()), ("node-1", NodeStatus::Ready));
        assert!(beat.allocated.is_some() && beat.conditions.len() == 3);
        seen.known = None;
    });
    cluster.until("another registration", |seen| seen.registered.len() == 2).await;
    cluster.until("a heartbeat of it", |seen| seen.beats.iter().any(|beat| beat.node_id == "node-2")).await;
    reports.end(false).await;
    assert!(cluster.seen(|seen| seen.gone.is_empty()));

    cluster.seen(|seen| seen.beats.clear());
    let reports = begin(&agent, address);
    cluster.until("a heartbeat by the old name", |seen| !seen.beats.is_empty()).await;
    cluster.seen(|seen| assert_eq!((seen.registered.len(), seen.beats[0].node_id.as_str()), (2, "node-2")));
    reports.end(true).await;
    assert_eq!(cluster.seen(|seen| seen.gone.clone()), ["node-2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_away_is_asked_until_it_is_back() {
    let data = tempfile::tempdir().unwrap();
    let agent = agent(data.path()).await;
    let free = TcpListener::bind(ANYWHERE).await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let reports = begin(&agent, address);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let cluster = Cluster::default();
    let (_, server) = cluster.serve(address).await;
    cluster.until("a heartbeat", |seen| !seen.beats.is_empty()).await;
    server.abort();
    drop(server.await);
    let before = cluster.seen(|seen| seen.beats.len());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (_, _server) = cluster.serve(address).await;
    cluster.until("more heartbeats", |seen| seen.beats.len() > before + 2).await;
    assert_eq!(cluster.seen(|seen| seen.registered.len()), 1, "it was not forgotten");
    reports.end(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_to_drain_are_carried_out_once_and_said_back() {
    let data = tempfile::tempdir().unwrap();
    let agent = agent(data.path()).await;
    let cluster = Cluster::default();
    let (address, _server) = cluster.serve(ANYWHERE.parse().unwrap()).await;
    let command = |id: &str, kind: &str, undo: bool| NodeCommand {
        id: id.into(),
        r#type: kind.into(),
        parameters: if undo { [("undo".to_owned(), "true".to_owned())].into() } else { Default::default() },
    };
    cluster.seen(|seen| seen.commands = vec![command("1", "drain", false)]);
    let reports = begin(&agent, address);
    let last = |seen: &Seen| seen.beats.last().map(HeartbeatRequest::status);
    cluster.until("that it drains", |seen| last(seen) == Some(NodeStatus::Draining)).await;
    assert!(agent.draining());
    cluster.seen(|seen| seen.commands.push(command("2", "maintenance", false)));
    cluster.until("that it is worked on", |seen| last(seen) == Some(NodeStatus::Maintenance)).await;
    cluster.seen(|seen| {
        seen.commands.extend([command("3", "upgrade", false), command("4", "maintenance", true)]);
    });
    cluster.until("that it is ready", |seen| last(seen) == Some(NodeStatus::Ready)).await;
    assert!(!agent.draining());
    reports.end(false).await;
    let log = std::fs::read_to_string(agent.data().join("audit.jsonl")).unwrap();
    let drains =
        log.lines().filter(|line| line.contains("\"drain\"") && line.contains("cluster http://")).count();
    assert_eq!(drains, 2, "one for each command, however often it came: {log}");
}
