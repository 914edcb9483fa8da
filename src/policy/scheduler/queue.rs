//! The waiting line: newest observation of each robot, earliest deadline first, then first come.

use std::time::{Duration, Instant};

use super::job::Job;
use crate::policy::request::PredictError;

/// Jobs that wait for the network. Owned by the queue thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<Job>,
}

impl Queue {
    /// Adds a job; an older one of the same robot is answered as superseded.
    pub(super) fn push(&mut self, job: Job) {
        if let Some(robot_id) = &job.robot_id
            && let Some(index) =
                self.waiting.iter().position(|waiting| waiting.robot_id.as_ref() == Some(robot_id))
        {
            let older = self.waiting.remove(index);
            older.refuse(PredictError::Superseded(robot_id.clone()));
        }
        self.waiting.push(job);
    }

    /// Jobs waiting now.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the next batch. Jobs nobody waits for are dropped, late ones refused.
    pub(super) fn take(&mut self, max_batch: usize, now: Instant) -> Vec<Job> {
        let mut kept = Vec::with_capacity(self.waiting.len());
        for job in self.waiting.drain(..) {
            if !job.is_wanted() {
                continue;
            }
            if job.deadline.is_some_and(|deadline| deadline <= now) {
                let waited_ms = millis(now.saturating_duration_since(job.enqueued));
                job.refuse(PredictError::DeadlineExceeded { waited_ms });
            } else {
                kept.push(job);
            }
        }
        // A stable sort: jobs without a deadline stay in order of arrival, behind those with one.
        kept.sort_by_key(|job| (job.deadline.is_none(), job.deadline));
        let rest = kept.split_off(max_batch.max(1).min(kept.len()));
        self.waiting = rest;
        kept
    }
}

/// Whole milliseconds of a duration.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::backend::{CancelFlag, Input, Touch};
    use crate::policy::scheduler::Done;
    use tokio::sync::oneshot;

    type Answer = oneshot::Receiver<Result<Done, PredictError>>;

    fn job(robot: Option<&str>, deadline: Option<Instant>) -> (Job, Answer) {
        let (reply, answer) = oneshot::channel();
        let input = Input {
            pixel_values: Vec::new(),
            touch: Touch::Absent,
            token_ids: Vec::new(),
            cancel: CancelFlag::default(),
        };
        let robot_id = robot.map(str::to_owned);
        (Job { input, robot_id, deadline, enqueued: Instant::now(), reply }, answer)
    }

    #[test]
    fn the_newest_observation_of_a_robot_wins_and_strangers_are_left_alone() {
        let mut queue = Queue::default();
        let (first, mut first_answer) = job(Some("arm"), None);
        let (other, _other_answer) = job(Some("leg"), None);
        let (second, _second_answer) = job(Some("arm"), None);
        let (nameless, _nameless_answer) = job(None, None);
        for job in [first, other, second, nameless] {
            queue.push(job);
        }
        assert!(matches!(first_answer.try_recv().unwrap(), Err(PredictError::Superseded(id)) if id == "arm"));
        assert_eq!(queue.take(8, Instant::now()).len(), 3);
    }

    #[test]
    fn the_earliest_deadline_goes_first_and_a_late_job_never_reaches_the_network() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let (patient, _a) = job(Some("patient"), None);
        let (later, _b) = job(Some("later"), Some(now + Duration::from_secs(9)));
        let (soon, _c) = job(Some("soon"), Some(now + Duration::from_secs(1)));
        let (late, mut late_answer) = job(Some("late"), Some(now));
        for job in [patient, later, soon, late] {
            queue.push(job);
        }
        let order: Vec<_> = queue.take(2, now).into_iter().filter_map(|job| job.robot_id).collect();
        assert_eq!(order, ["soon", "later"]);
        assert_eq!(queue.len(), 1);
        assert!(matches!(late_answer.try_recv().unwrap(), Err(PredictError::DeadlineExceeded { .. })));
    }

    #[test]
    fn a_caller_that_went_away_costs_nothing() {
        let mut queue = Queue::default();
        let (gone, answer) = job(None, None);
        let (cancelled, _answer) = job(None, None);
        cancelled.input.cancel.cancel();
        queue.push(gone);
        queue.push(cancelled);
        drop(answer);
        assert!(queue.take(8, Instant::now()).is_empty());
    }
}
