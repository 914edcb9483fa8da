//! The orchestrator's orders, as they come over the stream, carried out as REST's are.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use tokio::time::sleep;

use super::error::SimulatorError;
use super::handle::Simulator;
use crate::instance::attach::Attachment;
use crate::instance::contract::{
    self, Load, Obstacle, Position, ScenePatch, SetController, SnapshotTo, Start,
};
use crate::proto::neuro::common;
use crate::proto::neuro::ext::{self, order::O};

/// How long the last answer gets to leave, before the stream ends with whoever holds it.
const FAREWELL: Duration = Duration::from_millis(200);

/// Carries out orders until the orchestrator says to end; answers why.
pub async fn obey(simulator: &Simulator, attachment: &mut Attachment) -> String {
    while let Some(order) = attachment.orders.recv().await {
        let (id, fence) = (order.order_id, order.fence);
        if let Some(O::Terminate(ext::Terminate { reason })) = &order.o {
            attachment.voice.answer(id, Ok(HashMap::new())).await;
            sleep(FAREWELL).await;
            return reason.clone();
        }
        let outcome = carry_out(simulator, order).await;
        let vitals = simulator.vitals();
        let (session, highest) = {
            let vitals = vitals.borrow();
            (vitals.session.clone(), i64::try_from(vitals.fence).unwrap_or(i64::MAX))
        };
        if session.is_empty() {
            attachment.voice.release();
        } else {
            attachment.voice.hold(&session, highest);
        }
        match outcome {
            Ok(data) => attachment.voice.answer(id, Ok(data)).await,
            Err(error) => {
                tracing::warn!(order = id, fence, %error, "an order was refused");
                let mut data = HashMap::from([("code".to_owned(), error.code().to_owned())]);
                data.extend(error.fence().map(|fence| ("fence".to_owned(), fence.to_string())));
                attachment.voice.refuse(id, error.to_string(), data).await;
            }
        }
    }
    "the attachment ended".to_owned()
}

/// Carries out one order under its fence.
async fn carry_out(
    simulator: &Simulator,
    order: ext::Order,
) -> Result<HashMap<String, String>, SimulatorError> {
    let fence = u64::try_from(order.fence)
        .map_err(|_| SimulatorError::Invalid(format!("fence {} is below 0", order.fence)))?;
    let id = simulator.vitals().borrow().session.clone();
    let mut data = HashMap::new();
    match order.o {
        Some(O::Load(load)) => {
            let scene: common::GrpcSceneConfig = decode("scene_config", &load.scene_config)?;
            let stream: common::GrpcStreamConfig = decode("stream_config", &load.stream_config)?;
            let order = Load { fence, scene_config: (&scene).into(), stream_config: (&stream).into() };
            let paths = simulator.load(&load.session_id, order).await?;
            data.insert("prim_paths".to_owned(), listed(&paths));
        }
        Some(O::Start(ext::Start { real_time, time_scale })) => {
            simulator.run(&id, Start { fence, real_time, time_scale }).await?;
        }
        Some(O::Pause(_)) => simulator.pause(&id, fence).await?,
        Some(O::Stop(ext::Stop { cleanup: true, .. })) => simulator.clear(fence).await?,
        Some(O::Stop(_)) => simulator.stop(&id, fence).await?,
        Some(O::Controller(order)) => {
            let controller = match order.controller() {
                ext::Controller::Policy => "policy",
                ext::Controller::Human => "human",
                ext::Controller::None | ext::Controller::Unspecified => "none",
            };
            let order = SetController { fence, controller: controller.to_owned(), user: order.user };
            simulator.drive(&id, order).await?;
        }
        Some(O::Update(update)) => {
            let paths = simulator.change(&id, patch(fence, &update)?).await?;
            data.insert("prim_paths".to_owned(), listed(&paths));
        }
        Some(O::Snapshot(ext::Snapshot { uri, .. })) => {
            let saved = simulator.snapshot(&id, SnapshotTo { fence, uri }).await?;
            data.insert("uri".to_owned(), saved.uri);
            data.insert("size_bytes".to_owned(), saved.size_bytes.to_string());
            data.insert("sha256".to_owned(), saved.sha256);
        }
        Some(O::Restore(ext::RestoreScene { uri })) => {
            simulator.restore(&id, SnapshotTo { fence, uri }).await?;
        }
        Some(O::Train(_) | O::ReplaceEnv(_) | O::LearnFrom(_)) => {
            return Err(SimulatorError::Invalid("a simulator does not train".to_owned()));
        }
        Some(O::Accepted(_) | O::Terminate(_)) | None => {}
    }
    Ok(data)
}

fn patch(fence: u64, update: &ext::UpdateScene) -> Result<ScenePatch, SimulatorError> {
    let obstacle = |bytes: &Vec<u8>| {
        let obstacle: common::GrpcObstacle = decode("add", bytes)?;
        Ok(Obstacle::from(&obstacle))
    };
    let position = match update.robot_position.as_slice() {
        [] => None,
        bytes => {
            let position: common::GrpcPosition = decode("robot_position", bytes)?;
            Some(Position::from(&position))
        }
    };
    Ok(ScenePatch {
        fence,
        add: update.add.iter().map(obstacle).collect::<Result<_, SimulatorError>>()?,
        remove: update.remove.clone(),
        robot_position: position,
    })
}

fn decode<T: Message + Default>(field: &str, bytes: &[u8]) -> Result<T, SimulatorError> {
    T::decode(bytes).map_err(|error| SimulatorError::Invalid(format!("{field} cannot be read: {error}")))
}

fn listed(paths: &contract::PrimPaths) -> String {
    serde_json::to_string(&paths.prim_paths).unwrap_or_default()
}
