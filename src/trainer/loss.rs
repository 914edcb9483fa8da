//! What is minimised: PPO's clipped objective (Schulman and others, 2017), the value error, the entropy, and where there are
//! demonstrations their negative log-likelihood.

use super::network::Trace;
use super::policy::Agent;

/// How much each term counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// How far the probability ratio may leave 1.
    pub clip: f64,
    /// Of half the squared value error.
    pub value: f64,
    /// Of the entropy, which is maximised.
    pub entropy: f64,
    /// Of the demonstrations.
    pub imitation: f64,
}

/// Rows of what happened.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Row by row.
    pub observations: Vec<f64>,
    /// Row by row, as the nets see them.
    pub actions: Vec<f64>,
    /// When they were drawn.
    pub log_probs: Vec<f64>,
    /// How much better than expected each turned out.
    pub advantages: Vec<f64>,
    /// What each state was worth, as it turned out.
    pub returns: Vec<f64>,
}

/// Rows of what a person did.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Row by row.
    pub observations: Vec<f64>,
    /// Row by row, as the nets see them.
    pub actions: Vec<f64>,
}

/// The terms, averaged over the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Losses {
    /// Clipped objective, negated.
    pub policy: f64,
    /// Half the squared error.
    pub value: f64,
    /// Of the distribution.
    pub entropy: f64,
    /// Negative log-likelihood of the demonstrations.
    pub imitation: f64,
    /// Estimated divergence from the policy that acted.
    pub divergence: f64,
    /// Share of the rows whose ratio was clipped.
    pub clipped: f64,
}

/// Memory kept between calls.
#[derive(Debug, Default)]
pub struct Scratch {
    policy: Trace,
    value: Trace,
    delta: Vec<f64>,
}

/// The losses of a batch; their gradient goes into `gradient`, which is overwritten. Advantages are normalised here.
pub fn losses(
    agent: &Agent,
    batch: &Batch,
    shown: &Shown,
    weights: &Weights,
    scratch: &mut Scratch,
    gradient: &mut [f64],
) -> Losses {
    gradient.fill(0.0);
    let mut losses = Losses::default();
    let rows = batch.returns.len() as f64;
    if !batch.returns.is_empty() {
        objective(agent, batch, weights, rows, scratch, gradient, &mut losses);
        value_error(agent, batch, weights, rows, scratch, gradient, &mut losses);
    }
    if weights.imitation > 0.0 && !shown.actions.is_empty() {
        imitation(agent, shown, weights, scratch, gradient, &mut losses);
    }
    losses
}

fn objective(
    agent: &Agent,
    batch: &Batch,
    weights: &Weights,
    rows: f64,
    scratch: &mut Scratch,
    gradient: &mut [f64],
    losses: &mut Losses,
) {
    let Scratch { policy, delta, .. } = scratch;
    agent.policy.forward(&agent.parameters, &batch.observations, policy);
    let mean = batch.advantages.iter().sum::<f64>() / rows;
    let deviation = (batch.advantages.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / rows).sqrt() + 1e-8;
    delta.clear();
    delta.resize(policy.output().len(), 0.0);
    let outputs = agent.outputs();
    let each = policy
        .output()
        .chunks_exact(outputs)
        .zip(delta.chunks_exact_mut(outputs))
        .zip(batch.actions.chunks_exact(agent.action_size()))
        .zip(batch.advantages.iter().zip(&batch.log_probs));
    for (((output, delta), action), (advantage, old)) in each {
        let advantage = (advantage - mean) / deviation;
        let log_ratio = agent.log_prob(output, action) - old;
        let ratio = log_ratio.exp();
        let bounded = ratio.clamp(1.0 - weights.clip, 1.0 + weights.clip);
        let free = ratio * advantage <= bounded * advantage;
        let slope = if free { -ratio * advantage / rows } else { 0.0 };
        agent.slopes(output, action, slope, -weights.entropy / rows, delta, gradient);
        losses.policy -= (ratio * advantage).min(bounded * advantage) / rows;
        losses.entropy += agent.entropy(output) / rows;
        losses.divergence += (ratio - 1.0 - log_ratio) / rows;
        losses.clipped += f64::from(u8::from((ratio - 1.0).abs() > weights.clip)) / rows;
    }
    agent.policy.backward(&agent.parameters, &batch.observations, policy, delta, gradient);
}

fn value_error(
    agent: &Agent,
    batch: &Batch,
    weights: &Weights,
    rows: f64,
    scratch: &mut Scratch,
    gradient: &mut [f64],
    losses: &mut Losses,
) {
    let Scratch { value, delta, .. } = scratch;
    agent.value.forward(&agent.parameters, &batch.observations, value);
    delta.clear();
    for (value, target) in value.output().iter().zip(&batch.returns) {
        let error = value - target;
        losses.value += 0.5 * error * error / rows;
        delta.push(weights.value * error / rows);
    }
    agent.value.backward(&agent.parameters, &batch.observations, value, delta, gradient);
}

