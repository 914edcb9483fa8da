//! The books' rules, driven by random commands against a model of what must hold. A failure prints the seed of its
//! episode: `FLEET_SEED=… cargo test --test it fleet_ledger` runs that one alone.

mod driver;
mod lives;
mod model;
mod serving;
mod small;

use driver::Episode;

/// Steps of one episode. Between episodes fleets, owners, quotas and patience change.
const STEPS: usize = 4000;

fn run(seeds: impl Iterator<Item = u64>) {
    if let Some(seed) = std::env::var("FLEET_SEED").ok().and_then(|text| text.parse().ok()) {
        Episode::new(seed).run(STEPS);
        return;
    }
    for seed in seeds {
        let result = std::panic::catch_unwind(|| Episode::new(seed).run(STEPS));
        assert!(result.is_ok(), "FLEET_SEED={seed} broke a rule, see above");
    }
}

#[test]
fn half_a_million_random_commands_break_no_rule() {
    run(0..130);
}

#[test]
fn another_half_a_million_random_commands_break_no_rule() {
    run(1000..1130);
}
