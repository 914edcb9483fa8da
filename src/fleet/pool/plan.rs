//! How many to start and which to stop. Pure: what is there and what is wanted go in.

use std::time::Duration;

use crate::fleet::ids::InstanceId;
use crate::fleet::settings::Pool;

/// How long a spare one stays where the pool does not say.
const SHRINK_AFTER: Duration = Duration::from_secs(300);

/// A pool's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Idle ones kept ready.
    pub warm: u32,
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// Spare ones stay so long.
    pub shrink_after: Duration,
}

impl Limits {
    /// As configured; a `max` of 0 is `warm` or `min`, whichever is more.
    #[must_use]
    pub fn of(pool: &Pool) -> Self {
        let max = if pool.max == 0 { pool.warm.max(pool.min) } else { pool.max };
        let shrink_after = Duration::try_from_secs_f64(pool.shrink_after_s).unwrap_or_default();
        let shrink_after = if shrink_after.is_zero() { SHRINK_AFTER } else { shrink_after };
        Self { warm: pool.warm, min: pool.min, max, shrink_after }
    }
}

/// What one instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It waits for its turn in a cluster, for so long.
    Waiting(Duration),
    /// It runs, and has not attached yet.
    Starting,
    /// Nobody's, ready, for so long.
    Idle(Duration),
    /// A session's.
    Held,
    /// Nobody's, and drained.
    Drained,
    /// Nobody's, and away; it may come back, so no other is started for it.
    Away,
    /// Being stopped.
    Stopping,
}

/// One instance of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub instance: InstanceId,
    /// What it does.
    pub doing: Doing,
}

/// What to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// So many more.
    pub start: u32,
    /// These not any more. None of them is held.
    pub stop: Vec<InstanceId>,
}

/// How many instances count against `max`.
#[must_use]
pub fn live(seen: &[Seen]) -> u32 {
    count(seen, |doing| doing != Doing::Stopping)
}

/// How many could be given away at once.
#[must_use]
pub fn idle(seen: &[Seen]) -> u32 {
    count(seen, |doing| matches!(doing, Doing::Idle(_)))
}

/// How many are on their way.
#[must_use]
pub fn starting(seen: &[Seen]) -> u32 {
    count(seen, |doing| matches!(doing, Doing::Waiting(_) | Doing::Starting))
}

fn count(seen: &[Seen], which: impl Fn(Doing) -> bool) -> u32 {
    u32::try_from(seen.iter().filter(|one| which(one.doing)).count()).unwrap_or(u32::MAX)
}

/// `needed`: idle ones that waiting sessions want, besides the `warm` ones.
#[must_use]
pub fn plan(limits: Limits, needed: u32, seen: &[Seen]) -> Plan {
    let (live, ready) = (live(seen), idle(seen).saturating_add(starting(seen)));
    let target = limits.warm.saturating_add(needed);
    let away = count(seen, |doing| doing == Doing::Away);
    let short = target.saturating_sub(ready.saturating_add(away)).max(limits.min.saturating_sub(live));
    let start = short.min(limits.max.saturating_sub(live));

    let drained = seen.iter().filter(|one| one.doing == Doing::Drained).map(|one| one.instance);
    let mut stop: Vec<InstanceId> = drained.collect();
    let live = live.saturating_sub(u32::try_from(stop.len()).unwrap_or(u32::MAX));
    let above_max = live.saturating_sub(limits.max);
    let spare = ready.saturating_sub(target).min(live.saturating_sub(limits.min));
    // Those that wait first, then those that were idle the longest. One that starts will be idle soon enough.
    let mut candidates: Vec<(bool, Duration, InstanceId)> = seen.iter().filter_map(candidate).collect();
    candidates.sort_by_key(|(waits, since, id)| (!waits, std::cmp::Reverse(*since), *id));
    let mut stopped = 0;
    for (_, since, id) in candidates {
        let overdue = since >= limits.shrink_after && stopped < spare;
        if overdue || stopped < above_max {
            stop.push(id);
            stopped += 1;
        }
    }
    Plan { start, stop }
}

