//! Hyperparameters: texts by name in a training's configuration, checked one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::error::TrainerError;
use crate::instance::step::ActionSpace;

/// All of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyper {
    /// Of the first update; falls to 0 with what is left of the run.
    pub learning_rate: f64,
    /// Worth of the next step's reward against this one's.
    pub gamma: f64,
    /// λ of the advantage estimate.
    pub gae_lambda: f64,
    /// How far the probability ratio may leave 1.
    pub clip: f64,
    /// Steps of each environment between updates.
    pub horizon: usize,
    /// Passes over them.
    pub epochs: usize,
    /// Parts of each pass.
    pub minibatches: usize,
    /// Rows of a part; 0 for `minibatches` parts.
    pub batch_size: usize,
    /// Weight of the entropy.
    pub entropy: f64,
    /// Weight of the value error.
    pub value_coef: f64,
    /// Longest gradient.
    pub max_grad_norm: f64,
    /// Weight of a demonstration when it comes in.
    pub imitation: f64,
    /// What is left of that weight after an update; 1 for all of it, for ever.
    pub imitation_decay: f64,
    /// Whether observations are brought to mean 0 and deviation 1.
    pub normalise: bool,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Of everything random.
    pub seed: u64,
    /// Steps of all environments together, after which training ends; 0 for no limit.
    pub total_steps: u64,
    /// Average reward at which it ends.
    pub target_reward: Option<f64>,
    /// Steps after which the trainer itself ends an episode; 0 for never.
    pub max_steps: u32,
    /// Updates between checkpoints; 0 for none but the last.
    pub checkpoint_every: u64,
    /// How long an environment may take to answer.
    pub step_timeout: Duration,
    /// How long training goes on without any environment.
    pub away_limit: Duration,
    /// Of environments that do not tell.
    pub actions: Option<ActionSpace>,
    /// Names of those that somebody chose.
    pub given: BTreeSet<&'static str>,
}

impl Default for Hyper {
    fn default() -> Self {
        Self {
            learning_rate: 2.5e-3,
            gamma: 0.99,
            gae_lambda: 0.95,
            clip: 0.2,
            horizon: 128,
            epochs: 4,
            minibatches: 4,
            batch_size: 0,
            entropy: 0.01,
            value_coef: 0.5,
            max_grad_norm: 0.5,
            imitation: 0.5,
            imitation_decay: 0.95,
            normalise: false,
            hidden: vec![64, 64],
            seed: 1,
            total_steps: 0,
            target_reward: None,
            max_steps: 0,
            checkpoint_every: 10,
            step_timeout: Duration::from_secs(2),
            away_limit: Duration::from_mins(5),
            actions: None,
            given: BTreeSet::new(),
        }
    }
}

