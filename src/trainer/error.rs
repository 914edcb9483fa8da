//! What a training run can be refused for, or fail of.

use std::path::PathBuf;

use crate::instance::step::StepError;

/// Anything that a trainer says no with.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// A hyperparameter that is not known.
    #[error("hyperparameter {key:?} is not known; known are {known}")]
    UnknownKey {
        /// As given.
        key: String,
        /// All there are.
        known: String,
    },
    /// A hyperparameter whose value cannot be used.
    #[error("hyperparameter {key} = {value:?}: expected {expected}")]
    Value {
        /// Which.
        key: String,
        /// As given.
        value: String,
        /// What would do.
        expected: String,
    },
    /// Something else in the order.
    #[error("{0}")]
    Order(String),
    /// An environment's endpoint.
    #[error("environment {index}: {source}")]
    Endpoint {
        /// Which.
        index: usize,
        /// What is wrong with it.
        source: StepError,
    },
    /// No environment came.
    #[error("no environment answered for {seconds} s; the last problem: {problem}")]
    Alone {
        /// How long.
        seconds: u64,
        /// Of one of them.
        problem: String,
    },
    /// An environment that cannot be trained in.
    #[error("environment {endpoint}: {problem}")]
    Environment {
        /// Which.
        endpoint: String,
        /// Why not.
        problem: String,
    },
    /// Not a path on this machine.
    #[error("{uri:?} is not a file:// URI or a path")]
    Uri {
        /// As given.
        uri: String,
    },
    /// The disk's word.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A checkpoint that cannot be used.
    #[error("checkpoint {}: {problem}", path.display())]
    Checkpoint {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A demonstration that cannot be learnt from.
    #[error("demonstration {}: {problem}", path.display())]
    Demonstration {
        /// Which folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Numbers that are none any more.
    #[error("after {steps} steps the nets' parameters are not finite; a lower learning_rate may help")]
    Diverged {
        /// How far it came.
        steps: u64,
    },
    /// The training thread is gone.
    #[error("the training run is over")]
    Over,
}

impl TrainerError {
    /// With the path that the system had trouble with.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
