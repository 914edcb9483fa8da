//! Settings of the orchestrator: a TOML file, every key optional. Unknown keys are refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod check;
#[cfg(test)]
mod document_tests;
mod load;
mod show;

pub use crate::config::document::SettingsError;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetSettings {
    /// Addresses that clients are told.
    pub public: Public,
    /// Sessions.
    pub sessions: Sessions,
    /// The queue.
    pub queue: Queue,
    /// Instances' leases.
    pub leases: Leases,
    /// Driving.
    pub control: Control,
    /// Where snapshots, checkpoints and demonstrations go.
    pub storage: Storage,
    /// What `GetOmniverseConnectionInfo` answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omniverse: Option<Omniverse>,
    /// Events for others.
    pub events: Events,
    /// Who may ask.
    pub access: Access,
    /// Limits of owners that are not named.
    pub quota: QuotaSettings,
    /// Limits of owners by name.
    pub owners: BTreeMap<String, QuotaSettings>,
    /// Where instances come from; empty: one pool of `neuro simulate` and one of `neuro trainer` on this machine.
    pub pool: Vec<Pool>,
}

/// Addresses that clients are told. Empty: made from the host a client came in by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Public {
    /// `http://host:port` of the HTTP listener, as clients reach it; websocket addresses are made from it.
    pub url: String,
}

/// Sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sessions {
    /// Simulators of a training session that does not say.
    pub parallel_envs: u32,
    /// Most simulators of one session.
    pub max_simulators: u32,
    /// The environment of a scene that does not say.
    pub environment: String,
    /// How long a create call waits at most, in seconds, for clients that set no deadline.
    pub create_wait_s: f64,
    /// How long an instance may take to load a scene, in seconds.
    pub load_limit_s: f64,
    /// Idle life of a manual session, in seconds; 0 for no limit.
    pub manual_idle_s: f64,
    /// Longest life of a manual session, in seconds; 0 for no limit.
    pub manual_max_s: f64,
    /// Idle life of a training session: without progress, in seconds.
    pub training_idle_s: f64,
    /// Longest life of a training session, in seconds.
    pub training_max_s: f64,
    /// Idle life of a hybrid session: without progress and without a person, in seconds.
    pub hybrid_idle_s: f64,
    /// Longest life of a hybrid session, in seconds.
    pub hybrid_max_s: f64,
    /// How long a session with a lost member waits for another, in seconds, before it fails.
    pub recovery_s: f64,
    /// How long ended sessions stay to be looked at, in seconds.
    pub keep_ended_s: f64,
    /// Events kept of each session.
    pub events_kept: usize,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            parallel_envs: 4,
            max_simulators: 64,
            environment: "balance".to_owned(),
            create_wait_s: 30.0,
            load_limit_s: 60.0,
            manual_idle_s: 900.0,
            manual_max_s: 8.0 * 3600.0,
            training_idle_s: 1800.0,
            training_max_s: 7.0 * 86400.0,
            hybrid_idle_s: 1800.0,
            hybrid_max_s: 7.0 * 86400.0,
            recovery_s: 120.0,
            keep_ended_s: 7.0 * 86400.0,
            events_kept: 10_000,
        }
    }
}

/// The queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Whether a session that finds nothing free waits (`true`) or is refused.
    pub enabled: bool,
    /// Longest wait of a training or hybrid session, in seconds.
    pub timeout_s: f64,
    /// A waiting manual session that nobody asks about for so long is dropped, in seconds.
    pub abandon_s: f64,
    /// While the first has waited less, in seconds, smaller ones may pass it.
    pub patience_s: f64,
    /// A high session waiting longer than this stops a low one, in seconds; 0: never.
    pub preempt_after_s: f64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { enabled: true, timeout_s: 86400.0, abandon_s: 120.0, patience_s: 30.0, preempt_after_s: 10.0 }
    }
}

/// Instances' leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Leases {
    /// Time between heartbeats, in ms.
    pub interval_ms: u32,
    /// Silence after which an instance is lost, in ms.
    pub lease_ms: u32,
}

impl Default for Leases {
    fn default() -> Self {
        Self { interval_ms: 5000, lease_ms: 15000 }
    }
}

/// Driving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// The shared secret of control tokens (HS256); empty: one is made at the first start and kept in the data folder.
    #[serde(serialize_with = "show::secret")]
    pub secret: String,
    /// Who issues tokens.
    pub issuer: String,
    /// For whom.
    pub audience: String,
    /// Whether a control websocket without a token is let in from this machine.
    pub open_on_loopback: bool,
    /// The lease of a take-over that does not say, in ms.
    pub ttl_ms: u32,
    /// The longest lease, in ms.
    pub max_ttl_ms: u32,
    /// Most commands a second of one connection; more are dropped, the newest wins.
    pub max_commands_per_s: u32,
    /// Most control connections of a session.
    pub max_connections: u32,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            secret: String::new(),
            issuer: "https://nexus.mosia.app".to_owned(),
            audience: "neuro".to_owned(),
            open_on_loopback: false,
            ttl_ms: 10_000,
            max_ttl_ms: 300_000,
            max_commands_per_s: 200,
            max_connections: 32,
        }
    }
}

/// Where snapshots, checkpoints and demonstrations go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Root of snapshots; empty: `snapshots` in the data folder. Paths of requests never lead out of it.
    pub snapshots: PathBuf,
    /// Root of checkpoints; empty: `checkpoints` in the data folder.
    pub checkpoints: PathBuf,
    /// Root of demonstrations; empty: `demonstrations` in the data folder.
    pub demonstrations: PathBuf,
}

