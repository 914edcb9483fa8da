//! What waits to be written to a robot. A command that a newer one of its kind has overtaken is never sent late: a robot
//! must not act out a queue of old joystick positions.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::fleet::ids::Fence;
use crate::instance::contract::ToRobot;

/// A command, and under which control lease it was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Of the lease.
    pub fence: Fence,
    /// What to do.
    pub command: ToRobot,
}

/// At most one command of each kind, in the order of their kinds' first arrival.
#[derive(Debug)]
pub struct Outbox {
    waiting: VecDeque<Outgoing>,
    /// Commands that may be written now; grows with time up to `burst`.
    allowance: f64,
    per_s: f64,
    burst: f64,
    at: Instant,
}

impl Outbox {
    /// An empty one that lets so many commands a second pass, in bursts of a twentieth of a second.
    #[must_use]
    pub fn new(per_s: u32, now: Instant) -> Self {
        let per_s = f64::from(per_s.max(1));
        let burst = (per_s / 20.0).max(1.0);
        Self { waiting: VecDeque::new(), allowance: burst, per_s, burst, at: now }
    }

    /// Puts a command in, in the place of an older one of its kind; whether there was one.
    pub fn put(&mut self, outgoing: Outgoing) -> bool {
        let kind = std::mem::discriminant(&outgoing.command);
        let same = |old: &&mut Outgoing| std::mem::discriminant(&old.command) == kind;
        if let Some(old) = self.waiting.iter_mut().find(same) {
            *old = outgoing;
            return true;
        }
        self.waiting.push_back(outgoing);
        false
    }

    /// The next command to write, or how long to wait for it; `Ok(None)` when there is none. Commands of another lease
    /// than `fence` are dropped.
    ///
    /// # Errors
    /// The time until the rate allows another.
    pub fn take(&mut self, fence: Fence, now: Instant) -> Result<Option<ToRobot>, Duration> {
        self.waiting.retain(|outgoing| outgoing.fence == fence);
        if self.waiting.is_empty() {
            return Ok(None);
        }
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.allowance = (self.allowance + passed * self.per_s).min(self.burst);
        if self.allowance < 1.0 {
            let wait = (1.0 - self.allowance) / self.per_s;
            return Err(Duration::try_from_secs_f64(wait).unwrap_or(Duration::from_millis(5)));
        }
        self.allowance -= 1.0;
        Ok(self.waiting.pop_front().map(|outgoing| outgoing.command))
    }

    /// Forgets everything that waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::contract::Velocity;

    fn drive(x: f64) -> ToRobot {
        ToRobot::RobotControl { velocity: Velocity { x, ..Velocity::default() } }
    }

    #[test]
    fn the_newest_command_of_a_kind_wins_and_kinds_do_not_overtake_each_other() {
        let now = Instant::now();
        let mut outbox = Outbox::new(200, now);
        outbox.put(Outgoing { fence: Fence(1), command: drive(1.0) });
        outbox.put(Outgoing { fence: Fence(1), command: ToRobot::Mode { mode: "manual".into() } });
        assert!(outbox.put(Outgoing { fence: Fence(1), command: drive(2.0) }));
        assert_eq!(outbox.take(Fence(1), now), Ok(Some(drive(2.0))));
        assert_eq!(outbox.take(Fence(1), now), Ok(Some(ToRobot::Mode { mode: "manual".into() })));
        assert_eq!(outbox.take(Fence(1), now), Ok(None));
    }

    #[test]
    fn a_command_of_an_older_lease_is_never_written() {
        let now = Instant::now();
        let mut outbox = Outbox::new(200, now);
        outbox.put(Outgoing { fence: Fence(1), command: drive(1.0) });
        assert_eq!(outbox.take(Fence(2), now), Ok(None));
        assert_eq!(outbox.take(Fence(1), now), Ok(None));
    }

    #[test]
    fn no_more_than_the_rate_passes_and_the_last_one_always_does() {
        let start = Instant::now();
        let mut outbox = Outbox::new(100, start);
        let (mut written, mut last) = (0, None);
        for ms in 0..1000_u64 {
            let now = start + Duration::from_millis(ms);
            outbox.put(Outgoing { fence: Fence(1), command: drive(ms as f64) });
            if let Ok(Some(command)) = outbox.take(Fence(1), now) {
                (written, last) = (written + 1, Some(command));
            }
        }
        assert!((95..=106).contains(&written), "{written} commands in a second at 100 a second");
        assert!(last.is_some());
        let later = start + Duration::from_millis(1100);
        assert_eq!(outbox.take(Fence(1), later), Ok(Some(drive(999.0))));
    }
}
