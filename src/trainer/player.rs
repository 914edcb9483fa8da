//! One environment as the run sees it: what it shows, what it was told, how its episode goes.

use std::time::Duration;

use super::policy::Choice;
use super::rollout::Chain;
use crate::instance::step::Stepped;

/// Who answers later than that is not waited for.
pub(super) const BRISK: Duration = Duration::from_millis(100);

/// An episode that ended, or was ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Episode {
    /// Of all its steps.
    pub reward: f64,
    /// Its goal was reached.
    pub success: bool,
}

/// One environment.
#[derive(Debug)]
pub(super) struct Player {
    /// What it shows; absent while a call is under way.
    pub observation: Option<Vec<f64>>,
    /// The step under way: what was shown, and the choice.
    pub pending: Option<(Vec<f64>, Choice)>,
    /// Its steps since the last update.
    pub chain: Chain,
    /// It answers quickly enough for others to wait for it.
    pub brisk: bool,
    /// A person drives it: its steps say nothing about the policy, and it keeps its own time.
    pub by_hand: bool,
    /// It does not answer.
    pub away: bool,
    /// The last reason for that, said once.
    pub problem: String,
    reward: f64,
    steps: u32,
    touched: bool,
}

/// What a step came to.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// It is part of the rollout.
    pub learnt: bool,
    /// The environment must begin anew.
    pub over: bool,
    /// Of an episode that the policy alone played.
    pub episode: Option<Episode>,
}

impl Player {
    pub(super) fn new() -> Self {
        Self {
            observation: None,
            pending: None,
            chain: Chain::default(),
            brisk: false,
            by_hand: false,
            away: true,
            problem: String::new(),
            reward: 0.0,
            steps: 0,
            touched: false,
        }
    }

    /// Whether its steps are learnt from now.
    pub(super) fn plays(&self) -> bool {
        !self.away && !self.by_hand
    }

    /// Whether the others wait for it now.
    pub(super) fn is_awaited(&self) -> bool {
        self.brisk && self.plays() && self.observation.is_none()
    }

    /// An episode begins.
    pub(super) fn begin(&mut self, observation: Vec<f64>, took: Duration) {
        (self.reward, self.steps, self.touched) = (0.0, 0, self.by_hand);
        (self.away, self.pending) = (false, None);
        self.problem.clear();
        self.brisk = took < BRISK;
        self.observation = Some(observation);
    }

    /// It does not answer, or nothing usable.
    pub(super) fn leave(&mut self, problem: &str, endpoint: &str) {
        self.abandon();
        (self.away, self.by_hand, self.observation) = (true, false, None);
        if self.problem != problem {
            tracing::warn!(endpoint, "an environment is left out until it answers again: {problem}");
            self.problem = problem.to_owned();
        }
    }

    /// The step under way will not be answered; the chain ends before it.
    pub(super) fn abandon(&mut self) {
        if let Some((_, choice)) = self.pending.take() {
            self.chain.cut(choice.value);
        }
    }

    /// A step was done; `worth` values a state that a time limit, not the task, made the last one.
    pub(super) fn stepped(
        &mut self,
        stepped: Stepped,
        took: Duration,
        longest: u32,
        worth: impl FnOnce(&[f64]) -> f64,
    ) -> Done {
        let Some((shown, choice)) = self.pending.take() else { return Done::default() };
        let Stepped { observation, reward, done, info, .. } = stepped;
        (self.by_hand, self.brisk) = (info.by_hand(), took < BRISK);
        self.touched |= self.by_hand;
        self.reward += reward;
        self.steps = self.steps.saturating_add(1);
        let over = done || (longest > 0 && self.steps >= longest);
        if self.by_hand {
            self.chain.cut(choice.value);
        } else {
            let ended_by_task = done && (info.terminated || !info.truncated);
            let cut = over.then(|| if ended_by_task { 0.0 } else { worth(&observation) });
            self.chain.push(&shown, &choice, reward, cut);
        }
        let episode =
            (over && !self.touched).then_some(Episode { reward: self.reward, success: info.success });
        self.observation = (!over).then_some(observation);
        Done { learnt: !self.by_hand, over, episode }
    }
}
