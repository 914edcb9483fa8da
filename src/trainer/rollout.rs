//! What happened between two updates, environment by environment, and how good it was.

use super::loss::Batch;
use super::policy::Choice;

/// One environment's steps in order.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    observations: Vec<f64>,
    actions: Vec<f64>,
    log_probs: Vec<f64>,
    values: Vec<f64>,
    rewards: Vec<f64>,
    /// Where the chain is cut behind a step: what the state after it is worth (nothing after a task's end).
    cuts: Vec<Option<f64>>,
}

impl Chain {
    /// Steps in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// Adds a step: what was seen, chosen and got.
    pub fn push(&mut self, observation: &[f64], choice: &Choice, reward: f64, cut: Option<f64>) {
        self.observations.extend_from_slice(observation);
        self.actions.extend_from_slice(&choice.action);
        self.log_probs.push(choice.log_prob);
        self.values.push(choice.value);
        self.rewards.push(reward);
        self.cuts.push(cut);
    }

    /// Cuts it behind its last step, if it is not: the next step does not follow from that one.
    pub fn cut(&mut self, value_after: f64) {
        if let Some(last) = self.cuts.last_mut() {
            last.get_or_insert(value_after);
        }
    }

    /// Moves its steps into a batch with their advantages (generalised advantage estimation, Schulman and others, 2015). It
    /// must have been cut behind its last step.
    pub fn drain_into(&mut self, batch: &mut Batch, gamma: f64, lambda: f64) {
        let from = batch.advantages.len();
        batch.advantages.resize(from + self.len(), 0.0);
        let (mut advantage, mut value_after) = (0.0, 0.0);
        for index in (0..self.len()).rev() {
            if let Some(value) = self.cuts[index] {
                (advantage, value_after) = (0.0, value);
            }
            let surprise = self.rewards[index] + gamma * value_after - self.values[index];
            advantage = surprise + gamma * lambda * advantage;
            value_after = self.values[index];
            batch.advantages[from + index] = advantage;
        }
        batch.returns.extend(
            batch.advantages[from..].iter().zip(&self.values).map(|(advantage, value)| advantage + value),
        );
        batch.observations.append(&mut self.observations);
        batch.actions.append(&mut self.actions);
        batch.log_probs.append(&mut self.log_probs);
        self.values.clear();
        self.rewards.clear();
        self.cuts.clear();
    }
}

impl Batch {
    /// Copies some rows into another batch.
    pub fn pick(&self, rows: &[usize], observation: usize, action: usize, into: &mut Self) {
        let Self { observations, actions, log_probs, advantages, returns } = into;
        observations.clear();
        actions.clear();
        log_probs.clear();
        advantages.clear();
        returns.clear();
        for row in rows {
            observations.extend_from_slice(&self.observations[row * observation..][..observation]);
            actions.extend_from_slice(&self.actions[row * action..][..action]);
            log_probs.push(self.log_probs[*row]);
            advantages.push(self.advantages[*row]);
            returns.push(self.returns[*row]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(steps: &[(f64, f64, Option<f64>)]) -> Batch {
        let mut chain = Chain::default();
        for (at, (reward, value, cut)) in steps.iter().enumerate() {
            let choice = Choice { action: vec![1.0], sent: vec![1.0], log_prob: -0.5, value: *value };
            chain.push(&[at as f64], &choice, *reward, *cut);
        }
        let mut batch = Batch::default();
        chain.drain_into(&mut batch, 0.9, 0.8);
        assert_eq!(chain.len(), 0);
        batch
    }

    #[test]
    fn advantages_are_sums_of_discounted_surprises() {
        let batch = chain(&[(1.0, 2.0, None), (1.0, 3.0, Some(5.0))]);
        let last = 1.0 + 0.9 * 5.0 - 3.0;
        let first = 1.0 + 0.9 * 3.0 - 2.0 + 0.9 * 0.8 * last;
        assert!((batch.advantages[1] - last).abs() < 1e-12 && (batch.advantages[0] - first).abs() < 1e-12);
        assert!((batch.returns[0] - (first + 2.0)).abs() < 1e-12);
    }

    #[test]
    fn nothing_behind_a_cut_counts_before_it() {
        let ended = chain(&[(1.0, 2.0, Some(0.0)), (100.0, 3.0, Some(50.0))]);
        assert!((ended.advantages[0] - (1.0 - 2.0)).abs() < 1e-12);
    }

    #[test]
    fn a_cut_that_is_there_stays_what_it_was() {
        let mut chain = Chain::default();
        chain.cut(9.0);
        let choice = Choice { action: vec![0.0], sent: vec![0.0], log_prob: 0.0, value: 0.0 };
        chain.push(&[0.0], &choice, 1.0, Some(0.0));
        chain.cut(9.0);
        let mut batch = Batch::default();
        chain.drain_into(&mut batch, 1.0, 1.0);
        assert_eq!(batch.returns, [1.0]);
    }
}
