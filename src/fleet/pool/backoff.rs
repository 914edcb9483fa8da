//! What fails is tried again ever more slowly: a command that can not run must not keep a machine busy.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// A start failed. Several at once count as one.
    pub(super) fn failed(&mut self, now: Instant) {
        if self.waits(now) {
            return;
        }
        let pause = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + pause);
    }

    /// One lived long enough to be believed.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub(super) fn waits(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Whether the last one failed: then one is tried before many are.
    pub(super) const fn doubts(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_pause_up_to_a_minute_and_a_success_ends_it() {
        let (mut backoff, mut now, mut pauses) = (Backoff::default(), Instant::now(), Vec::new());
        for _ in 0..9 {
            backoff.failed(now);
            backoff.failed(now);
            let began = now;
            while backoff.waits(now) {
                now += Duration::from_millis(500);
            }
            pauses.push((now - began).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.succeeded();
        assert!(!backoff.doubts() && !backoff.waits(now));
    }
}
