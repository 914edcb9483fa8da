//! The agent: a net that chooses actions and one that values states.
//!
//! A discrete space gets a softmax over its actions; a continuous one a diagonal Gaussian, whose actions are in units of the
//! space: -1 is `low`, 1 is `high`.

use std::f64::consts::{LN_2, PI};

use super::network::{Mlp, Tensor, Trace};
use super::random::Random;
use crate::instance::step::ActionSpace;

/// Gain of the first weights of the last layers: actions begin almost even, values at the scale of the features.
const POLICY_GAIN: f64 = 0.01;
const VALUE_GAIN: f64 = 1.0;
const FIRST_LOG_STD: f64 = -0.5;
const LOG_STD_RANGE: std::ops::RangeInclusive<f64> = -5.0..=2.0;

/// What the agent is made for.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Numbers in an observation.
    pub observation: usize,
    /// What an action is.
    pub action: ActionSpace,
    /// Widths of the hidden layers, of both nets.
    pub hidden: Vec<usize>,
}

/// An action drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// As the nets see it: an index, or units.
    pub action: Vec<f64>,
    /// As the simulator gets it.
    pub sent: Vec<f64>,
    /// Of drawing it.
    pub log_prob: f64,
    /// What the state is worth.
    pub value: f64,
}

/// Both nets and their parameters.
#[derive(Debug, Clone)]
pub struct Agent {
    /// What it is made for.
    pub shape: Shape,
    /// All of them, policy first.
    pub parameters: Vec<f64>,
    /// Their names and places.
    pub tensors: Vec<Tensor>,
    pub(super) policy: Mlp,
    pub(super) value: Mlp,
    log_std_at: usize,
}

impl Agent {
    /// A fresh one.
    #[must_use]
    pub fn new(shape: Shape, random: &mut Random) -> Self {
        let mut tensors = Vec::new();
        let widths = |last: usize| -> Vec<usize> {
            std::iter::once(shape.observation)
                .chain(shape.hidden.iter().copied())
                .chain(std::iter::once(last))
                .collect()
        };
        let outputs = outputs(&shape.action);
        let policy = Mlp::new("policy", &widths(outputs), &mut tensors);
        let value = Mlp::new("value", &widths(1), &mut tensors);
        let log_std_at = tensors.last().map_or(0, |tensor| tensor.at.end);
        if matches!(shape.action, ActionSpace::Continuous { .. }) {
            let at = log_std_at..log_std_at + outputs;
            tensors.push(Tensor { name: "policy.log_std".to_owned(), shape: vec![outputs], at });
        }
        let count = tensors.last().map_or(0, |tensor| tensor.at.end);
        let mut parameters = vec![0.0; count];
        policy.begin(&mut parameters, POLICY_GAIN, random);
        value.begin(&mut parameters, VALUE_GAIN, random);
        parameters[log_std_at..].fill(FIRST_LOG_STD);
        Self { shape, parameters, tensors, policy, value, log_std_at }
    }

    /// Outputs of the policy net.
    #[must_use]
    pub fn outputs(&self) -> usize {
        outputs(&self.shape.action)
    }

    /// Numbers in an action as the nets see it.
    #[must_use]
    pub fn action_size(&self) -> usize {
        match self.shape.action {
            ActionSpace::Discrete { .. } => 1,
            ActionSpace::Continuous { continuous, .. } => continuous,
        }
    }

    /// Draws an action for each row of observations.
    pub fn act(&self, observations: &[f64], traces: &mut [Trace; 2], random: &mut Random) -> Vec<Choice> {
        let [policy, value] = traces;
        self.policy.forward(&self.parameters, observations, policy);
        self.value.forward(&self.parameters, observations, value);
        let rows = policy.output().chunks_exact(self.outputs()).zip(value.output());
        rows.map(|(output, value)| {
            let action = self.draw(output, random);
            let log_prob = self.log_prob(output, &action);
            Choice { sent: self.sent(&action), action, log_prob, value: *value }
        })
        .collect()
    }

    /// What each row of observations is worth.
    pub fn values(&self, observations: &[f64], trace: &mut Trace) -> Vec<f64> {
        self.value.forward(&self.parameters, observations, trace);
        trace.output().to_vec()
    }

    fn draw(&self, output: &[f64], random: &mut Random) -> Vec<f64> {
        match self.shape.action {
            ActionSpace::Discrete { .. } => {
                let top = most(output);
                let total: f64 = output.iter().map(|logit| (logit - top).exp()).sum();
                let mut left = random.uniform() * total;
                let drawn = output.iter().position(|logit| {
                    left -= (logit - top).exp();
                    left < 0.0
                });
                vec![drawn.unwrap_or(output.len().saturating_sub(1)) as f64]
            }
            ActionSpace::Continuous { .. } => output
                .iter()
                .zip(self.log_std())
                .map(|(mean, log_std)| mean + log_std.exp() * random.normal())
                .collect(),
        }
    }

