//! `neuro.NeuroOrchestratorService`: sessions in three modes, as the published client asks for them.

use std::collections::BTreeSet;
use std::time::Duration;

use tonic::{Request, Response, Status};

use super::call::{CALL_LIMIT, Call, invalid, session_id};
use super::show;
use super::{Edge, snapshots, status};
use crate::fleet::access::Identity;
use crate::fleet::request::{CreateSession, RestoreSnapshot, SaveSnapshot};
use crate::fleet::spec::Mode;
use crate::fleet::view::SessionView;
use crate::proto::neuro::orchestrator::neuro_orchestrator_service_server::NeuroOrchestratorService;
use crate::proto::neuro::orchestrator::{
    CreateHybridSessionRequest, CreateHybridSessionResponse, CreateSessionRequest, CreateSessionResponse,
    CreateTrainingSessionRequest, CreateTrainingSessionResponse, GetOmniverseConnectionInfoRequest,
    GetOmniverseConnectionInfoResponse, GetSessionStatusRequest, GrpcManualModeStatus, HealthCheckRequest,
    HealthCheckResponse, ResourcePoolStatusRequest, ResourcePoolStatusResponse,
    RestoreSessionSnapshotRequest, RestoreSessionSnapshotResponse, SaveSessionSnapshotRequest,
    SaveSessionSnapshotResponse, SessionMode, SessionStatusResponse, StartSimulationRequest,
    StartSimulationResponse, StopSessionRequest, StopSessionResponse,
};

/// How long a snapshot may take: checkpoints are large.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(300);

/// The mode of a request against the one its rpc makes. 0 is what a client sends that sets none.
fn agrees(sent: i32, mode: Mode) -> Result<(), Status> {
    let expected = show::mode(mode);
    if sent == 0 || sent == i32::from(expected) {
        return Ok(());
    }
    let shown =
        SessionMode::try_from(sent).map_or_else(|_| sent.to_string(), |known| known.as_str_name().to_owned());
    Err(invalid(
        "mode",
        format!("is {shown}; this rpc makes {} sessions: expected {} or 0", mode, expected.as_str_name()),
    ))
}

impl Edge {
    /// The pools, with the names of the caller's own sessions only.
    fn pools(&self, caller: &Identity, simulators: bool, trainers: bool) -> ResourcePoolStatusResponse {
        let mut shown = show::pools(&self.orchestrator.pools(), simulators, trainers);
        let own: BTreeSet<String> = self.orchestrator.books().read(|tables| {
            let rows = tables.sessions.values().filter(|row| caller.sees(&row.owner));
            rows.map(|row| row.id.to_string()).collect()
        });
        for one in shown.isaac_pool.iter_mut().flat_map(|pool| &mut pool.instances) {
            if !own.contains(&one.session_id) {
                one.session_id.clear();
                one.paired_with.clear();
            }
        }
        for one in shown.training_pool.iter_mut().flat_map(|pool| &mut pool.instances) {
            if !own.contains(&one.session_id) {
                one.session_id.clear();
            }
        }
        shown
    }

    /// Makes, finds or upgrades a session for a caller.
    pub(super) async fn create(
        &self,
        call: &Call,
        mut request: CreateSession,
    ) -> Result<SessionView, Status> {
        let limit = self.create_limit();
        request.wait = call.wait(limit);
        request.options.clone_from(&call.options);
        // The orchestrator keeps to `wait`; the deadline is for the books and the links behind it.
        let doing = format!("session {}", request.id);
        let work = self.orchestrator.create(request);
        self.unless_stopping(call.within(limit.saturating_add(CALL_LIMIT), &doing, work)).await
    }
}

