//! The worker threads of the `cpu` backend: their own pool, one a physical core this process may use.

use std::collections::BTreeSet;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::policy::backend::BackendError;

/// Physical cores this process may run on: hardware threads of its affinity mask without their siblings, and
/// no more than its CPU quota allows.
#[must_use]
pub fn available_cores() -> usize {
    let quota = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cores: BTreeSet<String> = parse_list(allowed.unwrap_or_default())
        .into_iter()
        .filter_map(|cpu| {
            std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))
                .ok()
        })
        .collect();
    if cores.is_empty() { quota } else { quota.min(cores.len()) }
}

/// The numbers of a kernel list such as `0-3,8`.
fn parse_list(text: &str) -> Vec<usize> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
            numbers.extend(first..=last.min(first.saturating_add(1 << 16)));
        }
    }
    numbers
}

/// A pool of `threads` named threads.
pub(super) fn pool(threads: Option<usize>) -> Result<ThreadPool, BackendError> {
    let threads = threads.unwrap_or_else(available_cores).max(1);
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("neuro-cpu-{index}"))
        .build()
        .map_err(|error| BackendError::Load(format!("{threads} worker threads: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_list("\t0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(parse_list(""), [0usize; 0]);
        assert!(available_cores() >= 1);
    }
}
