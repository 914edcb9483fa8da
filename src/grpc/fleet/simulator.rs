//! `isaac_sim.IsaacSimService`: the simulator of a session, as the first document has it.

use tonic::{Request, Response, Status, Streaming};

use super::call::{CALL_LIMIT, Call, session_id};
use super::{Edge, older, robot, show, status};
use crate::fleet::FleetError;
use crate::fleet::request::{CreateSession, SceneChange};
use crate::fleet::spec::Mode;
use crate::proto::neuro::common::SessionStatus;
use crate::proto::neuro::isaac_sim::isaac_sim_service_server::IsaacSimService;
use crate::proto::neuro::isaac_sim::{
    CreateSessionRequest, CreateSessionResponse, GetSessionStatusRequest, GetStreamEndpointRequest,
    HealthCheckRequest, HealthCheckResponse, RobotAction, StartSimulationRequest, StartSimulationResponse,
    StopSimulationRequest, StopSimulationResponse, StreamEndpoint, UpdateSceneRequest, UpdateSceneResponse,
};

#[tonic::async_trait]
impl IsaacSimService for Edge {
    async fn create_session(
        &self,
        request: Request<CreateSessionRequest>,
    ) -> Result<Response<CreateSessionResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let request = CreateSession {
            scene: asked.scene_config.map(older::scene),
            stream: asked.stream_config.map(older::stream),
            ..super::request::of(session_id(&asked.session_id)?, Mode::Manual)
        };
        let view = Box::pin(self.create(&call, request)).await?;
        let endpoint = show::stream_endpoint(&view, &self.addresses(&call));
        Ok(Response::new(CreateSessionResponse {
            success: true,
            message: format!("session {} is {}", view.row.id, view.row.phase.as_str_name()),
            session_id: view.row.id.to_string(),
            status: Some(older::status(show::session_status(&view))),
            stream_endpoint: endpoint.map(older::endpoint),
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

    async fn stop_simulation(
        &self,
        request: Request<StopSimulationRequest>,
    ) -> Result<Response<StopSimulationResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let (message, _) = self.stop(&call, &asked.session_id, asked.cleanup).await?;
        Ok(Response::new(StopSimulationResponse { success: true, message }))
    }

    async fn get_session_status(
        &self,
        request: Request<GetSessionStatusRequest>,
    ) -> Result<Response<SessionStatus>, Status> {
        let call = Call::of_client(&request)?;
        let view = self.session_of(&call, &request.get_ref().session_id)?;
        Ok(Response::new(older::status(show::session_status(&view))))
    }

    async fn update_scene(
        &self,
        request: Request<UpdateSceneRequest>,
    ) -> Result<Response<UpdateSceneResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        for (index, path) in asked.obstacles_to_remove.iter().enumerate() {
            // What a client sends that still has numbers there: same field, same wire type.
            if path.chars().any(char::is_control) {
                return Err(super::call::invalid(
                    format!("obstacles_to_remove[{index}]"),
                    "holds control characters: it is a list of prim paths, not of numbers",
                ));
            }
        }
        let session = self.session_of(&call, &asked.session_id)?.row.id;
        let change = SceneChange {
            add: asked.obstacles_to_add.into_iter().map(older::obstacle).collect(),
            remove: asked.obstacles_to_remove,
            robot_position: asked.robot_position.map(older::position),
        };
        let work = self.orchestrator.update_scene(&session, change);
        let added =
            call.within(CALL_LIMIT, &format!("changing the scene of session {session}"), work).await?;
        let message = if added.is_empty() { String::new() } else { format!("added {}", added.join(", ")) };
        Ok(Response::new(UpdateSceneResponse { success: true, message }))
    }

    async fn get_stream_endpoint(
        &self,
        request: Request<GetStreamEndpointRequest>,
    ) -> Result<Response<StreamEndpoint>, Status> {
        let call = Call::of_client(&request)?;
        let view = self.session_of(&call, &request.get_ref().session_id)?;
        let none = || {
            let message = format!(
                "session {} is {} and has no simulator whose pictures could be seen",
                view.row.id,
                view.row.phase.as_str_name()
            );
            status::of(&FleetError::Precondition(message))
        };
        let endpoint = show::stream_endpoint(&view, &self.addresses(&call)).ok_or_else(none)?;
        Ok(Response::new(older::endpoint(endpoint)))
    }

    async fn health_check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Call::of(&request)?;
        let health = self.well()?;
        Ok(Response::new(HealthCheckResponse {
            healthy: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            active_sessions: show::narrow(health.active_sessions),
        }))
    }

    type StreamRobotControlStream = robot::States;

    async fn stream_robot_control(
        &self,
        request: Request<Streaming<RobotAction>>,
    ) -> Result<Response<Self::StreamRobotControlStream>, Status> {
        robot::stream(self, request).map(Response::new)
    }
}
