//! Making, finding and upgrading sessions. The call only waits: the session is the books' and its driver's, so a caller
//! that goes away leaves nothing half made.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Orchestrator;
use crate::fleet::error::FleetError;
use crate::fleet::ids::SessionId;
use crate::fleet::ledger::{Command, OpenSession, Outcome};
use crate::fleet::request::CreateSession;
use crate::fleet::rows::{Phase, SessionRow, ended};
use crate::fleet::session::live::Live;
use crate::fleet::session::look::{decode_spec, settled};
use crate::fleet::spec::Mode;
use crate::fleet::validate;
use crate::fleet::view::SessionView;

/// When a client that waits in the queue should ask again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// A waiting caller counts as one who cares.
const STILL_HERE: Duration = Duration::from_secs(1);

impl Orchestrator {
    /// Makes, finds or upgrades a session, and waits until its scene is loaded (at most `request.wait`). The same
    /// request finds the same session; a training or hybrid request upgrades a manual one, and the manual request goes
    /// on finding it.
    ///
    /// # Errors
    /// `Invalid` names the field; `AlreadyExists` for an id that stands for another request; `Exhausted` with the
    /// position while the queue keeps it (asking again goes on waiting) or at once when it may not wait;
    /// `Precondition` with the instance's sentence when its scene cannot be loaded; `Deadline` while it still loads.
    pub async fn create(&self, request: CreateSession) -> Result<SessionView, FleetError> {
        self.create_from(request, String::new()).await
    }

    /// As [`create`](Self::create), from a snapshot.
    pub(super) async fn create_from(
        &self,
        request: CreateSession,
        restore_from: String,
    ) -> Result<SessionView, FleetError> {
        let deadline = Instant::now() + request.wait;
        let id = request.id.clone();
        let found = self.enter(request, restore_from).await?;
        let live = self.house().live(&id).ok_or_else(|| FleetError::not_found("session", &id))?;
        live.touch();
        live.poke.notify_one();
        self.wait_until_loaded(&live, found, deadline).await?;
        self.session(&id)
    }

    /// Puts a session into the books. Whether a manual request found one that was upgraded.
    async fn enter(&self, request: CreateSession, restore_from: String) -> Result<bool, FleetError> {
        let settings = &self.fleet_settings().sessions;
        let mut plan = validate::plan(&request, settings)?;
        self.controls().check_policy(&plan.spec.policy)?;
        let before = self.books().read(|tables| tables.sessions.get(&request.id).cloned());
        let before = before.filter(|row| !ended(row.phase));
        if let Some(row) = &before
            && self.is_manual_request_of(row, request.mode, &plan)
        {
            return Ok(true);
        }
        let upgraded = before.filter(|row| row.mode == Mode::Manual && request.mode.trains());
        if let Some(row) = &upgraded {
            let spec = decode_spec(row)?;
            if !plan.names_scene {
                plan.spec.scene = spec.scene;
            }
            if !plan.names_stream {
                plan.spec.stream = spec.stream;
            }
        }
        let open = OpenSession {
            id: request.id.clone(),
            owner: plan.owner,
            mode: request.mode,
            priority: request.options.priority,
            gang: plan.spec.gang(request.mode),
            requires: plan.spec.requires.clone(),
            spec: prost::Message::encode_to_vec(&plan.spec),
            request_hash: plan.request_hash,
            may_queue: request.options.queue.unwrap_or(true) && self.fleet_settings().queue.enabled,
            restore_from,
        };
        let outcome = self.books().apply(Command::Open(open)).await?;
        if let Outcome::Ended(phase) = outcome {
            return Err(self.has_ended(&request.id, phase));
        }
        if let Some(row) = upgraded
            && let Some(live) = self.house().live(&request.id)
        {
            live.edit(|memo| memo.manual_hash = row.request_hash.to_vec());
            self.house().memos.keep(&live)?;
        }
        Ok(false)
    }

    fn is_manual_request_of(&self, row: &SessionRow, mode: Mode, plan: &validate::Plan) -> bool {
        mode == Mode::Manual
            && row.owner == plan.owner
            && self
                .house()
                .live(&row.id)
                .is_some_and(|live| live.memo(|memo| memo.manual_hash == plan.request_hash))
    }

    /// Until its scene is loaded; an upgraded session, asked for by its manual request, is ready as it is.
    async fn wait_until_loaded(
        &self,
        live: &Arc<Live>,
        found: bool,
        deadline: Instant,
    ) -> Result<(), FleetError> {
        let mut follow = live.tail.follow();
        loop {
            follow.borrow_and_update();
            let row = self.books().read(|tables| tables.sessions.get(&live.id).cloned());
            let row = row.ok_or_else(|| FleetError::not_found("session", &live.id))?;
            if ended(row.phase) {
                return Err(self.has_ended(&row.id, row.phase));
            }
            let waits = row.queued_ms != 0;
            if settled(row.phase) && (found || !waits) {
                return Ok(());
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(self.still_waits(&row));
            }
            live.touch();
            tokio::select! {
                changed = follow.changed() => drop(changed),
                () = sleep_until(deadline.min(now + STILL_HERE)) => {}
            }
        }
    }

    fn has_ended(&self, id: &SessionId, phase: Phase) -> FleetError {
        let reason = self.books().read(|tables| tables.sessions.get(id).map(|row| row.reason.clone()));
        let reason = reason.filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
        let (phase, reason) = (phase.as_str_name(), reason.unwrap_or_default());
        FleetError::Precondition(format!("session {id} has ended {phase}{reason}"))
    }

    fn still_waits(&self, row: &SessionRow) -> FleetError {
        let id = &row.id;
        if row.queued_ms == 0 {
            let phase = row.phase.as_str_name();
            let message = format!("session {id} is {phase}; ask again with the same id to go on waiting");
            return FleetError::Deadline(message);
        }
        let (position, waiting_for) =
            self.books().read(|tables| (tables.position(id), tables.waiting_for(id)));
        let message = format!(
            "session {id} is number {position} in the queue and waits for {waiting_for}; ask again with the same id \
             to go on waiting"
        );
        FleetError::Exhausted { message, retry_after: ASK_AGAIN }
    }
}