fn imitation(
    agent: &Agent,
    shown: &Shown,
    weights: &Weights,
    scratch: &mut Scratch,
    gradient: &mut [f64],
    losses: &mut Losses,
) {
    let Scratch { policy, delta, .. } = scratch;
    agent.policy.forward(&agent.parameters, &shown.observations, policy);
    delta.clear();
    delta.resize(policy.output().len(), 0.0);
    let (outputs, size) = (agent.outputs(), agent.action_size());
    let rows = (shown.actions.len() / size) as f64;
    let each = policy.output().chunks_exact(outputs).zip(delta.chunks_exact_mut(outputs));
    for ((output, delta), action) in each.zip(shown.actions.chunks_exact(size)) {
        agent.slopes(output, action, -weights.imitation / rows, 0.0, delta, gradient);
        losses.imitation -= agent.log_prob(output, action) / rows;
    }
    agent.policy.backward(&agent.parameters, &shown.observations, policy, delta, gradient);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::step::ActionSpace;
    use crate::trainer::policy::Shape;
    use crate::trainer::random::Random;

    /// The sum that the gradient is of.
    fn total(losses: &Losses, weights: &Weights) -> f64 {
        losses.policy + weights.value * losses.value - weights.entropy * losses.entropy
            + weights.imitation * losses.imitation
    }

    fn agent(action: ActionSpace, random: &mut Random) -> Agent {
        let mut agent = Agent::new(Shape { observation: 3, action, hidden: vec![6, 5] }, random);
        // Far from the even beginning, so that no gradient is nought by luck.
        agent.parameters.iter_mut().for_each(|parameter| *parameter += 0.3 * random.normal());
        agent
    }

    fn rows(agent: &Agent, count: usize, random: &mut Random) -> (Batch, Shown) {
        let observations: Vec<f64> = (0..count * 3).map(|_| random.normal()).collect();
        let choices = agent.act(&observations, &mut Default::default(), random);
        let batch = Batch {
            observations: observations.clone(),
            actions: choices.iter().flat_map(|choice| choice.action.clone()).collect(),
            log_probs: choices.iter().map(|choice| choice.log_prob + 0.3 * random.normal()).collect(),
            advantages: (0..count).map(|_| random.normal()).collect(),
            returns: (0..count).map(|_| random.normal()).collect(),
        };
        let shown = Shown { observations, actions: batch.actions.clone() };
        (batch, shown)
    }

    #[test]
    fn every_gradient_is_that_of_finite_differences() {
        let spaces = [
            ActionSpace::Discrete { discrete: 3 },
            ActionSpace::Continuous { continuous: 2, low: -2.0, high: 1.0 },
        ];
        let weights = Weights { clip: 0.2, value: 0.7, entropy: 0.05, imitation: 0.4 };
        for (case, space) in spaces.into_iter().enumerate() {
            let mut random = Random::new(11 + case as u64);
            let mut agent = agent(space, &mut random);
            let (batch, shown) = rows(&agent, 17, &mut random);
            let mut gradient = vec![f64::NAN; agent.parameters.len()];
            let mut scratch = Scratch::default();
            let found = losses(&agent, &batch, &shown, &weights, &mut scratch, &mut gradient);
            assert!(found.clipped > 0.1 && found.clipped < 0.9, "both branches are to be seen: {found:?}");
            let mut ignored = gradient.clone();
            let mut largest = 0.0_f64;
            for (index, found) in gradient.iter().enumerate() {
                let here = agent.parameters[index];
                let mut at = |offset: f64| {
                    agent.parameters[index] = here + offset;
                    total(&losses(&agent, &batch, &shown, &weights, &mut scratch, &mut ignored), &weights)
                };
                let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                agent.parameters[index] = here;
                let error = (slope - found).abs() / (1e-3 + slope.abs());
                largest = largest.max(error);
                assert!(error < 1e-4, "case {case}, parameter {index}: {slope} against {found}");
            }
            println!("case {case}: largest relative error {largest:.1e}");
        }
    }

    #[test]
    fn actions_go_to_the_simulator_and_back() {
        let mut random = Random::new(3);
        let arm = agent(ActionSpace::Continuous { continuous: 2, low: -2.0, high: 1.0 }, &mut random);
        assert_eq!(arm.sent(&[-1.0, 5.0]), [-2.0, 1.0]);
        assert_eq!(arm.units(&[-0.5, 1.0]), Some(vec![0.0, 1.0]));
        assert_eq!(arm.units(&[0.0]), None);
        let cart = agent(ActionSpace::Discrete { discrete: 3 }, &mut random);
        assert_eq!(cart.units(&[2.0]), Some(vec![2.0]));
        for wrong in [&[3.0][..], &[0.5], &[-1.0], &[f64::NAN], &[]] {
            assert_eq!(cart.units(wrong), None);
        }
    }

    #[test]
    fn actions_are_drawn_as_often_as_their_probability_says() {
        let mut random = Random::new(9);
        let agent = agent(ActionSpace::Discrete { discrete: 3 }, &mut random);
        let mut traces: [Trace; 2] = Default::default();
        let (mut seen, mut expected) = ([0.0; 3], [0.0; 3]);
        for _ in 0..20_000 {
            let choice = &agent.act(&[0.5, -1.0, 2.0], &mut traces, &mut random)[0];
            seen[choice.action[0] as usize] += 1.0 / 20_000.0;
            for (index, expected) in expected.iter_mut().enumerate() {
                *expected = agent.log_prob(traces[0].output(), &[index as f64]).exp();
            }
        }
        for (seen, expected) in seen.iter().zip(expected) {
            assert!((seen - expected).abs() < 0.015, "{seen} against {expected}");
        }
    }
}
