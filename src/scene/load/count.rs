//! A bound on what a small text can blow up to: `[[],[],...` is two bytes an entry in a file and fifty in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::json::{Json, Result};

/// Counts things of one kind over all members; shared by the threads that read them.
#[derive(Debug)]
pub(super) struct Counter {
    what: &'static str,
    left: AtomicUsize,
    most: usize,
}

impl Counter {
    pub(super) fn new(what: &'static str, most: usize) -> Self {
        Self { what, left: AtomicUsize::new(most), most }
    }

    /// Counts one more.
    pub(super) fn one(&self, json: &Json) -> Result<()> {
        let enough = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match enough {
            Ok(_) => Ok(()),
            Err(_) => Err(json.fault(format!("is one too many: the limit is {} {}", self.most, self.what))),
        }
    }
}