fn candidate(one: &Seen) -> Option<(bool, Duration, InstanceId)> {
    match one.doing {
        Doing::Idle(since) => Some((false, since, one.instance)),
        Doing::Waiting(since) => Some((true, since, one.instance)),
        Doing::Starting | Doing::Held | Doing::Drained | Doing::Away | Doing::Stopping => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn doing() -> impl Strategy<Value = Doing> {
        let seconds = || (0_u64..100).prop_map(Duration::from_secs);
        prop_oneof![
            seconds().prop_map(Doing::Waiting),
            Just(Doing::Starting),
            seconds().prop_map(Doing::Idle),
            Just(Doing::Held),
            Just(Doing::Drained),
            Just(Doing::Away),
            Just(Doing::Stopping),
        ]
    }

    fn limits() -> impl Strategy<Value = Limits> {
        (0_u32..6, 0_u32..6, 0_u32..12, 1_u64..60).prop_map(|(warm, min, more, shrink_s)| Limits {
            warm,
            min,
            max: warm.max(min) + more,
            shrink_after: Duration::from_secs(shrink_s),
        })
    }

    fn seen(all: &[Doing]) -> Vec<Seen> {
        all.iter().map(|doing| Seen { instance: InstanceId::new(), doing: *doing }).collect()
    }

    proptest! {
        #[test]
        fn held_ones_are_never_touched_and_sizes_are_kept(
            limits in limits(), needed in 0_u32..20, all in prop::collection::vec(doing(), 0..24)
        ) {
            let seen = seen(&all);
            let plan = plan(limits, needed, &seen);
            for id in &plan.stop {
                let doing = seen.iter().find(|one| one.instance == *id).map(|one| one.doing);
                prop_assert!(!matches!(doing, Some(Doing::Held | Doing::Away | Doing::Starting | Doing::Stopping) | None), "{doing:?}");
            }
            let unique: std::collections::BTreeSet<_> = plan.stop.iter().collect();
            prop_assert_eq!(unique.len(), plan.stop.len());
            if plan.start > 0 {
                prop_assert!(live(&seen) + plan.start <= limits.max);
            }
            let drained = count(&seen, |doing| doing == Doing::Drained);
            let spared = u32::try_from(plan.stop.len()).unwrap() - drained;
            let left = live(&seen) - drained - spared;
            prop_assert!(spared == 0 || left >= limits.min.min(limits.max));
            let ready = idle(&seen) + starting(&seen);
            prop_assert!(spared == 0 || ready - spared >= limits.warm + needed || live(&seen) > limits.max);
        }

        #[test]
        fn keeping_a_plan_leads_to_a_plan_with_nothing_to_do(
            limits in limits(), needed in 0_u32..20, all in prop::collection::vec(doing(), 0..24)
        ) {
            let mut seen = seen(&all);
            for _ in 0..3 {
                let plan = plan(limits, needed, &seen);
                seen.retain(|one| !plan.stop.contains(&one.instance) && one.doing != Doing::Stopping);
                for _ in 0..plan.start {
                    let doing = Doing::Idle(Duration::ZERO);
                    seen.push(Seen { instance: InstanceId::new(), doing });
                }
            }
            prop_assert_eq!(plan(limits, needed, &seen), Plan::default());
        }
    }

    #[test]
    fn one_that_is_away_is_waited_for_and_not_doubled() {
        let limits = Limits { warm: 2, min: 0, max: 8, shrink_after: Duration::from_secs(60) };
        assert_eq!(plan(limits, 0, &seen(&[Doing::Away, Doing::Away])), Plan::default());
        assert_eq!(plan(limits, 0, &seen(&[Doing::Away, Doing::Held])), Plan { start: 1, stop: vec![] });
    }

    #[test]
    fn a_queue_makes_a_pool_grow_and_the_warm_ones_stay() {
        let limits = Limits { warm: 1, min: 0, max: 8, shrink_after: Duration::from_secs(60) };
        let one = seen(&[Doing::Idle(Duration::from_secs(1000))]);
        assert_eq!(plan(limits, 4, &one), Plan { start: 4, stop: vec![] });
        assert_eq!(plan(limits, 40, &one), Plan { start: 7, stop: vec![] });
        assert_eq!(plan(limits, 0, &one), Plan::default());
    }
}