#[tonic::async_trait]
impl NeuroOrchestratorService for Edge {
    async fn create_session(
        &self,
        request: Request<CreateSessionRequest>,
    ) -> Result<Response<CreateSessionResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        agrees(asked.mode, Mode::Manual)?;
        let request = CreateSession {
            scene: asked.scene_config,
            stream: asked.stream_config,
            ..super::request::of(session_id(&asked.session_id)?, Mode::Manual)
        };
        let view = Box::pin(self.create(&call, request)).await?;
        let addresses = self.addresses(&call);
        Ok(Response::new(CreateSessionResponse {
            success: true,
            message: format!("session {} is {}", view.row.id, view.row.phase.as_str_name()),
            session_id: view.row.id.to_string(),
            instance_id: show::instance_ids(&view).into_iter().next().unwrap_or_default(),
            control_ws_url: addresses.own(&view.control_ws_url),
            webrtc_signaling_url: addresses.own(&view.webrtc_signaling_url),
            status: Some(show::session_status(&view)),
            stream_endpoint: show::stream_endpoint(&view, &addresses),
            nucleus_path: view.nucleus_path,
        }))
    }

    async fn create_training_session(
        &self,
        request: Request<CreateTrainingSessionRequest>,
    ) -> Result<Response<CreateTrainingSessionResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        agrees(asked.mode, Mode::Training)?;
        let request = CreateSession {
            scene: asked.scene_config,
            training: asked.training_config,
            resources: asked.resource_requirements,
            ..super::request::of(session_id(&asked.session_id)?, Mode::Training)
        };
        let view = Box::pin(self.create(&call, request)).await?;
        let addresses = self.addresses(&call);
        Ok(Response::new(CreateTrainingSessionResponse {
            success: true,
            message: format!("session {} is {}", view.row.id, view.row.phase.as_str_name()),
            session_id: view.row.id.to_string(),
            training_instance_id: show::trainer_id(&view),
            isaac_instance_ids: show::instance_ids(&view),
            allocated_gpu_ids: show::allocated_gpus(&view),
            zmq_channels: show::zmq_channels(&view),
            training_status: show::training_status(&view).into(),
            debug_ws_url: addresses.own(&view.debug_ws_url),
        }))
    }

    async fn create_hybrid_session(
        &self,
        request: Request<CreateHybridSessionRequest>,
    ) -> Result<Response<CreateHybridSessionResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        agrees(asked.mode, Mode::Hybrid)?;
        let request = CreateSession {
            scene: asked.scene_config,
            training: asked.training_config,
            resources: asked.resource_requirements,
            human_demo: asked.enable_human_demo,
            ..super::request::of(session_id(&asked.session_id)?, Mode::Hybrid)
        };
        let view = Box::pin(self.create(&call, request)).await?;
        let addresses = self.addresses(&call);
        Ok(Response::new(CreateHybridSessionResponse {
            success: true,
            message: format!("session {} is {}", view.row.id, view.row.phase.as_str_name()),
            session_id: view.row.id.to_string(),
            training_instance_id: show::trainer_id(&view),
            isaac_instance_ids: show::instance_ids(&view),
            webrtc_signaling_url: addresses.own(&view.webrtc_signaling_url),
            control_mode_switch_url: addresses.own(&view.control_mode_switch_url),
            training_status: show::training_status(&view).into(),
        }))
    }

    async fn start_simulation(
        &self,
        request: Request<StartSimulationRequest>,
    ) -> Result<Response<StartSimulationResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let message = self.start(&call, &asked.session_id, asked.real_time, asked.time_scale).await?;
        Ok(Response::new(StartSimulationResponse { success: true, message }))
    }

    async fn stop_session(
        &self,
        request: Request<StopSessionRequest>,
    ) -> Result<Response<StopSessionResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let (message, released_instances) = self.stop(&call, &asked.session_id, asked.cleanup).await?;
        Ok(Response::new(StopSessionResponse { success: true, message, released_instances }))
    }

    async fn save_session_snapshot(
        &self,
        request: Request<SaveSessionSnapshotRequest>,
    ) -> Result<Response<SaveSessionSnapshotResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let session = self.session_of(&call, &asked.session_id)?.row.id;
        let work = self.orchestrator.save_snapshot(SaveSnapshot {
            session: session.clone(),
            base_path: asked.nucleus_base_path,
            checkpoint: asked.save_checkpoint,
            metadata: asked.metadata.clone().into_iter().collect(),
        });
        let row = call.within(SNAPSHOT_LIMIT, &format!("the snapshot of session {session}"), work).await?;
        Ok(Response::new(SaveSessionSnapshotResponse {
            success: true,
            message: format!("session {session} is saved as {}", row.id),
            snapshot_info: Some(snapshots::info(&row, asked.metadata)),
        }))
    }

    async fn restore_session_snapshot(
        &self,
        request: Request<RestoreSessionSnapshotRequest>,
    ) -> Result<Response<RestoreSessionSnapshotResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let session = session_id(&asked.session_id)?;
        // A session that is gone is made again; one that is there must be the caller's.
        if self.orchestrator.peek(&session).is_ok() {
            self.session_of(&call, &asked.session_id)?;
        }
        let work = self.orchestrator.restore_snapshot(RestoreSnapshot {
            session: session.clone(),
            snapshot_id: asked.snapshot_id,
            path: asked.nucleus_snapshot_path,
            checkpoint: asked.restore_checkpoint,
            caller: call.identity.clone(),
        });
        let view = call.within(SNAPSHOT_LIMIT, &format!("restoring session {session}"), work).await?;
        Ok(Response::new(RestoreSessionSnapshotResponse {
            success: true,
            message: format!("session {session} is restored and {}", view.row.phase.as_str_name()),
            isaac_instance_ids: show::instance_ids(&view),
            training_instance_id: show::trainer_id(&view),
        }))
    }

    async fn get_omniverse_connection_info(
        &self,
        request: Request<GetOmniverseConnectionInfoRequest>,
    ) -> Result<Response<GetOmniverseConnectionInfoResponse>, Status> {
        let call = Call::of_client(&request)?;
        let session = self.session_of(&call, &request.get_ref().session_id)?.row.id;
        let info = self.orchestrator.omniverse(&session).map_err(|error| status::of(&error))?;
        Ok(Response::new(GetOmniverseConnectionInfoResponse {
            success: true,
            message: String::new(),
            connection_info: Some(info),
        }))
    }

    async fn get_session_status(
        &self,
        request: Request<GetSessionStatusRequest>,
    ) -> Result<Response<SessionStatusResponse>, Status> {
        let call = Call::of_client(&request)?;
        let view = self.session_of(&call, &request.get_ref().session_id)?;
        let by_hand = matches!(view.row.mode, Mode::Manual | Mode::Hybrid);
        let manual_status = by_hand.then(|| GrpcManualModeStatus {
            instance_id: show::instance_ids(&view).into_iter().next().unwrap_or_default(),
            frontend_connected: view.frontend_connected,
            last_command_timestamp: view.last_command_ms,
        });
        Ok(Response::new(SessionStatusResponse {
            session_id: view.row.id.to_string(),
            mode: show::mode(view.row.mode).into(),
            session_status: Some(show::session_status(&view)),
            manual_status,
            training_status: view.row.mode.trains().then(|| show::training_mode_status(&view)),
        }))
    }

    async fn get_resource_pool_status(
        &self,
        request: Request<ResourcePoolStatusRequest>,
    ) -> Result<Response<ResourcePoolStatusResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let shown = self.pools(&call.identity, asked.include_isaac_pool, asked.include_training_pool);
        Ok(Response::new(shown))
    }

    /// Clients take any answer for health, so a fleet that is not well gives none.
    async fn health_check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let call = Call::of(&request)?;
        let health = self.well()?;
        let detailed = request.get_ref().detailed;
        Ok(Response::new(HealthCheckResponse {
            healthy: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            active_sessions: show::narrow(health.active_sessions),
            resource_status: detailed.then(|| self.pools(&call.identity, true, true)),
        }))
    }
}
