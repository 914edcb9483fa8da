//! `neuro.ext.v1.SessionService`: what the others cannot do with a session.

use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use tonic::{Request, Response, Status};

use super::call::{CALL_LIMIT, Call, count, invalid, optional};
use super::{Edge, show, status};
use crate::fleet::Fence;
use crate::fleet::clock::now_ms;
use crate::fleet::event;
use crate::fleet::request::{ControlHandle, SessionFilter, TakeControl};
use crate::fleet::rows::Phase;
use crate::fleet::view::SessionView;
use crate::proto::neuro::ext::session_service_server::SessionService;
use crate::proto::neuro::ext::{
    ControlLease, GetQueuePositionRequest, ListDemonstrationsRequest, ListDemonstrationsResponse,
    ListSessionsRequest, ListSessionsResponse, PauseSessionRequest, PauseSessionResponse, QueuePosition,
    ReleaseControlRequest, ReleaseControlResponse, RenewControlRequest, SessionEvent, TakeControlRequest,
    WatchSessionRequest,
};

type EventStream = BoxStream<'static, Result<SessionEvent, Status>>;

fn fence(number: i64) -> Result<Fence, Status> {
    u64::try_from(number).map(Fence).map_err(|_| invalid("fence", format!("is {number}; expected 0 or more")))
}

fn ttl(ms: i32) -> Result<Duration, Status> {
    count("ttl_ms", ms).map(u64::from).map(Duration::from_millis)
}

fn phases(numbers: &[i32]) -> Result<Vec<Phase>, Status> {
    let known = |number: &i32| {
        Phase::try_from(*number).ok().filter(|phase| *phase != Phase::Unspecified).ok_or_else(|| {
            invalid("phases", format!("holds {number}; expected 1 (QUEUED) to 12 (PREEMPTED)"))
        })
    };
    numbers.iter().map(known).collect()
}

impl Edge {
    /// What kind of engine the instances of a session come from.
    fn backend(&self, view: &SessionView) -> String {
        let Some(first) = view.simulators.first().or(view.trainer.as_ref()) else { return String::new() };
        let pools = self.orchestrator.pools();
        let pool = pools.into_iter().find(|pool| pool.name == first.row.pool);
        pool.map(|pool| pool.backend).unwrap_or_default()
    }

    fn lease(&self, call: &Call, mut lease: ControlLease) -> ControlLease {
        lease.ws_url = self.addresses(call).own(&lease.ws_url);
        lease
    }
}

