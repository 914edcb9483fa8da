//! A pool of the orchestrator whose simulators are containers of this agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use neuro::proto::hypervisor::v1::InstanceState;
use neuro::proto::neuro::orchestrator::{
    CreateSessionRequest, ResourcePoolStatusRequest, StartSimulationRequest, StopSessionRequest,
};

use super::harness::{Client, Node, import};
use crate::fleet_grpc::harness::{Clients, Fleet};

/// A debug binary with its libraries is copied, unpacked and started in that time.
const LIMIT: Duration = Duration::from_secs(60);

/// A root file system with this program and the libraries it needs.
fn simulator_root(folder: &Path) -> PathBuf {
    let root = folder.join("simulator");
    let program = env!("CARGO_BIN_EXE_neuro");
    for name in ["tmp", "proc", "sys", "dev", "etc"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy(program, root.join("neuro")).unwrap();
    let needed = Command::new("ldd").arg(program).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    for library in needed.split_whitespace().filter(|word| word.starts_with('/')) {
        let place = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(library, place).unwrap();
    }
    root
}

async fn running(client: &Client) -> Vec<String> {
    let all = client.list().await;
    let runs = all.into_iter().filter(|one| one.state() == InstanceState::Running);
    runs.map(|one| one.id).collect()
}

/// Ids of the pool's idle simulators.
async fn idle(clients: &mut Clients) -> Vec<String> {
    let ask = ResourcePoolStatusRequest { include_isaac_pool: true, include_training_pool: false };
    let pool = clients.neuro.get_resource_pool_status(ask).await.unwrap().into_inner().isaac_pool.unwrap();
    pool.instances.into_iter().filter(|one| one.status == "idle").map(|one| one.instance_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn a_session_runs_in_a_container_and_a_lost_container_is_replaced() {
    let node = Node::start();
    let client = node.client().await;
    let root = simulator_root(node.folder.path());
    import(&node.folder.path().join("data"), "simulator", "rootfs", &root);
    let settings = format!(
        r#"
[[pool]]
name = "isaac-sim"
role = "simulator"
backend = "agent"
warm = 1
max = 2
command = ["/neuro", "simulate", "--orchestrator", "{{orchestrator}}", "--instance-id", "{{id}}", "--name", "{{name}}",
    "--pool", "{{pool}}", "--signalling", "{{signalling}}"]
[pool.agent]
urls = ["http://{}"]
image = "simulator"
"#,
        node.address
    );
    let fleet = Fleet::start(&settings);
    let mut clients = fleet.clients().await;
    let end = Instant::now() + LIMIT;
    while idle(&mut clients).await.is_empty() {
        assert!(Instant::now() < end, "no simulator came: {:?}", client.list().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let create = CreateSessionRequest { session_id: "mine".to_owned(), ..Default::default() };
    let made = clients.neuro.create_session(create).await.unwrap().into_inner();
    assert!(running(&client).await.contains(&made.instance_id), "{made:?} is no container of this agent");
    let start = StartSimulationRequest { session_id: "mine".to_owned(), ..Default::default() };
    clients.neuro.start_simulation(start).await.unwrap();
    let stats = client.stats(&made.instance_id).await;
    assert!(stats.memory_usage_bytes > 0 && stats.processes > 0, "{stats:?}");
    let stop = StopSessionRequest { session_id: "mine".to_owned(), cleanup: true };
    clients.neuro.stop_session(stop).await.unwrap();

    let lost = made.instance_id;
    client.delete(&lost, true).await.unwrap();
    let end = Instant::now() + LIMIT;
    loop {
        let idle = idle(&mut clients).await;
        if !idle.is_empty() && !idle.contains(&lost) {
            break;
        }
        assert!(Instant::now() < end, "{lost} is gone and nobody took its place: {idle:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
