//! What a run says of itself.

use std::collections::HashMap;
use std::time::Instant;

use super::checkpoint::Counters;
use super::loss::Losses;
use super::player::Episode;

/// Episodes that the average is over.
pub(super) const RECENT: usize = 20;
/// Episodes that are remembered, and that the success rate is over.
const REMEMBERED: usize = 100;

impl Counters {
    pub(super) fn count(&mut self, episode: Episode, target: Option<f64>) {
        self.episodes += 1;
        self.rewards.push(episode.reward);
        self.successes.push(episode.success || target.is_some_and(|target| episode.reward >= target));
        let surplus = self.rewards.len().saturating_sub(REMEMBERED);
        self.rewards.drain(..surplus);
        let surplus = self.successes.len().saturating_sub(REMEMBERED);
        self.successes.drain(..surplus);
    }

    /// Over the last 20 episodes; 0 before the first.
    #[must_use]
    pub fn average_reward(&self) -> f64 {
        let recent = &self.rewards[self.rewards.len().saturating_sub(RECENT)..];
        recent.iter().sum::<f64>() / recent.len().max(1) as f64
    }

    /// Share of the last 100 episodes that reached their goal.
    #[must_use]
    pub fn success_rate(&self) -> f64 {
        self.successes.iter().filter(|success| **success).count() as f64 / self.successes.len().max(1) as f64
    }
}

/// Figures of the time since the last report.
#[derive(Debug)]
pub(super) struct Figures {
    began: Instant,
    steps_before: u64,
    took_us: Vec<f64>,
    /// The last update's.
    pub losses: Losses,
    /// Of it.
    pub learning_rate: f64,
    /// Of the demonstrations in it.
    pub imitation: f64,
    /// It took.
    pub update_ms: f64,
}

impl Figures {
    pub(super) fn new(steps: u64) -> Self {
        Self {
            began: Instant::now(),
            steps_before: steps,
            took_us: Vec::new(),
            losses: Losses::default(),
            learning_rate: 0.0,
            imitation: 0.0,
            update_ms: 0.0,
        }
    }

    pub(super) fn took(&mut self, took: std::time::Duration) {
        self.took_us.push(took.as_secs_f64() * 1e6);
    }

    /// Since the run began or was taken up again.
    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Since then.
    pub(super) fn steps_per_second(&self, steps: u64) -> f64 {
        steps.saturating_sub(self.steps_before) as f64 / self.seconds().max(1e-9)
    }

    /// By name, as a progress message carries them; round trips are forgotten.
    pub(super) fn metrics(&mut self, counters: &Counters) -> HashMap<String, f64> {
        self.took_us.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            let at = (self.took_us.len().saturating_sub(1) as f64 * share).round() as usize;
            self.took_us.get(at).copied().unwrap_or(0.0)
        };
        let named = [
            ("rtt_us_p50", rank(0.5)),
            ("rtt_us_p99", rank(0.99)),
            ("update", counters.updates as f64),
            ("update_ms", self.update_ms),
            ("learning_rate", self.learning_rate),
            ("success_rate", counters.success_rate()),
            ("divergence", self.losses.divergence),
            ("clipped", self.losses.clipped),
            ("imitation_weight", self.imitation),
            ("imitation_loss", self.losses.imitation),
        ];
        let metrics = named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.took_us.clear();
        metrics
    }
}
