//! The calls of the contract.

use std::sync::Arc;

use futures_util::future::join_all;
use tonic::{Request, Response, Status};
use tracing::{debug, info};

use super::{SceneShelf, SensorsimService, answers, status};
use crate::proto::nurec::common::version_id::ApiVersion;
use crate::proto::nurec::common::{AvailableScenesReturn, Empty, VersionId};
use crate::proto::nurec::sensorsim::{
    AggregatedRenderRequest, AggregatedRenderReturn, AvailableCamerasRequest, AvailableCamerasReturn,
    AvailableEgoMasksReturn, AvailableTrajectoriesRequest, AvailableTrajectoriesReturn,
    BatchRgbRenderRequest, BatchRgbRenderReturn, BatchRgbRenderReturnItem, LidarRenderRequest,
    LidarRenderReturn, LoadedSceneEntry, LoadedScenesReturn, RgbRenderRequest, RgbRenderReturn,
    sensorsim_service_server,
};

const NO_LIDAR: &str = "lidar sweeps are not offered; ask for pictures alone";

type Answer<T> = Result<Response<T>, Status>;

impl SensorsimService {
    /// Draws what can be drawn, all together; one outcome a request.
    async fn pictures(&self, requests: &[RgbRenderRequest]) -> Vec<Result<RgbRenderReturn, Status>> {
        let shots = join_all(requests.iter().map(|request| self.shot(request))).await;
        let drawable = shots.iter().filter_map(|shot| shot.as_ref().ok()).cloned().collect();
        let mut drawn = self.renderer.render_all(drawable).await.into_iter();
        let outcomes = shots.into_iter().map(|shot| {
            shot?;
            match drawn.next() {
                Some(Ok(frame)) => Ok(RgbRenderReturn { image_bytes: frame.bytes }),
                Some(Err(error)) => Err(status::of_render(&error)),
                None => Err(Status::internal("the renderer left this picture out")),
            }
        });
        outcomes.collect()
    }
}

#[tonic::async_trait]
impl sensorsim_service_server::SensorsimService for SensorsimService {
    async fn render_rgb(&self, request: Request<RgbRenderRequest>) -> Answer<RgbRenderReturn> {
        let _room = self.room(1)?;
        let shot = self.shot(request.get_ref()).await?;
        debug!(scene = shot.scene_id, camera = shot.camera_name, start_us = shot.shutter_us[0], "drawing");
        let frame = self.renderer.render(shot).await.map_err(|error| status::of_render(&error))?;
        Ok(Response::new(RgbRenderReturn { image_bytes: frame.bytes }))
    }

    async fn batch_render_rgb(
        &self,
        request: Request<BatchRgbRenderRequest>,
    ) -> Answer<BatchRgbRenderReturn> {
        let items = request.into_inner().items;
        let _room = self.room(items.len())?;
        let (names, requests): (Vec<_>, Vec<_>) =
            items.into_iter().map(|item| (item.camera_name, item.request.unwrap_or_default())).unzip();
        let drawn = self.pictures(&requests).await;
        let items = names.into_iter().zip(drawn).map(|(camera_name, outcome)| match outcome {
            Ok(result) => BatchRgbRenderReturnItem {
                camera_name,
                result: Some(result),
                success: true,
                error_message: String::new(),
            },
            Err(status) => BatchRgbRenderReturnItem {
                camera_name,
                result: None,
                success: false,
                error_message: status.message().to_owned(),
            },
        });
        Ok(Response::new(BatchRgbRenderReturn { items: items.collect() }))
    }

    async fn render_aggregated(
        &self,
        request: Request<AggregatedRenderRequest>,
    ) -> Answer<AggregatedRenderReturn> {
        let request = request.into_inner();
        if !request.lidar_requests.is_empty() {
            return Err(Status::unimplemented(NO_LIDAR));
        }
        let _room = self.room(request.rgb_requests.len())?;
        let drawn = self.pictures(&request.rgb_requests).await;
        let rgb_returns = drawn.into_iter().collect::<Result<_, Status>>()?;
        Ok(Response::new(AggregatedRenderReturn { rgb_returns, ..AggregatedRenderReturn::default() }))
    }

    async fn render_lidar(&self, _: Request<LidarRenderRequest>) -> Answer<LidarRenderReturn> {
        Err(Status::unimplemented(NO_LIDAR))
    }

    async fn get_version(&self, _: Request<Empty>) -> Answer<VersionId> {
        let version_id = format!("neuro {} ({})", env!("CARGO_PKG_VERSION"), self.renderer.name());
        let grpc_api_version = Some(ApiVersion { major: 1, minor: 0, patch: 0 });
        Ok(Response::new(VersionId { version_id, git_hash: String::new(), grpc_api_version }))
    }

    async fn get_available_scenes(&self, _: Request<Empty>) -> Answer<AvailableScenesReturn> {
        let scene_ids = SceneShelf::ids(&self.shelf).await.map_err(|error| status::of_shelf(&error))?;
        Ok(Response::new(AvailableScenesReturn { scene_ids }))
    }

    async fn get_loaded_scenes(&self, _: Request<Empty>) -> Answer<LoadedScenesReturn> {
        let scenes = self.shelf.loaded().into_iter().map(|scene_id| LoadedSceneEntry {
            scene_id,
            loaded_instance_count: 1,
            reusable_instance_count: 1,
        });
        let loaded_instance_capacity = self.shelf.capacity() as u64;
        Ok(Response::new(LoadedScenesReturn { scenes: scenes.collect(), loaded_instance_capacity }))
    }

    async fn get_available_cameras(
        &self,
        request: Request<AvailableCamerasRequest>,
    ) -> Answer<AvailableCamerasReturn> {
        let scenario = self.scene(&request.get_ref().scene_id).await?;
        Ok(Response::new(answers::cameras(&scenario)))
    }

    async fn get_available_trajectories(
        &self,
        request: Request<AvailableTrajectoriesRequest>,
    ) -> Answer<AvailableTrajectoriesReturn> {
        let scenario = self.scene(&request.get_ref().scene_id).await?;
        Ok(Response::new(answers::trajectories(&scenario)))
    }

    async fn get_available_ego_masks(&self, _: Request<Empty>) -> Answer<AvailableEgoMasksReturn> {
        Ok(Response::new(AvailableEgoMasksReturn::default()))
    }

    async fn shut_down(&self, _: Request<Empty>) -> Answer<Empty> {
        let Some(shut_down) = self.shut_down.as_ref().map(Arc::clone) else {
            let message = "clients may not end this server; start it with --allow-shut-down if they should";
            return Err(Status::permission_denied(message));
        };
        info!("a client asked to shut down");
        shut_down.notify_one();
        Ok(Response::new(Empty {}))
    }
}
