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
use crate::proto::neuro::ext;

/// Events that are taken at once.
const BATCH: usize = 64;

/// Counts a reader for as long as it reads.
struct Reader {
    books: Books,
    live: Arc<Live>,
    follow: watch::Receiver<Reach>,
    after: i64,
    taken: std::vec::IntoIter<EventRow>,
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
            let problem = format!("is {resume_after}; expected 0 to {last_seq}, the last event of session {session}");
            return Err(FleetError::invalid("resume_after", problem));
        }
        live.tail.count(true);
        let reader =
            Reader { books: self.books().clone(), live, follow, after: resume_after, taken: Vec::new().into_iter() };
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
                self.after = row.seq;
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
                Ok(rows) => self.take_stored(rows),
            }
        }
    }

    /// Rows of the store, with a gap in front when they begin later than the reader is.
    fn take_stored(&mut self, mut rows: Vec<EventRow>) {
        if let Some(first) = rows.first().filter(|first| first.seq > self.after + 1) {
            let upto = first.seq - 1;
            let gap = EventRow {
                session: self.live.id.clone(),
                seq: upto,
                at_ms: first.at_ms,
                kind: EventKind::Gap(ext::LogGap { upto }),
            };
            rows.insert(0, gap);
        }
        self.taken = rows.into_iter();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.live.tail.count(false);
    }
}
