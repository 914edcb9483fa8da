//! What instances use: measured whenever somebody asks, so that what an instance did a moment ago is in the answer, and
//! every second while somebody keeps asking. Processor load needs two measurements.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::audit::now_ms;
use super::driver::Usage;

/// Measurements closer than this say nothing about load.
const APART: Duration = Duration::from_millis(200);
/// Measurements farther apart say nothing about now.
const STALE: Duration = Duration::from_secs(120);
/// Who asked so long ago asks no more.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// What an instance uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// As its driver measured it.
    pub usage: Usage,
    /// Of `cpu_cores` cores: 100 is all of them busy.
    pub cpu_percent: f64,
    /// Unix ms of the measurement.
    pub collected_ms: i64,
    /// The cards that it holds and that can tell what they do.
    pub gpus: Vec<GpuFigures>,
}

/// What a card does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GpuFigures {
    /// CDI name.
    pub device: String,
    /// Share of time in which it worked.
    pub utilization_percent: f64,
    /// Bytes.
    pub memory_used_bytes: u64,
    /// Bytes.
    pub memory_total_bytes: u64,
}

#[derive(Debug, Clone)]
struct Sample {
    run: i64,
    at: Instant,
    usage: Usage,
    gpus: Vec<GpuFigures>,
    collected_ms: i64,
}

#[derive(Debug, Default)]
struct Kept {
    /// Two marks, at least [`APART`].
    older: Option<Sample>,
    newer: Option<Sample>,
    asked: Option<Instant>,
}

/// The measurements of one instance.
#[derive(Debug, Default)]
pub(super) struct Samples {
    kept: Mutex<Kept>,
}

impl Samples {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody asks.
    pub(super) fn ask(&self) {
        self.kept().asked = Some(Instant::now());
    }

    /// Whether somebody asked lately.
    pub(super) fn wanted(&self) -> bool {
        self.kept().asked.is_some_and(|asked| asked.elapsed() < FORGOTTEN)
    }

    /// A measurement. `started_ms` is when the run began, having used nothing.
    pub(super) fn add(&self, run: i64, usage: Usage, gpus: Vec<GpuFigures>, cores: u32) -> Stats {
        let mut kept = self.kept();
        let sample = Sample { run, at: Instant::now(), usage, gpus, collected_ms: now_ms() };
        let of_this_run = |sample: &Sample| sample.run == run;
        let newer = kept.newer.take().filter(of_this_run);
        kept.older = kept.older.take().filter(of_this_run);
        match newer {
            // Too close to say anything, and no mark for those to come: however often somebody asks, the marks move on.
            Some(newer) if sample.at - newer.at < APART => {
                let stats = stats(kept.older.as_ref(), &sample, cores);
                kept.newer = Some(newer);
                stats
            }
            newer => {
                let stats = stats(newer.as_ref(), &sample, cores);
                kept.older = newer;
                kept.newer = Some(sample);
                stats
            }
        }
    }
}

/// Since the older measurement, or since the start of the run.
#[allow(clippy::cast_precision_loss, reason = "shares")]
fn stats(older: Option<&Sample>, newer: &Sample, cores: u32) -> Stats {
    let since = older.filter(|older| older.run == newer.run && newer.at - older.at < STALE);
    let (used_ns, over_ns) = match since {
        Some(older) => (
            newer.usage.cpu_time_ns.saturating_sub(older.usage.cpu_time_ns),
            (newer.at - older.at).as_nanos() as f64,
        ),
        None => (newer.usage.cpu_time_ns, (newer.collected_ms - newer.run).max(1) as f64 * 1e6),
    };
    let cpu_percent = 100.0 * used_ns as f64 / over_ns / f64::from(cores.max(1));
    Stats {
        usage: newer.usage.clone(),
        cpu_percent,
        collected_ms: newer.collected_ms,
        gpus: newer.gpus.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(cpu_time_ns: u64) -> Usage {
        Usage { cpu_time_ns, ..Usage::default() }
    }

    #[test]
    fn load_is_between_two_measurements_and_since_the_start_before_there_are_two() {
        let samples = Samples::default();
        let run = now_ms() - 10_000;
        let first = samples.add(run, used(5_000_000_000), Vec::new(), 2);
        assert!((24.0..26.0).contains(&first.cpu_percent), "{}", first.cpu_percent);
        std::thread::sleep(Duration::from_millis(300));
        let card = GpuFigures { device: "nvidia.com/gpu=0".to_owned(), ..GpuFigures::default() };
        let second = samples.add(run, used(5_300_000_000), vec![card.clone()], 2);
        assert_eq!((first.gpus.len(), second.gpus.as_slice()), (0, [card].as_slice()));
        assert!((25.0..51.0).contains(&second.cpu_percent), "{}", second.cpu_percent);
        let another = samples.add(now_ms() - 1000, used(1_000_000_000), Vec::new(), 2);
        assert!((45.0..51.0).contains(&another.cpu_percent), "another run: {}", another.cpu_percent);
        assert!(!samples.wanted());
        samples.ask();
        assert!(samples.wanted());
    }

    #[test]
    fn load_is_of_the_last_moments_however_often_somebody_asks() {
        let samples = Samples::default();
        let (run, begun) = (now_ms(), Instant::now());
        let busy_until = Duration::from_millis(600);
        let mut last = Stats::default();
        while begun.elapsed() < Duration::from_millis(1600) {
            let busy = begun.elapsed().min(busy_until);
            last = samples.add(run, used(u64::try_from(busy.as_nanos()).unwrap()), Vec::new(), 1);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(last.cpu_percent < 1.0, "{} % of a second in which nothing was done", last.cpu_percent);
    }
}
