//! What the edges show: rows joined with what instances last said.

use super::{FleetHealth, Orchestrator};
use crate::fleet::access::Identity;
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::ledger::Tables;
use crate::fleet::request::SessionFilter;
use crate::fleet::rows::{InstanceRow, Role, SessionRow, ended};
use crate::fleet::session::look::decode_spec;
use crate::fleet::url::websocket;
use crate::fleet::view::{InstanceView, PoolView, SessionPage, SessionView};
use crate::proto::neuro::ext::Controller;

/// One page when nobody says, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

impl Orchestrator {
    /// A session as it is. Looking at it keeps it from idling.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn session(&self, session: &SessionId) -> Result<SessionView, FleetError> {
        self.live(session)?;
        self.peek(session)
    }

    /// As [`session`](Self::session), for a caller: one of somebody else's is not there, and idles on.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn session_for(&self, caller: &Identity, session: &SessionId) -> Result<SessionView, FleetError> {
        let view = self.peek(session)?;
        if !caller.sees(&view.row.owner) {
            return Err(FleetError::not_found("session", session));
        }
        self.live(session)?;
        Ok(view)
    }

    /// As [`session`](Self::session), without keeping it from idling: for pages that look at everything.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn peek(&self, session: &SessionId) -> Result<SessionView, FleetError> {
        let row = self.books().read(|tables| tables.sessions.get(session).cloned());
        self.view(row.ok_or_else(|| FleetError::not_found("session", session))?)
    }

    /// By `training.TrainingService`'s handle.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn session_of_training(
        &self,
        caller: &Identity,
        training_id: &str,
    ) -> Result<SessionView, FleetError> {
        let unknown = || FleetError::not_found("training", training_id);
        let found = self.books().read(|tables| {
            let mut rows = tables.sessions.values();
            rows.find(|row| !training_id.is_empty() && row.training_id == training_id)
                .map(|row| row.id.clone())
        });
        self.session_for(caller, &found.ok_or_else(unknown)?).map_err(|error| match error {
            FleetError::NotFound { .. } => unknown(),
            error => error,
        })
    }

    /// One page of sessions, newest first.
    ///
    /// # Errors
    /// `Invalid` for a page token that is none.
    pub fn sessions(&self, filter: SessionFilter) -> Result<SessionPage, FleetError> {
        let size = match filter.page_size as usize {
            0 => PAGE,
            size => size.min(LARGEST_PAGE),
        };
        let from = page_start(&filter.page_token)?;
        let mut rows: Vec<SessionRow> = self.books().read(|tables| {
            let wanted = |row: &&SessionRow| {
                (filter.owner.is_empty() || row.owner == filter.owner)
                    && (filter.phases.is_empty() || filter.phases.contains(&row.phase))
                    && from.as_ref().is_none_or(|(ms, id)| {
                        (std::cmp::Reverse(row.created_ms), row.id.as_str())
                            > (std::cmp::Reverse(*ms), id.as_str())
                    })
            };
            let mut keys: Vec<_> = tables
                .sessions
                .values()
                .filter(wanted)
                .map(|row| (std::cmp::Reverse(row.created_ms), &row.id))
                .collect();
            keys.sort_unstable();
            keys.iter().take(size + 1).filter_map(|(_, id)| tables.sessions.get(*id).cloned()).collect()
        });
        let more = rows.len() > size;
        rows.truncate(size);
        let next_page_token =
            rows.last().filter(|_| more).map(|row| format!("{}:{}", row.created_ms, row.id));
        let sessions = rows.into_iter().map(|row| self.view(row)).collect::<Result<_, _>>()?;
        Ok(SessionPage { sessions, next_page_token: next_page_token.unwrap_or_default() })
    }

    /// Every pool with its instances.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolView> {
        self.inner.pools.views()
    }

    /// Whether sessions can be made.
    #[must_use]
    pub fn health(&self) -> FleetHealth {
        let (active, draining) =
            self.books().read(|tables| (tables.active().count(), tables.drain_until_ms.is_some()));
        let trouble = self.books().trouble().map(|error| error.to_string());
        let reason = trouble.or_else(|| draining.then(|| "the fleet drains".to_owned()));
        FleetHealth {
            healthy: reason.is_none(),
            reason: reason.unwrap_or_default(),
            active_sessions: u32::try_from(active).unwrap_or(u32::MAX),
        }
    }

    fn view(&self, row: SessionRow) -> Result<SessionView, FleetError> {
        let spec = decode_spec(&row)?;
        let now = now_ms();
        let (members, control, position, waiting_for) = self.books().read(|tables| {
            let members = members(tables, &row.id);
            let first = members.iter().find(|row| row.role == Role::Simulator).map(|row| row.id);
            let control = first.and_then(|id| tables.controls.get(&(row.id.clone(), id)).cloned());
            let waits = row.queued_ms != 0 && !ended(row.phase);
            let place = if waits {
                (tables.position(&row.id), tables.waiting_for(&row.id))
            } else {
                Default::default()
            };
            (members, control, place.0, place.1)
        });
        let mut trainer = None;
        let mut simulators = Vec::new();
        for row in members {
            let view = InstanceView { pulse: self.links().pulse(row.id), row };
            if view.row.role == Role::Trainer { trainer = Some(view) } else { simulators.push(view) }
        }
        let known = self.house().known(&row.id);
        let memo =
            known.as_ref().map_or_else(|| self.house().memos.load(&row.id), |live| live.memo(Clone::clone));
        let presence = self.controls().presence(&row.id);
        let beats = simulators.iter().filter_map(|view| view.pulse.as_ref()).map(|pulse| &pulse.heartbeat);
        let commanded = beats.clone().map(|beat| beat.last_command_ms).max().unwrap_or(0);
        let connected = presence.connections > 0 || beats.clone().any(|beat| beat.client_connected);
        let idle_ms = match &known {
            Some(live) if !ended(row.phase) => now.saturating_sub(self.last_life_ms(&row, live, now)).max(0),
            _ => 0,
        };
        let held =
            control.filter(|lease| lease.expires_ms == 0 || lease.expires_ms > now).map(|lease| lease.holder);
        let itself =
            if row.mode.trains() || !spec.policy.is_empty() { Controller::Policy } else { Controller::None };
        let (http, id) = (self.public_url(), &row.id);
        let ws = websocket(http);
        Ok(SessionView {
            trainer,
            simulators,
            control_ws_url: format!("{ws}/control/{id}"),
            webrtc_signaling_url: format!("{ws}/api/webrtc/signaling/frontend/{id}"),
            control_mode_switch_url: format!("{http}/v1/sessions/{id}/control"),
            debug_ws_url: format!("{ws}/v1/sessions/{id}/events"),
            nucleus_path: self.nucleus_path(id),
            progress: memo.progress,
            training_end: memo.training_end,
            controller: held.unwrap_or(itself),
            frontend_connected: connected,
            last_command_ms: commanded.max(presence.last_command_ms),
            idle_ms,
            queue_position: position,
            waiting_for,
            spec,
            row,
        })
    }

    fn nucleus_path(&self, session: &SessionId) -> String {
        let Some(omniverse) = &self.fleet_settings().omniverse else { return String::new() };
        let path = omniverse.session_path.replace("{session}", session.as_str());
        if path.contains("://") {
            return path;
        }
        format!("{}/{}", omniverse.nucleus_url.trim_end_matches('/'), path.trim_start_matches('/'))
    }
}

/// The rows of a session's members: its trainer first, then its simulators by environment.
fn members(tables: &Tables, session: &SessionId) -> Vec<InstanceRow> {
    let ids: Vec<InstanceId> = tables.members(session).iter().map(|member| member.instance).collect();
    ids.iter().filter_map(|id| tables.instances.get(id).cloned()).collect()
}

fn page_start(token: &str) -> Result<Option<(i64, String)>, FleetError> {
    if token.is_empty() {
        return Ok(None);
    }
    let parsed = token.split_once(':').and_then(|(ms, id)| Some((ms.parse().ok()?, id.to_owned())));
    let shown: String = token.chars().take(60).collect();
    let problem = || FleetError::invalid("page_token", format!("{shown:?} is none of ours"));
    parsed.map(Some).ok_or_else(problem)
}
