//! `neuro orchestrate` on free loopback ports, ended when it goes out of scope, and clients of it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use neuro::proto::neuro::ext::instance_service_client::InstanceServiceClient;
use neuro::proto::neuro::ext::pool_admin_service_client::PoolAdminServiceClient;
use neuro::proto::neuro::ext::session_service_client::SessionServiceClient;
use neuro::proto::neuro::isaac_sim::isaac_sim_service_client::IsaacSimServiceClient;
use neuro::proto::neuro::orchestrator::neuro_orchestrator_service_client::NeuroOrchestratorServiceClient;
use neuro::proto::neuro::resource::resource_service_client::ResourceServiceClient;
use neuro::proto::neuro::training::training_service_client::TrainingServiceClient;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;

/// How long a fleet may take to come up: it needs milliseconds, the machine may be busy.
const STARTUP: Duration = Duration::from_secs(60);

/// A pool with nothing in it: nobody listens there.
pub const NOBODY: &str = "[[pool]]\nname = \"nobody\"\nrole = \"simulator\"\nbackend = \"static\"\n\
    instances = [\"http://127.0.0.1:9\"]\n";

/// Simulators of this binary, two at most, one kept warm.
pub const SIMULATORS: &str =
    "[[pool]]\nname = \"isaac-sim\"\nrole = \"simulator\"\nbackend = \"process\"\nwarm = 1\nmax = 2\n";

/// A running fleet.
pub struct Fleet {
    child: Child,
    /// `127.0.0.1:PORT` of the gRPC services.
    pub grpc: String,
    /// `127.0.0.1:PORT` of HTTP.
    pub http: String,
    /// What it said on standard error so far comes here when it ends.
    errors: mpsc::Receiver<String>,
    /// Its data folder and its settings.
    pub folder: TempDir,
}

impl Fleet {
    /// Starts one with this text as its settings.
    pub fn start(settings: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings, &[])
    }

    /// As [`Fleet::start`], with the data of an earlier one and more flags.
    pub fn start_in(folder: TempDir, settings: &str, flags: &[&str]) -> Self {
        std::fs::write(folder.path().join("fleet.toml"), settings).unwrap();
        let free = ["--listen", "--http"].into_iter().filter(|flag| !flags.contains(flag));
        let flags: Vec<&str> =
            free.flat_map(|flag| [flag, "127.0.0.1:0"]).chain(flags.iter().copied()).collect();
        let Started { child, grpc, http, errors } = Started::new(folder.path(), &flags);
        Self { child, grpc, http, errors, folder }
    }

    /// Kills it as a power cut would, and starts it again over the same data and addresses.
    pub fn crash_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let flags = ["--listen", &self.grpc.clone(), "--http", &self.http.clone()];
        let Started { child, grpc, http, errors } = Started::new(self.folder.path(), &flags);
        (self.child, self.grpc, self.http, self.errors) = (child, grpc, http, errors);
    }

    /// The process of an instance that a pool of it started.
    pub fn process_of(&self, instance: &str) -> Option<u64> {
        processes(self.folder.path())
            .iter()
            .find(|process| process.get("instance").and_then(|id| id.as_str()) == Some(instance))
            .and_then(|process| process.get("pid")?.as_u64())
    }

    /// Process id, for signals.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end: the exit code, and what it said on standard error.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.errors.recv_timeout(Duration::from_secs(10)).unwrap_or_default())
    }

    /// A connection of its own.
    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    /// Clients of every service, over one connection.
    pub async fn clients(&self) -> Clients {
        Clients::over(self.channel().await)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // The instances that it started outlive it by design; these are ended by their own ids.
        for pid in instances(self.folder.path()) {
            drop(Command::new("kill").arg(pid.to_string()).stderr(Stdio::null()).status());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `neuro orchestrate` over a folder with `fleet.toml`, without this shell's own settings.
pub fn orchestrate(folder: &Path) -> Command {
    let mut command = crate::shell::neuro();
    command
        .arg("orchestrate")
        .arg("--data")
        .arg(folder.join("data"))
        .arg("--config")
        .arg(folder.join("fleet.toml"));
    command.stdin(Stdio::null());
    command
}

/// Processes that a data folder remembers.
fn processes(folder: &Path) -> Vec<serde_json::Value> {
    let Ok(entries) = std::fs::read_dir(folder.join("data/processes")) else { return Vec::new() };
    let read = |path: std::path::PathBuf| serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok();
    entries.filter_map(|entry| read(entry.ok()?.path())).collect()
}

fn instances(folder: &Path) -> Vec<u64> {
    processes(folder).iter().filter_map(|process| process.get("pid")?.as_u64()).collect()
}

/// A process that has said where it listens.
struct Started {
    child: Child,
    grpc: String,
    http: String,
    errors: mpsc::Receiver<String>,
}

impl Started {
    fn new(folder: &Path, flags: &[&str]) -> Self {
        let mut child =
            orchestrate(folder).args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, seen) = mpsc::sync_channel(64);
        let stdout = child.stdout.take().unwrap();
        let reader = move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                drop(lines.try_send(line));
            }
        };
        std::thread::Builder::new().name("fleet-stdout".into()).spawn(reader).unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (said, errors) = mpsc::sync_channel(1);
        let drain = move || {
            let mut text = String::new();
            drop(stderr.read_to_string(&mut text));
            drop(said.try_send(text));
        };
        std::thread::Builder::new().name("fleet-stderr".into()).spawn(drain).unwrap();
        let Ok(line) = seen.recv_timeout(STARTUP) else {
            drop(child.kill());
            let said = errors.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
            panic!("the fleet did not come up; it said: {said}");
        };
        let (grpc, http) = line
            .strip_prefix("neuro orchestrate listening on grpc://")
            .and_then(|rest| rest.split_once(" http://"))
            .unwrap_or_else(|| panic!("unexpected first line {line:?}"));
        Self { child, grpc: grpc.to_owned(), http: http.to_owned(), errors }
    }
}

/// A client of each service.
#[derive(Clone)]
pub struct Clients {
    pub neuro: NeuroOrchestratorServiceClient<Channel>,
    pub isaac: IsaacSimServiceClient<Channel>,
    pub training: TrainingServiceClient<Channel>,
    pub resource: ResourceServiceClient<Channel>,
    pub sessions: SessionServiceClient<Channel>,
    pub instances: InstanceServiceClient<Channel>,
    pub pools: PoolAdminServiceClient<Channel>,
}

impl Clients {
    pub fn over(channel: Channel) -> Self {
        Self {
            neuro: NeuroOrchestratorServiceClient::new(channel.clone()),
            isaac: IsaacSimServiceClient::new(channel.clone()),
            training: TrainingServiceClient::new(channel.clone()),
            resource: ResourceServiceClient::new(channel.clone()),
            sessions: SessionServiceClient::new(channel.clone()),
            instances: InstanceServiceClient::new(channel.clone()),
            pools: PoolAdminServiceClient::new(channel),
        }
    }
}

/// The fields that a refusal names.
pub fn wrong_fields(status: &tonic::Status) -> Vec<String> {
    let request = status.get_details_bad_request();
    request
        .map(|request| request.field_violations.into_iter().map(|one| one.field).collect())
        .unwrap_or_default()
}

/// A session id as clients make them.
pub fn fresh_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
