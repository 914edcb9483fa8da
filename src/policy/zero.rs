//! A network that computes nothing: asked for by name, to measure the server around it.

use super::backend::{Backend, BackendError, BackendInfo, Dtype, Inference, Input, StageTimes, check_input};
use super::config::ModelConfig;
use super::stats::ACTION_DIM;

/// Answers every input with a z-score of 0, the mean action of the statistics.
#[derive(Debug)]
pub struct ZeroBackend {
    config: ModelConfig,
    info: BackendInfo,
}

impl ZeroBackend {
    /// For the shapes of one config.
    #[must_use]
    pub fn new(config: &ModelConfig) -> Self {
        let info = BackendInfo {
            name: "zero",
            device: "cpu".into(),
            dtype: Dtype::F32,
            kernels: "none".into(),
            threads: 0,
            weight_bytes: 0,
            parameters_used: 0,
            max_batch: 64,
        };
        Self { config: config.clone(), info }
    }
}

impl Backend for ZeroBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn infer(&mut self, batch: &[Input]) -> Vec<Result<Inference, BackendError>> {
        let zero =
            Inference { action_norm: [0.0; ACTION_DIM], stages: StageTimes::default(), reused_tokens: 0 };
        batch.iter().map(|input| check_input(&self.config, input).map(|()| zero.clone())).collect()
    }
}