#[tonic::async_trait]
impl SessionService for Edge {
    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let filter = SessionFilter {
            owner: call.own_or(asked.owner),
            phases: phases(&asked.phases)?,
            page_size: count("page_size", asked.page_size)?,
            page_token: asked.page_token,
        };
        let page = self.orchestrator.sessions(filter).map_err(|error| status::of(&error))?;
        let sessions = page.sessions.iter().map(|view| show::summary(view, self.backend(view))).collect();
        Ok(Response::new(ListSessionsResponse { sessions, next_page_token: page.next_page_token }))
    }

    type WatchSessionStream = EventStream;

    async fn watch_session(
        &self,
        request: Request<WatchSessionRequest>,
    ) -> Result<Response<EventStream>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        if asked.resume_after < 0 {
            let problem = format!("is {}; expected the last seq that was seen, or 0", asked.resume_after);
            return Err(invalid("resume_after", problem));
        }
        let session = self.session_of(&call, &asked.session_id)?.row.id;
        let events =
            self.orchestrator.watch(&session, asked.resume_after).map_err(|error| status::of(&error))?;
        let shown = events.map(|row| row.map(|row| event::to_wire(&row)).map_err(|error| status::of(&error)));
        Ok(Response::new(self.until_stop(shown)))
    }

    async fn get_queue_position(
        &self,
        request: Request<GetQueuePositionRequest>,
    ) -> Result<Response<QueuePosition>, Status> {
        let call = Call::of_client(&request)?;
        let view = self.session_of(&call, &request.get_ref().session_id)?;
        let queued_ms = match view.row.queued_ms {
            0 => 0,
            since => now_ms().saturating_sub(since).max(0),
        };
        Ok(Response::new(QueuePosition {
            position: show::narrow(view.queue_position),
            queued_ms,
            waiting_for: view.waiting_for,
        }))
    }

    async fn take_control(
        &self,
        request: Request<TakeControlRequest>,
    ) -> Result<Response<ControlLease>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let ttl = ttl(asked.ttl_ms)?;
        let instance = optional(&asked.instance_id)?;
        let session = self.session_of(&call, &asked.session_id)?.row.id;
        let own = call.identity.owner.clone().filter(|_| asked.user.is_empty());
        let work = self.orchestrator.take_control(TakeControl {
            session: session.clone(),
            instance,
            user: own.unwrap_or(asked.user),
            ttl,
            force: asked.force,
            record: asked.record,
        });
        let lease = call.within(CALL_LIMIT, &format!("taking control of session {session}"), work).await?;
        Ok(Response::new(self.lease(&call, lease)))
    }

    async fn renew_control(
        &self,
        request: Request<RenewControlRequest>,
    ) -> Result<Response<ControlLease>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let (fence, ttl) = (fence(asked.fence)?, ttl(asked.ttl_ms)?);
        let instance = optional(&asked.instance_id)?;
        let session = self.session_of(&call, &asked.session_id)?.row.id;
        let doing = format!("renewing control of session {session}");
        let work = self.orchestrator.renew_control(ControlHandle { session, instance, fence }, ttl);
        let lease = call.within(CALL_LIMIT, &doing, work).await?;
        Ok(Response::new(self.lease(&call, lease)))
    }

    async fn release_control(
        &self,
        request: Request<ReleaseControlRequest>,
    ) -> Result<Response<ReleaseControlResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let fence = fence(asked.fence)?;
        let instance = optional(&asked.instance_id)?;
        let session = self.session_of(&call, &asked.session_id)?.row.id;
        let doing = format!("releasing control of session {session}");
        let handle = ControlHandle { session, instance, fence };
        let work = self.orchestrator.release_control(handle, asked.resume_policy);
        let demonstration_id = call.within(CALL_LIMIT, &doing, work).await?;
        Ok(Response::new(ReleaseControlResponse { demonstration_id }))
    }

    async fn list_demonstrations(
        &self,
        request: Request<ListDemonstrationsRequest>,
    ) -> Result<Response<ListDemonstrationsResponse>, Status> {
        let call = Call::of_client(&request)?;
        let session = self.session_of(&call, &request.get_ref().session_id)?.row.id;
        let rows = self.orchestrator.demonstrations(&session).map_err(|error| status::of(&error))?;
        let demonstrations = rows.into_iter().map(|row| row.demonstration).collect();
        Ok(Response::new(ListDemonstrationsResponse { demonstrations }))
    }

    async fn pause_session(
        &self,
        request: Request<PauseSessionRequest>,
    ) -> Result<Response<PauseSessionResponse>, Status> {
        let call = Call::of_client(&request)?;
        let session = self.session_of(&call, &request.get_ref().session_id)?.row.id;
        let work = self.orchestrator.pause(&session);
        call.within(CALL_LIMIT, &format!("pausing session {session}"), work).await?;
        Ok(Response::new(PauseSessionResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_are_refused_by_field() {
        for (status, field) in [
            (fence(-1).unwrap_err(), "fence"),
            (ttl(-1).unwrap_err(), "ttl_ms"),
            (phases(&[13]).unwrap_err(), "phases"),
            (phases(&[0]).unwrap_err(), "phases"),
        ] {
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().starts_with(field), "{}", status.message());
        }
        assert_eq!(phases(&[1, 5]).unwrap(), [Phase::Queued, Phase::Running]);
        assert_eq!(ttl(1500).unwrap(), Duration::from_millis(1500));
    }
}
