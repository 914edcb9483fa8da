//! `neuro.ext.v1.PoolAdminService`: for operators.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::Edge;
use super::call::{CALL_LIMIT, Call, count, invalid, optional, session_id};
use crate::fleet::rows::Quota;
use crate::proto::neuro::ext::pool_admin_service_server::PoolAdminService;
use crate::proto::neuro::ext::{
    DrainRequest, DrainResponse, PreemptRequest, PreemptResponse, SetQuotaRequest, SetQuotaResponse,
    UndrainRequest, UndrainResponse,
};

/// How long a preempted session may take to write its checkpoint.
const PREEMPT_LIMIT: Duration = Duration::from_secs(300);

fn quota(asked: &SetQuotaRequest) -> Result<Quota, Status> {
    let hours = asked.gpu_hours_per_month;
    if !hours.is_finite() || hours < 0.0 {
        return Err(invalid(
            "gpu_hours_per_month",
            format!("is {hours}; expected 0 or more, where 0 is no limit"),
        ));
    }
    Ok(Quota {
        max_sessions: count("max_sessions", asked.max_sessions)?,
        max_simulators: count("max_simulators", asked.max_simulators)?,
        max_training_gpus: count("max_training_gpus", asked.max_training_gpus)?,
        gpu_hours_per_month: hours,
        weight: count("weight", asked.weight)?.max(1),
    })
}

#[tonic::async_trait]
impl PoolAdminService for Edge {
    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        let call = Call::of_operator(&request)?;
        let asked = request.into_inner();
        let deadline = Duration::from_secs(count("deadline_s", asked.deadline_s)?.into());
        let work = self.orchestrator.drain(optional(&asked.instance_id)?, deadline, asked.force);
        let sessions = call.within(CALL_LIMIT, "draining", work).await?;
        let sessions = sessions.iter().map(ToString::to_string).collect();
        Ok(Response::new(DrainResponse { sessions }))
    }

    async fn undrain(&self, request: Request<UndrainRequest>) -> Result<Response<UndrainResponse>, Status> {
        let call = Call::of_operator(&request)?;
        let work = self.orchestrator.undrain(optional(&request.get_ref().instance_id)?);
        call.within(CALL_LIMIT, "ending the drain", work).await?;
        Ok(Response::new(UndrainResponse {}))
    }

    async fn set_quota(
        &self,
        request: Request<SetQuotaRequest>,
    ) -> Result<Response<SetQuotaResponse>, Status> {
        let call = Call::of_operator(&request)?;
        let asked = request.into_inner();
        if asked.owner.is_empty() {
            return Err(invalid("owner", "is empty; expected whose quota it is"));
        }
        let quota = quota(&asked)?;
        let work = self.orchestrator.set_quota(&asked.owner, quota);
        call.within(CALL_LIMIT, "setting the quota", work).await?;
        Ok(Response::new(SetQuotaResponse {}))
    }

    async fn preempt(&self, request: Request<PreemptRequest>) -> Result<Response<PreemptResponse>, Status> {
        let call = Call::of_operator(&request)?;
        let asked = request.into_inner();
        let session = session_id(&asked.session_id)?;
        let reason = if asked.reason.is_empty() { "an operator preempted it" } else { asked.reason.as_str() };
        let work = self.orchestrator.preempt(&session, reason, asked.save_checkpoint);
        let snapshot_id = call.within(PREEMPT_LIMIT, &format!("preempting session {session}"), work).await?;
        Ok(Response::new(PreemptResponse { snapshot_id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_without_a_weight_has_the_usual_one() {
        let asked = SetQuotaRequest { owner: "ada".into(), max_sessions: 3, ..SetQuotaRequest::default() };
        assert_eq!(quota(&asked).unwrap(), Quota { max_sessions: 3, ..Quota::default() });
    }

    #[test]
    fn limits_below_nothing_are_refused_by_field() {
        let wrong = [
            (SetQuotaRequest { max_sessions: -1, ..SetQuotaRequest::default() }, "max_sessions"),
            (SetQuotaRequest { max_simulators: -1, ..SetQuotaRequest::default() }, "max_simulators"),
            (SetQuotaRequest { max_training_gpus: -1, ..SetQuotaRequest::default() }, "max_training_gpus"),
            (SetQuotaRequest { weight: -1, ..SetQuotaRequest::default() }, "weight"),
            (
                SetQuotaRequest { gpu_hours_per_month: -0.5, ..SetQuotaRequest::default() },
                "gpu_hours_per_month",
            ),
            (
                SetQuotaRequest { gpu_hours_per_month: f64::NAN, ..SetQuotaRequest::default() },
                "gpu_hours_per_month",
            ),
        ];
        for (asked, field) in wrong {
            assert!(quota(&asked).unwrap_err().message().starts_with(field), "{field}");
        }
    }
}
