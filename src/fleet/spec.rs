//! What a session asks for, with defaults filled in. Stored as it is, so that a restart starts it again the same way.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

use crate::proto::neuro::common::{GrpcSceneConfig, GrpcStreamConfig};
use crate::proto::neuro::orchestrator::GrpcTrainingConfig;

/// Who drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// One simulator, a person.
    Manual,
    /// One trainer and its simulators.
    Training,
    /// Training, with a person taking over.
    Hybrid,
}

impl Mode {
    /// `manual`, `training`, `hybrid`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Training => "training",
            Self::Hybrid => "hybrid",
        }
    }

    /// Whether a trainer belongs to it.
    #[must_use]
    pub const fn trains(self) -> bool {
        matches!(self, Self::Training | Self::Hybrid)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// What may be taken from whom: a higher one waits less, and a lower one is stopped for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// May be preempted.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Goes first.
    High,
}

/// Labels that an instance must carry, all of them; an empty value asks only that the label is there.
pub type Requirements = BTreeMap<String, String>;

/// How many of each kind are granted together, or none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Gang {
    /// Trainers: 0 or 1.
    pub trainers: u32,
    /// Simulators, at least 1.
    pub simulators: u32,
    /// GPUs that the trainer must have.
    pub training_gpus: u32,
    /// Memory that the trainer must have, in MiB.
    pub training_memory_mb: u64,
}

/// What a session runs. Written to the store as a protobuf message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SessionSpec {
    /// The scene each simulator loads.
    #[prost(message, required, tag = "1")]
    pub scene: GrpcSceneConfig,
    /// The picture of the stream endpoint.
    #[prost(message, required, tag = "2")]
    pub stream: GrpcStreamConfig,
    /// What is trained, in modes that train.
    #[prost(message, optional, tag = "3")]
    pub training: Option<GrpcTrainingConfig>,
    /// GPUs for the trainer.
    #[prost(uint32, tag = "4")]
    pub training_gpus: u32,
    /// Memory for the trainer, in GiB.
    #[prost(uint32, tag = "5")]
    pub training_memory_gb: u32,
    /// Simulators of the gang.
    #[prost(uint32, tag = "6")]
    pub simulators: u32,
    /// Whether takeovers are recorded as demonstrations for the trainer.
    #[prost(bool, tag = "7")]
    pub human_demo: bool,
    /// The controller that drives when nobody else does: empty for none, `local` for the policy in this process, or
    /// the URL of a policy server.
    #[prost(string, tag = "8")]
    pub policy: String,
    /// What the policy is told to do.
    #[prost(string, tag = "9")]
    pub instruction: String,
    /// Labels that simulators must carry.
    #[prost(btree_map = "string, string", tag = "10")]
    pub requires: Requirements,
}

impl SessionSpec {
    /// What is granted together for it.
    #[must_use]
    pub const fn gang(&self, mode: Mode) -> Gang {
        Gang {
            trainers: mode.trains() as u32,
            simulators: self.simulators,
            training_gpus: self.training_gpus,
            training_memory_mb: (self.training_memory_gb as u64) << 10,
        }
    }
}

/// A stable hash of a request, by which asking twice is told from asking for something else.
#[must_use]
pub fn request_hash(mode: Mode, owner: &str, spec: &SessionSpec) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(mode.name());
    hash.update([0]);
    hash.update(owner);
    hash.update([0]);
    // Maps inside are `HashMap`s of other messages: their order is not stable, so they are written sorted.
    let mut plain = spec.clone();
    let parameters = plain.training.as_mut().map(|training| std::mem::take(&mut training.hyperparameters));
    hash.update(prost::Message::encode_to_vec(&plain));
    for (key, value) in parameters.into_iter().flatten().collect::<BTreeMap<_, _>>() {
        hash.update(key);
        hash.update([0]);
        hash.update(value);
        hash.update([0]);
    }
    hash.finalize().into()
}