/// Name, other names for it, and how it is read.
type Entry = (&'static str, &'static [&'static str], fn(&mut Hyper, &str) -> Result<(), String>);

const ENTRIES: [Entry; 24] = [
    ("learning_rate", &["lr"], |h, t| real(t, 0.0, 1.0).map(|v| h.learning_rate = v)),
    ("gamma", &[], |h, t| real(t, 0.0, 1.0).map(|v| h.gamma = v)),
    ("gae_lambda", &[], |h, t| real(t, 0.0, 1.0).map(|v| h.gae_lambda = v)),
    ("clip", &["clip_range"], |h, t| real(t, 0.001, 1.0).map(|v| h.clip = v)),
    ("horizon", &["n_steps"], |h, t| whole(t, 1, 65_536).map(|v| h.horizon = v)),
    ("epochs", &["n_epochs"], |h, t| whole(t, 1, 1_000).map(|v| h.epochs = v)),
    ("minibatches", &[], |h, t| whole(t, 1, 4_096).map(|v| h.minibatches = v)),
    ("batch_size", &[], |h, t| whole(t, 0, 1 << 20).map(|v| h.batch_size = v)),
    ("entropy", &["ent_coef"], |h, t| real(t, 0.0, 10.0).map(|v| h.entropy = v)),
    ("value_coef", &["vf_coef"], |h, t| real(t, 0.0, 100.0).map(|v| h.value_coef = v)),
    ("max_grad_norm", &[], |h, t| real(t, 1e-6, 1e6).map(|v| h.max_grad_norm = v)),
    ("imitation", &[], |h, t| real(t, 0.0, 1_000.0).map(|v| h.imitation = v)),
    ("imitation_decay", &[], |h, t| real(t, 0.0, 1.0).map(|v| h.imitation_decay = v)),
    ("normalise", &["normalize"], |h, t| yes_or_no(t).map(|v| h.normalise = v)),
    ("hidden", &[], |h, t| hidden(t).map(|v| h.hidden = v)),
    ("seed", &[], |h, t| whole(t, 0, u64::MAX).map(|v| h.seed = v)),
    ("total_steps", &["total_timesteps"], |h, t| whole(t, 0, 1 << 60).map(|v| h.total_steps = v)),
    ("target_reward", &[], |h, t| real(t, f64::MIN, f64::MAX).map(|v| h.target_reward = Some(v))),
    ("max_steps", &[], |h, t| whole(t, 0, u32::MAX.into()).map(|v| h.max_steps = v)),
    ("checkpoint_every", &[], |h, t| whole(t, 0, 1 << 40).map(|v| h.checkpoint_every = v)),
    ("step_timeout_ms", &[], |h, t| whole(t, 1, 600_000).map(|v| h.step_timeout = Duration::from_millis(v))),
    ("away_limit_s", &[], |h, t| whole(t, 1, 1 << 32).map(|v| h.away_limit = Duration::from_secs(v))),
    ("actions", &[], |h, t| actions(t).map(|v| h.actions = Some(v))),
    ("algorithm", &[], |_, t| t.eq_ignore_ascii_case("ppo").then_some(()).ok_or_else(|| "PPO".to_owned())),
];

impl Hyper {
    /// Reads what is given; the rest keeps its default.
    ///
    /// # Errors
    /// Naming the first key that is unknown, or given twice under two names, or whose value cannot be used.
    pub fn read<'a>(given: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, TrainerError> {
        let mut hyper = Self::default();
        let mut seen = BTreeMap::new();
        for (key, value) in given {
            let entry = ENTRIES.iter().find(|(name, others, _)| *name == key || others.contains(&key));
            let Some((name, _, set)) = entry else {
                let known: Vec<&str> = ENTRIES.iter().map(|(name, _, _)| *name).collect();
                return Err(TrainerError::UnknownKey { key: shown(key), known: known.join(", ") });
            };
            let wrong =
                |expected: String| TrainerError::Value { key: shown(key), value: shown(value), expected };
            set(&mut hyper, value.trim()).map_err(wrong)?;
            if let Some(other) = seen.insert(name, key) {
                return Err(TrainerError::Order(format!(
                    "hyperparameters {other:?} and {key:?} say the same thing twice"
                )));
            }
        }
        hyper.given = seen.into_keys().copied().collect();
        Ok(hyper)
    }

    /// For a task with such actions: joints that turn want smaller and more steps, and no reward for noise. What
    /// somebody chose stays.
    #[must_use]
    pub fn suited_to(mut self, actions: &ActionSpace) -> Self {
        if matches!(actions, ActionSpace::Discrete { .. }) {
            return self;
        }
        let usual = self.clone();
        self = Self {
            learning_rate: 5e-4,
            horizon: 512,
            epochs: 10,
            batch_size: 64,
            entropy: 0.0,
            normalise: true,
            ..self
        };
        for name in usual.given.iter().copied() {
            match name {
                "learning_rate" => self.learning_rate = usual.learning_rate,
                "horizon" => self.horizon = usual.horizon,
                "epochs" => self.epochs = usual.epochs,
                "minibatches" | "batch_size" => self.batch_size = usual.batch_size,
                "entropy" => self.entropy = usual.entropy,
                "normalise" => self.normalise = usual.normalise,
                _ => {}
            }
        }
        self
    }
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

fn real(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number =
        text.parse::<f64>().ok().filter(|number| number.is_finite() && (least..=most).contains(number));
    number.ok_or_else(|| match (least, most) {
        (f64::MIN, f64::MAX) => "a finite number".to_owned(),
        _ => format!("a number from {least} to {most}"),
    })
}

fn whole<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<T, String> {
    let number = text.parse::<u64>().ok().filter(|number| (least..=most).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("a whole number from {least} to {most}"))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// `64,64`.
fn hidden(text: &str) -> Result<Vec<usize>, String> {
    let widths: Option<Vec<usize>> =
        text.split([',', 'x']).map(|width| whole(width.trim(), 1, 4_096).ok()).collect();
    widths
        .filter(|widths| widths.len() <= 8)
        .ok_or_else(|| "1 to 8 widths from 1 to 4096, such as 64,64".to_owned())
}

/// `discrete:2`, or `continuous:7:-1:1`.
fn actions(text: &str) -> Result<ActionSpace, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let space = match parts[..] {
        ["discrete", count] => whole(count, 2, 4_096).ok().map(|discrete| ActionSpace::Discrete { discrete }),
        ["continuous", count] => whole(count, 1, 4_096).ok().map(|continuous| ActionSpace::Continuous {
            continuous,
            low: -1.0,
            high: 1.0,
        }),
        ["continuous", count, low, high] => (|| {
            let (low, high) = (real(low, -1e9, 1e9).ok()?, real(high, -1e9, 1e9).ok()?);
            let continuous = whole(count, 1, 4_096).ok()?;
            (low < high).then_some(ActionSpace::Continuous { continuous, low, high })
        })(),
        _ => None,
    };
    space.ok_or_else(|| "discrete:2 or continuous:7:-1:1 (how many, least, most)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(key: &str, value: &str) -> String {
        Hyper::read([(key, value)]).unwrap_err().to_string()
    }

    #[test]
    fn what_is_given_is_taken_and_the_rest_keeps_its_default() {
        let given =
            [("learning_rate", "3e-4"), ("n_steps", " 64 "), ("hidden", "32x16"), ("target_reward", "-5")];
        let hyper = Hyper::read(given).unwrap();
        assert_eq!((hyper.learning_rate, hyper.horizon, hyper.target_reward), (3e-4, 64, Some(-5.0)));
        assert_eq!((hyper.hidden.as_slice(), hyper.gamma), (&[32, 16][..], 0.99));
        let arm = Hyper::read([("actions", "continuous:7:-2:2")]).unwrap();
        assert_eq!(arm.actions, Some(ActionSpace::Continuous { continuous: 7, low: -2.0, high: 2.0 }));
    }

    #[test]
    fn joints_get_their_own_defaults_and_what_was_chosen_stays() {
        let joints = ActionSpace::Continuous { continuous: 7, low: -1.0, high: 1.0 };
        let usual = Hyper::default().suited_to(&joints);
        assert_eq!((usual.learning_rate, usual.horizon, usual.normalise), (5e-4, 512, true));
        let chosen = Hyper::read([("lr", "0.01"), ("entropy", "0.5"), ("normalise", "false")]).unwrap();
        let hyper = chosen.clone().suited_to(&joints);
        assert_eq!((hyper.learning_rate, hyper.entropy, hyper.normalise), (0.01, 0.5, false));
        assert_eq!((hyper.horizon, hyper.batch_size), (512, 64));
        let parts = Hyper::read([("minibatches", "3")]).unwrap().suited_to(&joints);
        assert_eq!((parts.minibatches, parts.batch_size), (3, 0));
        assert_eq!(chosen.clone().suited_to(&ActionSpace::Discrete { discrete: 2 }), chosen);
    }

    #[test]
    fn a_refusal_names_the_key_and_what_would_do() {
        assert!(
            error("learning", "1")
                .starts_with("hyperparameter \"learning\" is not known; known are learning_rate")
        );
        assert_eq!(error("gamma", "1.5"), "hyperparameter gamma = \"1.5\": expected a number from 0 to 1");
        assert_eq!(
            error("horizon", "0"),
            "hyperparameter horizon = \"0\": expected a whole number from 1 to 65536"
        );
        for (key, value) in [
            ("gamma", "NaN"),
            ("epochs", "-1"),
            ("hidden", ""),
            ("hidden", "64,,64"),
            ("actions", "discrete:1"),
            ("seed", "x"),
            ("normalise", "maybe"),
            ("imitation_decay", "1.1"),
        ] {
            assert!(error(key, value).contains(key), "{key} = {value}");
        }
        let twice = Hyper::read([("horizon", "1"), ("n_steps", "2")]).unwrap_err().to_string();
        assert!(twice.contains("\"horizon\" and \"n_steps\""), "{twice}");
    }
}
