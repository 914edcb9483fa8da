//! Which of many intervals, sorted by start, hold a time: a tree of the latest ends over the sorted list, so that every
//! next answer costs a climb and a descent, not a walk.

/// Intervals over time, sorted by start.
#[derive(Debug, Clone, Default)]
pub(super) struct TrackIndex {
    starts_us: Vec<i64>,
    /// A binary heap's layout: node 1 is the root, node `leaves + i` the end of interval i, every other the latest end
    /// below it.
    latest_end_us: Vec<i64>,
    leaves: usize,
}

impl TrackIndex {
    /// Over `[start, end]` pairs, both inclusive, sorted by start.
    pub(super) fn new(ranges_us: &[[i64; 2]]) -> Self {
        let leaves = ranges_us.len().next_power_of_two();
        let mut latest_end_us = vec![i64::MIN; leaves];
        latest_end_us.extend(ranges_us.iter().map(|[_, end]| *end));
        latest_end_us.resize(2 * leaves, i64::MIN);
        for node in (1..leaves).rev() {
            latest_end_us[node] = latest_end_us[2 * node].max(latest_end_us[2 * node + 1]);
        }
        Self { starts_us: ranges_us.iter().map(|[start, _]| *start).collect(), latest_end_us, leaves }
    }

    /// How many intervals start at or before a time.
    pub(super) fn started_by(&self, timestamp_us: i64) -> usize {
        self.starts_us.partition_point(|start| *start <= timestamp_us)
    }

    /// The intervals that hold a time, in order: O(log n) each.
    pub(super) fn alive_at(&self, timestamp_us: i64) -> impl Iterator<Item = usize> {
        let started = self.started_by(timestamp_us);
        let mut from = 0;
        std::iter::from_fn(move || {
            let index = self.next_ending_at_or_after(from, timestamp_us).filter(|index| *index < started)?;
            from = index + 1;
            Some(index)
        })
    }

    fn next_ending_at_or_after(&self, from: usize, timestamp_us: i64) -> Option<usize> {
        if from >= self.leaves {
            return None;
        }
        let late_enough = |node: usize| self.latest_end_us.get(node).is_some_and(|end| *end >= timestamp_us);
        let mut node = self.leaves + from;
        while !late_enough(node) {
            while node % 2 == 1 {
                if node == 1 {
                    return None;
                }
                node /= 2;
            }
            node += 1;
        }
        while node < self.leaves {
            node = if late_enough(2 * node) { 2 * node } else { 2 * node + 1 };
        }
        Some(node - self.leaves)
    }
}
