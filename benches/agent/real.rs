//! Over real containers, with the agent as the program that it is, and a client of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use neuro::proto::hypervisor::v1::agent_service_client::AgentServiceClient;
use neuro::proto::hypervisor::v1::{AgentDeleteInstanceRequest, AgentInstanceRequest, InstanceState};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{Size, against, echo, folder, instance, ms, name, typed};

/// An agent in a process of its own, and its client.
struct Node {
    program: PathBuf,
    folder: PathBuf,
    child: Child,
    address: String,
}

/// All of it, or why not.
pub(super) fn measure(size: Size) {
    let Some(program) = program() else {
        println!("real containers: not measured: the program of the agent is not known, set BENCH_BINARY");
        return;
    };
    if !rustix::process::geteuid().is_root() || !runs("runc", "--version") || !runs("/bin/busybox", "true") {
        println!("real containers: not measured: that needs root, runc and a static /bin/busybox");
        return;
    }
    println!("real containers");
    let house = folder();
    let mut node = Node::start(program, house.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(crowd(&mut node, size));
    drop(node);
}

fn program() -> Option<PathBuf> {
    let given = std::env::var_os("BENCH_BINARY").map(PathBuf::from);
    given.or_else(|| option_env!("CARGO_BIN_EXE_neuro").map(PathBuf::from))
}

fn runs(program: &str, argument: &str) -> bool {
    let silent = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    silent.is_ok_and(|status| status.success())
}

impl Node {
    fn start(program: PathBuf, folder: &Path) -> Self {
        let root = folder.join("root");
        for name in ["bin", "tmp", "proc", "sys", "dev", "etc"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["busybox", "sh", "cat", "sleep"] {
            fs::copy("/bin/busybox", root.join("bin").join(name)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
        fs::write(folder.join("agent.toml"), "[limits]\ncpu_share = 1000.0\n").unwrap();
        fs::create_dir(folder.join("data")).unwrap();
        let mut import = Command::new(&program);
        import.args(["agent", "image", "import", "--format", "rootfs", "--data"]).arg(folder.join("data"));
        let imported = import.arg("busybox").arg(root).stdout(Stdio::null()).status().unwrap();
        assert!(imported.success(), "the image is not taken");
        let (child, address) = launch(&program, folder);
        Self { program, folder: folder.to_owned(), child, address }
    }

    async fn client(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::connect(format!("http://{}", self.address)).await.unwrap()
    }

    /// Killed without a word, and started again.
    fn again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.address) = launch(&self.program, &self.folder);
    }

    fn memory_megabytes(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Until it answers.
fn launch(program: &Path, folder: &Path) -> (Child, String) {
    let log = fs::File::options().create(true).append(true).open(folder.join("agent.log")).unwrap();
    let mut agent = Command::new(program);
    agent.args(["agent", "--listen", "127.0.0.1:0", "--data"]).arg(folder.join("data"));
    agent.arg("--config").arg(folder.join("agent.toml"));
    let mut child = agent.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("neuro agent listening on grpc://").unwrap_or_else(|| {
        panic!("{line:?}; {}", fs::read_to_string(folder.join("agent.log")).unwrap_or_default())
    });
    (child, address.split_whitespace().next().unwrap_or_default().to_owned())
}

async fn crowd(node: &mut Node, size: Size) {
    let client = node.client().await;
    // The probe of the runtime is not what is measured.
    create(&client, "warm", &["sleep", "1000"]).await;
    delete(&client, "warm").await;
    println!("  memory of the agent without instances: {:.1} MB", node.memory_megabytes());
    let count = size.instances;
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for number in 0..count {
        let client = client.clone();
        calls.spawn(async move { create(&client, &name(number), &["cat"]).await });
    }
    calls.join_all().await;
    against(&format!("  {count} created and started at once"), begun.elapsed().as_secs_f64(), 8.0, "s");
    let running = running(&client).await;
    assert_eq!(running, count);
    for round in ["first", "second"] {
        let begun = Instant::now();
        let mut calls = JoinSet::new();
        for number in 0..count {
            let mut client = client.clone();
            let request = AgentInstanceRequest { instance_id: name(number) };
            calls.spawn(async move { client.get_instance_stats(request).await.unwrap() });
        }
        calls.join_all().await;
        let what = format!("  figures of {count} through gRPC, asked for the {round} time");
        against(&what, ms(begun.elapsed()), 50.0, "ms");
    }
    echo("  echo of a terminal through gRPC", typed(client.clone(), &name(0), size.echoes.min(500)).await);
    against(&format!("  memory of the agent with {count} instances"), node.memory_megabytes(), 60.0, "MB");
    let begun = Instant::now();
    delete_all(&client, size.found_again..count).await;
    println!("  {} deleted: {:.2} s", count - size.found_again, begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    node.again();
    let client = node.client().await;
    assert_eq!(self::running(&client).await, size.found_again);
    let what = format!("  {} containers found again after kill -9, with the agent's start", size.found_again);
    against(&what, begun.elapsed().as_secs_f64(), 2.0, "s");
    delete_all(&client, 0..size.found_again).await;
}

async fn create(client: &AgentServiceClient<Channel>, id: &str, command: &[&str]) {
    let made = client.clone().create_instance(instance(id, command)).await.unwrap().into_inner();
    assert_eq!(made.state(), InstanceState::Running, "{made:?}");
}

async fn delete(client: &AgentServiceClient<Channel>, id: &str) {
    let request = AgentDeleteInstanceRequest { instance_id: id.to_owned(), force: true };
    client.clone().delete_instance(request).await.unwrap();
}

async fn delete_all(client: &AgentServiceClient<Channel>, numbers: std::ops::Range<usize>) {
    let mut calls = JoinSet::new();
    for number in numbers {
        let client = client.clone();
        calls.spawn(async move { delete(&client, &name(number)).await });
    }
    calls.join_all().await;
}

async fn running(client: &AgentServiceClient<Channel>) -> usize {
    let listed = client.clone().list_instances(()).await.unwrap().into_inner().instances;
    listed.iter().filter(|one| one.state() == InstanceState::Running).count()
}
