//! `neuro agent` on this machine with real containers and guests, and a client of it. Needs root, runc, QEMU and the guest of
//! `tests/agent/guest/build`: `make test-agent` sees to that.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use neuro::proto::hypervisor::v1::agent_service_client::AgentServiceClient;
use neuro::proto::hypervisor::v1::{
    AgentConsoleInput, AgentConsoleResize, AgentCreateInstanceRequest, AgentDeleteInstanceRequest,
    AgentInstanceRequest, AgentStopInstanceRequest, Instance, InstanceSpec, InstanceState, InstanceStats,
    InstanceType, agent_console_input::Input,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// Emulated guests on two busy cores take their time.
pub const BOOT: Duration = Duration::from_secs(120);
pub const SOON: Duration = Duration::from_secs(20);

/// An agent over a folder of its own; what it started is removed when it goes out of scope.
pub struct Node {
    child: Child,
    pub address: String,
    pub folder: TempDir,
}

impl Node {
    /// One with the image `busybox` and the guest's kernel and initrd as `guest-kernel` and `guest-initrd`.
    pub fn start() -> Self {
        Self::with("")
    }

    /// With these settings besides.
    pub fn with(settings: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("na").tempdir().unwrap();
        std::fs::write(folder.path().join("agent.toml"), settings).unwrap();
        let guest = guest();
        let data = folder.path().join("data");
        import(&data, "busybox", "rootfs", &busybox(folder.path()));
        import(&data, "guest-kernel", "kernel", &guest.join("kernel"));
        import(&data, "guest-initrd", "initrd", &guest.join("initrd"));
        let (child, address) = launch(folder.path(), "127.0.0.1:0", &[]);
        Self { child, address, folder }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How long it took until it answered.
    pub fn start_again(&mut self) -> Duration {
        self.start_with(&[])
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) {
        self.child.wait().unwrap();
    }

    /// With more flags.
    pub fn start_with(&mut self, flags: &[&str]) -> Duration {
        let begun = Instant::now();
        let (child, address) = launch(self.folder.path(), &self.address, flags);
        (self.child, self.address) = (child, address);
        begun.elapsed()
    }

    pub async fn client(&self) -> Client {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        Client(AgentServiceClient::new(endpoint.connect().await.unwrap()))
    }

    /// Eight digits that stand in the name of everything that outlives the agent.
    pub fn mark(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("data/node.json")).unwrap();
        let node: serde_json::Value = serde_json::from_str(&text).unwrap();
        node["mark"].as_str().unwrap().to_owned()
    }

    /// What on this machine still bears its mark or lies in its folder: processes, cgroups, mounts, loop and network
    /// devices, folders.
    /// The kernel lets go of a loop device a moment after its mount.
    pub fn left_over(&self) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(3);
        loop {
            let left = self.left_over_now();
            if left.is_empty() || Instant::now() > end {
                return left;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn left_over_now(&self) -> Vec<String> {
        let (mark, folder) = (self.mark(), self.folder.path().display().to_string());
        let mut found = Vec::new();
        for pid in processes() {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if pid != self.pid() && (line.contains(&mark) || line.contains(&folder)) {
                found.push(format!("process {pid}: {line}"));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        found
            .extend(mounts.lines().filter(|line| line.contains(&folder)).map(|line| format!("mount {line}")));
        for device in std::fs::read_dir("/sys/class/net").unwrap().flatten() {
            let alias = std::fs::read_to_string(device.path().join("ifalias")).unwrap_or_default();
            if alias.contains(&mark) {
                found.push(format!("network device {}", device.path().display()));
            }
        }
        let pattern = format!("*{mark}*");
        let groups =
            Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", &pattern]).output().unwrap();
        // The agent's own parent groups stay, empty.
        let groups = String::from_utf8(groups.stdout).unwrap();
        for group in groups.lines() {
            let inside = std::fs::read_dir(group).into_iter().flatten().flatten();
            let inside = inside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            found.extend(inside.map(|entry| format!("cgroup {}", entry.path().display())));
        }
        for device in std::fs::read_dir("/sys/block").unwrap().flatten() {
            let backing =
                std::fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            if backing.contains(&folder) {
                found.push(format!("{} on {}", device.path().display(), backing.trim()));
            }
        }
        for lease in
            std::fs::read_dir(self.folder.path().join("data/instances")).into_iter().flatten().flatten()
        {
            found.push(format!("folder {}", lease.path().display()));
        }
        found
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Through the agent, so that nothing of what a failed test made stays on the machine.
        let url = format!("http://{}", self.address);
        let listed = neuro_agent(self.folder.path(), &["ls", "--json", "--agent", &url]).unwrap_or_default();
        let instances = listed.lines().filter_map(|line| serde_json::from_str(line).ok());
        for instance in instances.collect::<Vec<serde_json::Value>>() {
            let id = instance["id"].as_str().unwrap_or_default();
            drop(neuro_agent(self.folder.path(), &["rm", "--force", "--agent", &url, id]));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn neuro_agent(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = crate::shell::neuro();
    let output =
        command.arg("agent").args(arguments).current_dir(folder).stderr(Stdio::inherit()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn launch(folder: &Path, address: &str, flags: &[&str]) -> (Child, String) {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("agent.log")).unwrap();
    let mut child = crate::shell::neuro()
        .args(["agent", "--listen", address, "--data"])
        .arg(folder.join("data"))
        .arg("--config")
        .arg(folder.join("agent.toml"))
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("neuro agent listening on grpc://").unwrap_or_else(|| {
        let log = std::fs::read_to_string(folder.join("agent.log")).unwrap_or_default();
        panic!("unexpected first line {line:?}; it said: {log}")
    });
    let address = address.split_whitespace().next().unwrap_or_default().to_owned();
    (child, address)
}

fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn guest() -> PathBuf {
    let script = crate::golden::root().join("tests/agent/guest/build");
    let output = Command::new(&script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{} failed", script.display());
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A root file system that is one program.
fn busybox(folder: &Path) -> PathBuf {
    let root = folder.join("busybox");
    for name in ["bin", "tmp", "proc", "sys", "dev", "etc", "data"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    let program = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists());
    let program = program.expect("Debian's package busybox-static");
    std::fs::copy(program, root.join("bin/busybox")).unwrap();
    let names = Command::new(program).arg("--list").output().unwrap().stdout;
    for name in String::from_utf8(names).unwrap().lines().filter(|name| *name != "busybox") {
        drop(std::os::unix::fs::symlink("busybox", root.join("bin").join(name)));
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
    root
}

pub fn import(data: &Path, name: &str, format: &str, path: &Path) {
    std::fs::create_dir_all(data).unwrap();
    let (data, path) = (data.display().to_string(), path.display().to_string());
    let said = neuro_agent(
        &crate::golden::root(),
        &["image", "import", "--data", &data, "--format", format, name, &path],
    );
    assert!(said.is_some(), "importing {name} from {path}");
}

/// The service, with words for what tests do.
#[derive(Clone)]
pub struct Client(pub AgentServiceClient<Channel>);

/// A container of busybox that runs this in a shell.
pub fn container(id: &str, script: &str) -> AgentCreateInstanceRequest {
    AgentCreateInstanceRequest {
        instance_id: id.to_owned(),
        name: id.to_owned(),
        r#type: InstanceType::Container.into(),
        spec: Some(InstanceSpec {
            image: "busybox".to_owned(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            ..InstanceSpec::default()
        }),
        ..AgentCreateInstanceRequest::default()
    }
}

/// The test guest, as a VM or a microVM.
pub fn guest_of(id: &str, kind: InstanceType, arguments: &str) -> AgentCreateInstanceRequest {
    AgentCreateInstanceRequest {
        instance_id: id.to_owned(),
        name: id.to_owned(),
        r#type: kind.into(),
        spec: Some(InstanceSpec {
            cpu_cores: 1,
            memory_bytes: 96 << 20,
            kernel: "guest-kernel".to_owned(),
            initrd: "guest-initrd".to_owned(),
            kernel_args: arguments.to_owned(),
            ..InstanceSpec::default()
        }),
        ..AgentCreateInstanceRequest::default()
    }
}

/// With an annotation of the agent's.
pub fn annotated(
    mut create: AgentCreateInstanceRequest,
    pairs: &[(&str, &str)],
) -> AgentCreateInstanceRequest {
    let pairs = pairs.iter().map(|(name, value)| (format!("hypervisor.io/{name}"), (*value).to_owned()));
    create.annotations.extend(pairs.collect::<BTreeMap<_, _>>());
    create
}

impl Client {
    pub async fn create(&self, create: AgentCreateInstanceRequest) -> Result<Instance, Status> {
        self.0.clone().create_instance(create).await.map(tonic::Response::into_inner)
    }

    pub async fn start(&self, id: &str) -> Result<Instance, Status> {
        let request = AgentInstanceRequest { instance_id: id.to_owned() };
        self.0.clone().start_instance(request).await.map(tonic::Response::into_inner)
    }

    /// Creates and starts.
    pub async fn run(&self, create: AgentCreateInstanceRequest) -> Instance {
        let id = create.instance_id.clone();
        self.create(create).await.unwrap();
        self.start(&id).await.unwrap()
    }

    pub async fn stop(&self, id: &str, force: bool, timeout_seconds: i32) -> Result<Instance, Status> {
        let request = AgentStopInstanceRequest { instance_id: id.to_owned(), force, timeout_seconds };
        self.0.clone().stop_instance(request).await.map(tonic::Response::into_inner)
    }

    pub async fn delete(&self, id: &str, force: bool) -> Result<(), Status> {
        let request = AgentDeleteInstanceRequest { instance_id: id.to_owned(), force };
        self.0.clone().delete_instance(request).await.map(|_| ())
    }

    pub async fn get(&self, id: &str) -> Result<Instance, Status> {
        let request = AgentInstanceRequest { instance_id: id.to_owned() };
        self.0.clone().get_instance(request).await.map(tonic::Response::into_inner)
    }

    pub async fn list(&self) -> Vec<Instance> {
        self.0.clone().list_instances(()).await.unwrap().into_inner().instances
    }

    pub async fn stats(&self, id: &str) -> InstanceStats {
        let request = AgentInstanceRequest { instance_id: id.to_owned() };
        self.0.clone().get_instance_stats(request).await.unwrap().into_inner()
    }

    /// Waits until it is in this state.
    pub async fn until(&self, id: &str, state: InstanceState, limit: Duration) -> Instance {
        let end = Instant::now() + limit;
        loop {
            let instance = self.get(id).await.unwrap();
            if instance.state() == state {
                return instance;
            }
            assert!(Instant::now() < end, "{id} is {:?}, expected {state:?}: {instance:?}", instance.state());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Attaches to its console.
    pub async fn console(&self, id: &str) -> Terminal {
        let (keys, typed) = mpsc::channel(64);
        let first = AgentConsoleInput { input: Some(Input::Data(id.to_owned().into())) };
        keys.send(first).await.unwrap();
        let request = Request::new(ReceiverStream::new(typed));
        let screen = self.0.clone().attach_console(request).await.unwrap().into_inner();
        Terminal { keys, screen, text: Vec::new(), read: 0 }
    }
}

/// A console.
pub struct Terminal {
    keys: mpsc::Sender<AgentConsoleInput>,
    pub screen: Streaming<neuro::proto::hypervisor::v1::AgentConsoleOutput>,
    /// All that was shown.
    pub text: Vec<u8>,
    read: usize,
}

impl Terminal {
    pub async fn type_in(&self, keys: &str) {
        let input = AgentConsoleInput { input: Some(Input::Data(keys.to_owned().into())) };
        self.keys.send(input).await.unwrap();
    }

    pub async fn resize(&self, width: i32, height: i32) {
        let input = AgentConsoleInput { input: Some(Input::Resize(AgentConsoleResize { width, height })) };
        self.keys.send(input).await.unwrap();
    }

    /// Reads until this was shown after what was looked for before.
    pub async fn shows(&mut self, wanted: &str, limit: Duration) {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let rest = &self.text[self.read..];
            if let Some(at) = rest.windows(wanted.len()).position(|part| part == wanted.as_bytes()) {
                self.read += at + wanted.len();
                return;
            }
            match tokio::time::timeout_at(end, self.screen.message()).await {
                Ok(Ok(Some(output))) => self.text.extend_from_slice(&output.data),
                other => panic!(
                    "{other:?} while waiting for {wanted:?} after {:?}",
                    String::from_utf8_lossy(&self.text)
                ),
            }
        }
    }
}
