//! What the books and the instances say goes to whom it concerns. Nothing here waits for a session.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{Orchestrator, WeakOrchestrator};
use crate::fleet::event::EventKind;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::ledger::{Command, Notice};
use crate::fleet::link::Report;
use crate::fleet::rows::ended;
use crate::fleet::session::wish::Wish;
use crate::telemetry;

/// Reports that are taken at once: one commit for all of them.
const BATCH: usize = 64;

/// Until the books are closed or the orchestrator is gone.
pub(super) async fn notices(this: WeakOrchestrator, mut notices: mpsc::Receiver<Notice>) {
    while let Some(notice) = notices.recv().await {
        let Some(this) = this.upgrade() else { return };
        this.notice(notice);
    }
}

/// Until the links are gone.
pub(super) async fn reports(this: WeakOrchestrator, mut reports: mpsc::Receiver<Report>) {
    let mut batch = Vec::with_capacity(BATCH);
    while reports.recv_many(&mut batch, BATCH).await > 0 {
        let Some(this) = this.upgrade() else { return };
        join_all(batch.drain(..).map(|report| this.report(report))).await;
    }
}

impl Orchestrator {
    fn notice(&self, notice: Notice) {
        match notice {
            Notice::Granted { session, repair, .. } => {
                if !repair {
                    self.granted(&session);
                }
                self.poke(&session);
            }
            Notice::Short { session } => self.poke(&session),
            Notice::Freed { instance, fence } => self.links().freed(instance, fence),
            Notice::Logged(row) => {
                let Some(live) = self.house().live(&row.session) else { return };
                live.tail.push(&row);
                if let Some(redis) = self.redis() {
                    redis.note(&row);
                }
                if let EventKind::Demonstration(demonstration) = row.kind {
                    drop(live.wishes.try_send(Wish::LearnFrom(demonstration.uri)));
                }
            }
            Notice::Closed { session, .. } => self.closed(&session),
        }
    }

    fn granted(&self, session: &SessionId) {
        let row = self.books().read(|tables| {
            tables.sessions.get(session).map(|row| (row.mode, row.granted_ms.saturating_sub(row.created_ms)))
        });
        if let Some((mode, took_ms)) = row {
            let took = Duration::from_millis(u64::try_from(took_ms).unwrap_or(0));
            telemetry::fleet::granted(mode.name(), took);
        }
    }

    fn poke(&self, session: &SessionId) {
        if let Some(live) = self.house().live(session) {
            live.poke.notify_one();
        }
    }

    /// Its log ends here, unless it went back to the queue. Its memory goes; who watches it still has it.
    fn closed(&self, session: &SessionId) {
        let row =
            self.books().read(|tables| tables.sessions.get(session).map(|row| (row.phase, row.last_seq)));
        let Some(live) = self.house().known(session) else { return };
        if let Some((phase, last_seq)) = row
            && ended(phase)
        {
            live.tail.end(last_seq);
            self.house().forget(session);
        }
        live.poke.notify_one();
    }

    async fn report(&self, report: Report) {
        match report {
            Report::Progress(instance, progress) => {
                let Some(session) = self.session_of(instance) else { return };
                let Some(live) = self.house().live(&session) else { return };
                live.set_progress(progress.clone());
                let events = vec![EventKind::Progress(progress)];
                if let Err(error) = self.books().apply(Command::Record { session, events }).await {
                    debug!(%instance, %error, "progress was not written");
                }
            }
            Report::TrainingEnd(instance, end) => {
                let Some(session) = self.session_of(instance) else { return };
                let Some(live) = self.house().live(&session) else { return };
                let wishes = live.wishes.clone();
                // Its driver may be busy with a lost member: others' reports do not wait for that.
                tokio::spawn(async move {
                    if wishes.send(Wish::TrainingEnd(instance, end)).await.is_err() {
                        warn!(%instance, "the end of a training came after the end of its session");
                    }
                });
            }
        }
    }

    fn session_of(&self, instance: InstanceId) -> Option<SessionId> {
        self.books().read(|tables| {
            tables.instances.get(&instance)?.holder.as_ref().map(|holder| holder.session.clone())
        })
    }
}