    /// Logarithm of the probability (or density) of an action.
    #[must_use]
    pub fn log_prob(&self, output: &[f64], action: &[f64]) -> f64 {
        match self.shape.action {
            ActionSpace::Discrete { .. } => {
                let top = most(output);
                let total: f64 = output.iter().map(|logit| (logit - top).exp()).sum();
                let chosen = action.first().map_or(0, |index| *index as usize);
                output.get(chosen).map_or(f64::NEG_INFINITY, |logit| logit - top - total.ln())
            }
            ActionSpace::Continuous { .. } => {
                let each = output.iter().zip(action).zip(self.log_std());
                each.map(|((mean, action), log_std)| {
                    let units = (action - mean) / log_std.exp();
                    -0.5 * units * units - log_std - 0.5 * (LN_2 + PI.ln())
                })
                .sum()
            }
        }
    }

    /// Entropy of the distribution.
    #[must_use]
    pub fn entropy(&self, output: &[f64]) -> f64 {
        match self.shape.action {
            ActionSpace::Discrete { .. } => {
                let top = most(output);
                let total: f64 = output.iter().map(|logit| (logit - top).exp()).sum();
                -output.iter().map(|logit| logit - top - total.ln()).map(|log| log.exp() * log).sum::<f64>()
            }
            ActionSpace::Continuous { .. } => {
                self.log_std().iter().map(|log_std| log_std + 0.5 * (1.0 + LN_2 + PI.ln())).sum()
            }
        }
    }

    /// Adds `slope` times the gradient of the log-probability, and `entropy_slope` times that of the entropy: by the
    /// outputs into `delta`, by the log standard deviations into `gradient`.
    pub(super) fn slopes(
        &self,
        output: &[f64],
        action: &[f64],
        slope: f64,
        entropy_slope: f64,
        delta: &mut [f64],
        gradient: &mut [f64],
    ) {
        match self.shape.action {
            ActionSpace::Discrete { .. } => {
                let top = most(output);
                let total: f64 = output.iter().map(|logit| (logit - top).exp()).sum();
                let entropy = self.entropy(output);
                let chosen = action.first().map_or(0, |index| *index as usize);
                for (index, (logit, delta)) in output.iter().zip(delta).enumerate() {
                    let log = logit - top - total.ln();
                    let hit = if index == chosen { 1.0 } else { 0.0 };
                    *delta += slope * (hit - log.exp()) - entropy_slope * log.exp() * (log + entropy);
                }
            }
            ActionSpace::Continuous { .. } => {
                let by_log_std = &mut gradient[self.log_std_at..];
                let each =
                    output.iter().zip(action).zip(self.log_std()).zip(delta.iter_mut().zip(by_log_std));
                for (((mean, action), log_std), (delta, by_log_std)) in each {
                    let std = log_std.exp();
                    let units = (action - mean) / std;
                    *delta += slope * units / std;
                    *by_log_std += slope * (units * units - 1.0) + entropy_slope;
                }
            }
        }
    }

    /// After a step of the optimiser: keeps deviations where the mathematics stays finite.
    pub(super) fn settle(&mut self) {
        for log_std in &mut self.parameters[self.log_std_at..] {
            *log_std = log_std.clamp(*LOG_STD_RANGE.start(), *LOG_STD_RANGE.end());
        }
    }

    /// An action in the simulator's terms.
    #[must_use]
    pub fn sent(&self, action: &[f64]) -> Vec<f64> {
        match self.shape.action {
            ActionSpace::Discrete { .. } => action.to_vec(),
            ActionSpace::Continuous { low, high, .. } => {
                action.iter().map(|unit| low + (unit.clamp(-1.0, 1.0) + 1.0) / 2.0 * (high - low)).collect()
            }
        }
    }

    /// The inverse of [`Self::sent`], for actions that somebody else chose; `None` for one that the space does not have.
    #[must_use]
    pub fn units(&self, sent: &[f64]) -> Option<Vec<f64>> {
        match self.shape.action {
            ActionSpace::Discrete { discrete } => {
                let [index] = sent else { return None };
                let whole = index.fract() == 0.0 && (0.0..discrete as f64).contains(index);
                whole.then(|| vec![*index])
            }
            ActionSpace::Continuous { continuous, low, high } => {
                let fits = sent.len() == continuous && sent.iter().all(|number| number.is_finite());
                fits.then(|| {
                    sent.iter()
                        .map(|number| ((number - low) / (high - low) * 2.0 - 1.0).clamp(-1.0, 1.0))
                        .collect()
                })
            }
        }
    }

    fn log_std(&self) -> &[f64] {
        &self.parameters[self.log_std_at..]
    }
}

fn outputs(action: &ActionSpace) -> usize {
    match *action {
        ActionSpace::Discrete { discrete } => discrete,
        ActionSpace::Continuous { continuous, .. } => continuous,
    }
}

fn most(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}
