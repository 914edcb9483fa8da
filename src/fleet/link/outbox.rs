//! What one instance reported and the house has not taken yet. Progress: the newest wins. Training ends are all kept;
//! when too many wait, the instance is not read until the house took some.

use std::collections::VecDeque;

use super::Report;
use crate::fleet::ids::InstanceId;
use crate::proto::neuro::ext;

/// Ends that may wait before the instance is not read any more.
const MOST_ENDS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    progress: Option<ext::Progress>,
    ends: VecDeque<ext::TrainingEnd>,
}

impl Outbox {
    pub(super) fn progress(&mut self, progress: ext::Progress) {
        self.progress = Some(progress);
    }

    pub(super) fn end(&mut self, end: ext::TrainingEnd) {
        self.ends.push_back(end);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.progress.is_none() && self.ends.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.ends.len() >= MOST_ENDS
    }

    /// What is reported next: progress first, so that an end is the last that is heard of a training.
    pub(super) fn take(&mut self, instance: InstanceId) -> Option<Report> {
        if let Some(progress) = self.progress.take() {
            return Some(Report::Progress(instance, progress));
        }
        self.ends.pop_front().map(|end| Report::TrainingEnd(instance, end))
    }

    /// Nobody listens, or it belongs to a session that is over.
    pub(super) fn clear(&mut self) {
        self.progress = None;
        self.ends.clear();
    }
}
