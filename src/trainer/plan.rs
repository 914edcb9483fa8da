//! What a training run is asked to do, checked before anything begins.

use std::path::PathBuf;

use prost::Message;

use super::checkpoint::{Checkpoint, local_path};
use super::error::TrainerError;
use super::hyper::Hyper;
use crate::instance::step::StepClient;
use crate::proto::neuro::ext;
use crate::proto::neuro::orchestrator::GrpcTrainingConfig;
use crate::proto::neuro::orchestrator::grpc_training_config::Algorithm;

/// Of a run that says neither episodes nor steps.
const USUAL_EPISODES: u64 = 1_000;
const MOST_ENVIRONMENTS: usize = 256;

/// A run.
#[derive(Debug)]
pub struct Plan {
    /// How to train.
    pub hyper: Hyper,
    /// Episodes of all environments together, after which training ends; 0 for no limit.
    pub total_episodes: u64,
    /// reset/step sockets, `tcp://HOST:PORT`.
    pub endpoints: Vec<String>,
    /// What to go on from.
    pub resume: Option<Checkpoint>,
    /// Where checkpoints are kept.
    pub checkpoints: Option<PathBuf>,
    /// Folders of demonstrations.
    pub demonstrations: Vec<String>,
}

impl Plan {
    /// Reads an order; also the checkpoint that it names.
    ///
    /// # Errors
    /// Naming what is wrong: the algorithm, a hyperparameter, an endpoint, the checkpoint.
    pub fn of(train: &ext::Train) -> Result<Self, TrainerError> {
        let config = GrpcTrainingConfig::decode(train.training_config.as_slice())
            .map_err(|error| TrainerError::Order(format!("training_config cannot be decoded: {error}")))?;
        match Algorithm::try_from(config.algorithm) {
            Ok(Algorithm::Ppo) => {}
            Ok(other) => {
                let name = other.as_str_name();
                return Err(TrainerError::Order(format!(
                    "algorithm {name} is not built in; this trainer trains with PPO"
                )));
            }
            Err(_) => return Err(TrainerError::Order(format!("algorithm {} is none", config.algorithm))),
        }
        let given = config.hyperparameters.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let total_episodes = u64::try_from(config.total_episodes).map_err(|_| {
            TrainerError::Order(format!("total_episodes is {}; expected 0 or more", config.total_episodes))
        })?;
        let checkpoints = match train.checkpoint_uri.as_str() {
            "" => None,
            uri => Some(local_path(uri)?),
        };
        Self {
            hyper: Hyper::read(given)?,
            total_episodes,
            endpoints: train.zmq_endpoints.clone(),
            resume: resume(&train.restore_from)?,
            checkpoints,
            demonstrations: train.demonstrations.clone(),
        }
        .checked()
    }

    /// The plan, if it can be carried out; without any limit it gets the usual one.
    ///
    /// # Errors
    /// When there are no environments, too many, or an endpoint is malformed.
    pub fn checked(mut self) -> Result<Self, TrainerError> {
        if self.endpoints.is_empty() || self.endpoints.len() > MOST_ENVIRONMENTS {
            let count = self.endpoints.len();
            return Err(TrainerError::Order(format!(
                "{count} environments; expected 1 to {MOST_ENVIRONMENTS}"
            )));
        }
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            StepClient::new(endpoint).map_err(|source| TrainerError::Endpoint { index, source })?;
        }
        if self.total_episodes == 0 && self.hyper.total_steps == 0 {
            self.total_episodes = USUAL_EPISODES;
        }
        Ok(self)
    }
}

/// Reads the checkpoint to go on from: a file, or the newest of a folder. An empty folder, or one that is not there yet, is
/// a beginning; a file must be there.
///
/// # Errors
/// When it cannot be read.
pub fn resume(uri: &str) -> Result<Option<Checkpoint>, TrainerError> {
    match uri {
        "" => Ok(None),
        uri => Checkpoint::find(&local_path(uri)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train(config: &GrpcTrainingConfig) -> ext::Train {
        ext::Train {
            training_config: config.encode_to_vec(),
            zmq_endpoints: vec!["tcp://127.0.0.1:5555".to_owned()],
            ..Default::default()
        }
    }

    fn refusal(train: &ext::Train) -> String {
        Plan::of(train).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_configuration_is_the_usual_ppo() {
        let plan = Plan::of(&train(&GrpcTrainingConfig::default())).unwrap();
        assert_eq!((plan.hyper, plan.total_episodes), (Hyper::default(), USUAL_EPISODES));
    }

    #[test]
    fn an_order_that_cannot_be_carried_out_is_refused_with_a_sentence() {
        let sac = GrpcTrainingConfig { algorithm: Algorithm::Sac.into(), ..Default::default() };
        assert_eq!(refusal(&train(&sac)), "algorithm SAC is not built in; this trainer trains with PPO");
        let mut odd = GrpcTrainingConfig::default();
        odd.hyperparameters.insert("momentum".to_owned(), "1".to_owned());
        assert!(refusal(&train(&odd)).contains("\"momentum\" is not known"));
        let less = GrpcTrainingConfig { total_episodes: -1, ..Default::default() };
        assert!(refusal(&train(&less)).contains("total_episodes is -1"));
        let good = train(&GrpcTrainingConfig::default());
        assert!(refusal(&ext::Train { zmq_endpoints: vec![], ..good.clone() }).contains("0 environments"));
        let wrong = vec!["tcp://a:1".to_owned(), "b".to_owned()];
        assert!(refusal(&ext::Train { zmq_endpoints: wrong, ..good.clone() }).starts_with("environment 1: "));
        assert!(
            refusal(&ext::Train { training_config: vec![255], ..good.clone() }).contains("cannot be decoded")
        );
        assert!(
            refusal(&ext::Train { restore_from: "s3://bucket".to_owned(), ..good }).contains("s3://bucket")
        );
    }
}
