//! `resource.ResourceService`: what the machine has and who holds it, as the first document has it.

use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use super::call::{CALL_LIMIT, Call};
use super::{Edge, older, show, status};
use crate::fleet::request::SessionFilter;
use crate::fleet::rows::{Phase, ended};
use crate::fleet::{FleetError, gpu};
use crate::proto::neuro::common::Empty;
use crate::proto::neuro::resource::resource_service_server::ResourceService;
use crate::proto::neuro::resource::{
    GpuStatus, ReleaseResourcesRequest, ReleaseResourcesResponse, SessionList, gpu_status,
};

/// Sessions asked for at once.
const PAGE: u32 = 1000;

/// Every phase of a session that has not ended.
pub(super) fn active_phases() -> Vec<Phase> {
    let all = (1..).map_while(|number| Phase::try_from(number).ok());
    all.filter(|phase| !ended(*phase)).collect()
}

#[tonic::async_trait]
impl ResourceService for Edge {
    async fn get_gpu_status(&self, request: Request<Empty>) -> Result<Response<GpuStatus>, Status> {
        let call = Call::of_client(&request)?;
        let read = async { tokio::task::spawn_blocking(gpu::report).await.map_err(FleetError::internal) };
        let report = call.within(CALL_LIMIT, "reading the GPUs", read).await?;
        let gpus = report.gpus.into_iter().map(|gpu| gpu_status::Gpu {
            id: gpu.index,
            name: gpu.name,
            utilization: gpu.utilization,
            memory_total_mb: gpu.memory_total_mb,
            memory_used_mb: gpu.memory_used_mb,
            temperature: gpu.temperature_c,
            power_usage_watts: gpu.power_watts.round() as i32,
        });
        let mut response = Response::new(GpuStatus { gpus: gpus.collect() });
        // The message has no field for it.
        if let Ok(reason) =
            MetadataValue::try_from(report.reason.replace(|letter: char| !letter.is_ascii_graphic(), " "))
            && !report.reason.is_empty()
        {
            response.metadata_mut().insert("neuro-reason", reason);
        }
        Ok(response)
    }

    async fn list_active_sessions(&self, request: Request<Empty>) -> Result<Response<SessionList>, Status> {
        let call = Call::of_client(&request)?;
        let mut filter = SessionFilter {
            owner: call.own_or(String::new()),
            phases: active_phases(),
            page_size: PAGE,
            page_token: String::new(),
        };
        let mut list = SessionList::default();
        loop {
            let page = self.orchestrator.sessions(filter.clone()).map_err(|error| status::of(&error))?;
            for view in page.sessions {
                let id = view.row.id.to_string();
                list.statuses.insert(id.clone(), older::status(show::session_status(&view)));
                list.session_ids.push(id);
            }
            if page.next_page_token.is_empty() {
                return Ok(Response::new(list));
            }
            filter.page_token = page.next_page_token;
        }
    }

    async fn release_resources(
        &self,
        request: Request<ReleaseResourcesRequest>,
    ) -> Result<Response<ReleaseResourcesResponse>, Status> {
        let call = Call::of_client(&request)?;
        let (message, _) = self.stop(&call, &request.get_ref().session_id, true).await?;
        Ok(Response::new(ReleaseResourcesResponse { success: true, message }))
    }
}
