//! A session's log as a stream: from where the reader stopped, without a hole that it is not told of.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;

use super::tail::Reach;
use super::{EventStream, Orchestrator};
use crate::fleet::books::Books;
use crate::fleet::error::FleetError;
use crate::fleet::event::EventKind;
use crate::fleet::ids::SessionId;
use crate::fleet::rows::EventRow;
use crate::fleet::session::live::Live;
use crate::telemetry::fleet::{Watching, watching};

/// Events that are taken at once.
const BATCH: usize = 64;

/// Counts a reader for as long as it reads.
struct Reader {
    books: Books,
    live: Arc<Live>,
    follow: watch::Receiver<Reach>,
    after: i64,
    taken: std::vec::IntoIter<EventRow>,
    _counted: Watching,
}

impl Orchestrator {
    /// Events after `resume_after`; 0 from the beginning. Ends when the session has ended and all is sent.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a number that the log has not reached.
    pub fn watch(&self, session: &SessionId, resume_after: i64) -> Result<EventStream, FleetError> {
        let live = self.live(session)?;
        let follow = live.tail.follow();
        let last_seq = follow.borrow().last_seq;
        if resume_after < 0 || resume_after > last_seq {
            let problem =
                format!("is {resume_after}; expected 0 to {last_seq}, the last event of session {session}");
            return Err(FleetError::invalid("resume_after", problem));
        }
        live.tail.count(true);
        let reader = Reader {
            books: self.books().clone(),
            live,
            follow,
            after: resume_after,
            taken: Vec::new().into_iter(),
            _counted: watching(),
        };
        Ok(stream::unfold(reader, |mut reader| async move {
            let row = reader.next().await?;
            Some((row, reader))
        })
        .boxed())
    }
}

impl Reader {
    async fn next(&mut self) -> Option<Result<EventRow, FleetError>> {
        loop {
            if let Some(row) = self.taken.next() {
                self.after = if let EventKind::Gap(gap) = &row.kind { gap.upto } else { row.seq };
                return Some(Ok(row));
            }
            let reach = *self.follow.borrow_and_update();
            if self.after >= reach.last_seq {
                if reach.ended || self.follow.changed().await.is_err() {
                    return None;
                }
                continue;
            }
            if let Some(rows) = self.live.tail.after(self.after, BATCH)
                && !rows.is_empty()
            {
                self.taken = rows.into_iter();
                continue;
            }
            match self.books.events(&self.live.id, self.after, BATCH).await {
                Err(error) => return Some(Err(error)),
                // The log is gone with its session.
                Ok(rows) if rows.is_empty() => return None,
                Ok(rows) => self.taken = rows.into_iter(),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.live.tail.count(false);
    }
}
