//! What more than one service does with a session.

use std::future::Future;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use tokio::sync::watch;
use tonic::Status;

use super::call::{CALL_LIMIT, Call, session_id};
use super::show::Addresses;
use super::{Edge, status};
use crate::fleet::FleetError;
use crate::fleet::orchestrator::FleetHealth;
use crate::fleet::rows::ended;
use crate::fleet::view::SessionView;

/// When to ask a server again that ends: another one is there by then.
const BACK_SOON: Duration = Duration::from_secs(2);

/// When to ask a fleet again that is not well.
const ASK_AGAIN: Duration = Duration::from_secs(5);

fn stopping() -> Status {
    let message = "this orchestrator is stopping; sessions go on, ask again".to_owned();
    status::of(&FleetError::Unavailable { message, retry_after: BACK_SOON })
}

impl Edge {
    /// A stream that ends with a word when the server does.
    pub(super) fn until_stop<T: Send + 'static>(
        &self,
        items: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> BoxStream<'static, Result<T, Status>> {
        type Going<T> = Option<(BoxStream<'static, Result<T, Status>>, watch::Receiver<bool>)>;
        let state: Going<T> = Some((items.boxed(), self.stopping.clone()));
        let next = |state: Going<T>| async {
            let (mut items, mut stop) = state?;
            let item = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Some((Err(stopping()), None)),
                item = items.next() => item?,
            };
            Some((item, Some((items, stop))))
        };
        stream::unfold(state, next).boxed()
    }

    /// A call that waits does not outlive the server.
    pub(super) async fn unless_stopping<T>(
        &self,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let mut stop = self.stopping.clone();
        tokio::select! {
            done = work => done,
            _ = stop.wait_for(|stop| *stop) => Err(stopping()),
        }
    }

    /// How long a create call waits for clients that set no deadline.
    pub(super) fn create_limit(&self) -> Duration {
        let seconds = self.orchestrator.fleet_settings().sessions.create_wait_s;
        Duration::try_from_secs_f64(seconds).unwrap_or(CALL_LIMIT)
    }

    pub(super) fn addresses(&self, call: &Call) -> Addresses {
        let fixed = !self.orchestrator.fleet_settings().public.url.is_empty();
        Addresses::of(&call.arrival, fixed)
    }

    /// A session by the id of a request, if it is there for the caller.
    pub(super) fn session_of(&self, call: &Call, id: &str) -> Result<SessionView, Status> {
        let id = session_id(id)?;
        self.orchestrator.session_for(&call.identity, &id).map_err(|error| status::of(&error))
    }

    /// Starts a session, or lets it go on; says so.
    pub(super) async fn start(
        &self,
        call: &Call,
        id: &str,
        real_time: bool,
        time_scale: f64,
    ) -> Result<String, Status> {
        let id = self.session_of(call, id)?.row.id;
        let work = self.orchestrator.start(&id, real_time, time_scale);
        call.within(CALL_LIMIT, &format!("starting session {id}"), work).await?;
        Ok(format!("session {id} runs"))
    }

    /// Ends a session and says what came free. One that has ended gives nothing and is no error.
    pub(super) async fn stop(
        &self,
        call: &Call,
        id: &str,
        cleanup: bool,
    ) -> Result<(String, Vec<String>), Status> {
        let view = self.session_of(call, id)?;
        let id = view.row.id;
        let work = self.orchestrator.stop(&id, cleanup);
        let released = call.within(CALL_LIMIT, &format!("stopping session {id}"), work).await?;
        if ended(view.row.phase) {
            return Ok((format!("session {id} had ended before"), Vec::new()));
        }
        let released: Vec<String> = released.iter().map(ToString::to_string).collect();
        Ok((format!("session {id} is stopped, {} instances are free", released.len()), released))
    }

    /// The fleet's health, as an error when it is not well.
    pub(super) fn well(&self) -> Result<FleetHealth, Status> {
        let health = self.orchestrator.health();
        if health.healthy {
            return Ok(health);
        }
        let error = FleetError::Unavailable { message: health.reason, retry_after: ASK_AGAIN };
        Err(status::of(&error))
    }
}