/// What `GetOmniverseConnectionInfo` answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Omniverse {
    /// `omniverse://host`.
    pub nucleus_url: String,
    /// Its HTTP proxy.
    pub http_proxy_url: String,
    /// Folder of sessions; `{session}` is replaced.
    pub session_path: String,
    /// Folder of snapshots; `{session}` is replaced.
    pub snapshot_path: String,
    /// The token clients get.
    #[serde(serialize_with = "show::secret")]
    pub access_token: String,
    /// How long they may use it, in seconds; 0 for no end.
    pub token_life_s: u64,
}

/// Events for others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// `redis://host:port`: publish to the streams `events:session` and `events:training`. Empty: do not.
    #[serde(serialize_with = "show::secret")]
    pub redis_url: String,
}

/// Who may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Keys and what they open. None: everybody may, which is refused on an address other than loopback unless `open`.
    pub key: Vec<ApiKey>,
    /// Let everybody in, on every address.
    pub open: bool,
    /// Server certificate, PEM.
    pub tls_cert: PathBuf,
    /// Its key, PEM.
    pub tls_key: PathBuf,
    /// Clients must show a certificate signed by this one, PEM.
    pub tls_client_ca: PathBuf,
}

/// A key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKey {
    /// Whose sessions it makes.
    pub owner: String,
    /// The key itself: `authorization: Bearer KEY` or `x-api-key: KEY`.
    #[serde(serialize_with = "show::secret")]
    pub key: String,
    /// `user`: own sessions; `instance`: attach; `admin`: everything.
    pub role: String,
}

/// Limits of an owner; 0 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaSettings {
    /// Sessions at once.
    pub max_sessions: u32,
    /// Simulators at once.
    pub max_simulators: u32,
    /// Trainers' GPUs at once.
    pub max_training_gpus: u32,
    /// GPU hours a month.
    pub gpu_hours_per_month: f64,
    /// Share; 0 is 1.
    pub weight: u32,
}

/// Where instances come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// `simulator` or `trainer`.
    pub role: String,
    /// `process`, `static`, `agent`, `slurm` or `ray`. Instances that attach on their own may name any pool.
    pub backend: String,
    /// Idle ones kept ready.
    pub warm: u32,
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// Idle ones beyond `warm` are stopped after so long, in seconds.
    pub shrink_after_s: f64,
    /// Sessions that share one GPU.
    pub slots_per_gpu: u32,
    /// Labels its instances get besides their own.
    pub labels: BTreeMap<String, String>,
    /// `process`, `slurm`, `ray`: the program and its arguments; empty: `neuro simulate` or `neuro trainer` of this binary.
    /// `{id}`, `{name}`, `{pool}`, `{orchestrator}` (`http://host:port` of the gRPC listener), `{signalling}` (a
    /// simulator's end of the WebRTC relay) and `{data}` are replaced.
    pub command: Vec<String>,
    /// Its environment, added.
    #[serde(serialize_with = "show::secrets")]
    pub env: BTreeMap<String, String>,
    /// How long an instance may take to attach, in seconds.
    pub start_limit_s: f64,
    /// `static`: URLs of instances that are polled.
    pub instances: Vec<String>,
    /// `slurm`: URL of slurmrestd. `ray`: URL of the dashboard.
    pub url: String,
    /// `slurm`: API version, `v0.0.38`.
    pub api: String,
    /// `slurm`: user.
    pub user: String,
    /// `slurm`: file with the token; read again for every call.
    pub token_file: PathBuf,
    /// `slurm`: partition.
    pub partition: String,
    /// `slurm`: `gres` an instance needs (`sim:1`). `ray`: resources, `{"sim": 1}` as JSON.
    pub resources: String,
    /// `agent`: where containers run, and as what.
    pub agent: AgentPool,
}

/// Containers on nodes that have a node agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentPool {
    /// `http://host:50052` or `https://...` of each node; one that has fewer of the pool's instances is taken first.
    pub urls: Vec<String>,
    /// A name in the image store of every node.
    pub image: String,
    /// Cores of an instance; 0 is the agent's default.
    pub cpu_cores: u32,
    /// MiB of an instance; 0 is no limit.
    pub memory_mb: u64,
    /// `NAME:/PATH` or `NAME:/PATH:ro`: volumes of the node.
    pub volumes: Vec<String>,
    /// Annotations: `hypervisor.io/gpu-count`, ... Without `hypervisor.io/network` it is `host`.
    pub annotations: BTreeMap<String, String>,
    /// File with the key that the agents ask for; read again for every call.
    pub key_file: PathBuf,
    /// `https`: PEM of the authority of the agents' certificates.
    pub tls_ca: PathBuf,
    /// `https`: PEM that is shown to agents.
    pub tls_cert: PathBuf,
    /// `https`: its key.
    pub tls_key: PathBuf,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            name: String::new(),
            role: String::new(),
            backend: "process".to_owned(),
            warm: 0,
            min: 0,
            max: 8,
            shrink_after_s: 300.0,
            slots_per_gpu: 1,
            labels: BTreeMap::new(),
            command: Vec::new(),
            env: BTreeMap::new(),
            start_limit_s: 60.0,
            instances: Vec::new(),
            url: String::new(),
            api: "v0.0.38".to_owned(),
            user: String::new(),
            token_file: PathBuf::new(),
            partition: String::new(),
            resources: String::new(),
            agent: AgentPool::default(),
        }
    }
}

/// A volume of [`AgentPool::volumes`]: its name, where it is mounted, whether it is read-only.
#[must_use]
pub fn volume(text: &str) -> Option<(&str, &str, bool)> {
    let (name, rest) = text.split_once(':')?;
    let (path, read_only) = match rest.strip_suffix(":ro") {
        Some(path) => (path, true),
        None => (rest, false),
    };
    (!name.is_empty() && path.starts_with('/') && !path.contains(':')).then_some((name, path, read_only))
}
