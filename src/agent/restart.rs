//! Whether something that ended is started again, and when. Never asked about what a user stopped.

use std::time::Duration;

use super::options::Restart;
use super::record::{Exit, Record, Wanted};

/// How patient the agent is: with drivers that hang, with what fails again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a driver to find out whether it works here.
    pub probe: Duration,
    /// Until a driver that did not work is tried again, when somebody asks for it.
    pub probe_again: Duration,
    /// For the sweep of what belongs to nobody, before the agent answers; it goes on after that.
    pub sweep: Duration,
    /// For a driver to make what a start needs; images are copied there.
    pub prepare: Duration,
    /// For a driver to start.
    pub start: Duration,
    /// For a driver to pass on the wish to end.
    pub ask: Duration,
    /// For a driver to kill.
    pub kill: Duration,
    /// For a driver to find a run again.
    pub recover: Duration,
    /// For a driver to take away what is left of a run.
    pub settle: Duration,
    /// For a driver to take everything apart.
    pub destroy: Duration,
    /// For a driver to say what was used.
    pub usage: Duration,
    /// For the last words of a run that has ended.
    pub last_words: Duration,
    /// Until something is tried a second time; doubles then.
    pub first_delay: Duration,
    /// Longest time until something is tried again.
    pub longest_delay: Duration,
    /// A run that took so long was a good one: failures are counted anew.
    pub calm_run: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            probe: Duration::from_secs(60),
            probe_again: Duration::from_secs(30),
            sweep: Duration::from_secs(5),
            prepare: Duration::from_secs(300),
            start: Duration::from_secs(120),
            ask: Duration::from_secs(10),
            kill: Duration::from_secs(30),
            recover: Duration::from_secs(10),
            settle: Duration::from_secs(30),
            destroy: Duration::from_secs(120),
            usage: Duration::from_secs(5),
            last_words: Duration::from_millis(500),
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(60),
            calm_run: Duration::from_secs(60),
        }
    }
}

impl Patience {
    /// Until the next attempt after so many that failed in a row.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.first_delay.saturating_mul(1 << doublings).min(self.longest_delay)
    }

    /// When to start something again that does not run, as its record says; `None` for not at all.
    #[must_use]
    pub fn verdict(&self, record: &Record) -> Option<Duration> {
        if record.wanted != Wanted::Running {
            return None;
        }
        let again = match record.spec.options.restart {
            Restart::Never => false,
            Restart::Always => true,
            Restart::OnFailure { most } => {
                let failed = record.exit.as_ref().is_none_or(|exit| exit.code != 0);
                failed && (most == 0 || record.failures <= most)
            }
        };
        again.then(|| self.delay(record.failures))
    }
}

/// How a run ended, in words: `exit 137 (OOM)`.
#[must_use]
pub fn describe(exit: &Exit) -> String {
    let code = exit.code;
    match (exit.unseen, exit.oom, exit.signal) {
        (true, ..) => "ended while nobody watched: its exit code is not known".to_owned(),
        (_, true, _) => format!("exit {code} (OOM)"),
        (_, _, Some(signal)) => format!("exit {code} (signal {signal})"),
        _ => format!("exit {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let patience = Patience::default();
        let delays: Vec<u64> =
            [0, 1, 2, 3, 7, 8, 9, 1000].map(|n| patience.delay(n).as_millis() as u64).to_vec();
        assert_eq!(delays, [500, 500, 1000, 2000, 32_000, 60_000, 60_000, 60_000]);
    }

    #[test]
    fn an_end_is_told_with_its_cause() {
        let exit = Exit { code: 137, signal: Some(9), oom: false, at_ms: 0, unseen: false };
        assert_eq!(describe(&exit), "exit 137 (signal 9)");
        assert_eq!(describe(&Exit { oom: true, ..exit }), "exit 137 (OOM)");
        assert_eq!(describe(&Exit { code: 3, signal: None, ..exit }), "exit 3");
    }
}
