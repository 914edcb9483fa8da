//! The client: a [`Renderer`] whose pictures come over gRPC.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};

use super::call::Service;
use super::connection::Connections;
use super::options::{AddressError, NurecOptions};
use super::{picture, probe, request};
use crate::proto::nurec::common::Empty;
use crate::proto::nurec::sensorsim::{
    BatchRgbRenderRequest, BatchRgbRenderRequestItem, BatchRgbRenderReturn, BatchRgbRenderReturnItem,
    RgbRenderRequest,
};
use crate::render::{Frame, RenderError, Renderer, Shot};

/// What a service says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its release: `26.4.96`.
    pub version: String,
    /// The commit it was built from.
    pub git_hash: String,
    /// Major, minor and patch of its contract, where it says.
    pub api: Option<[u32; 3]>,
}

/// A NuRec service. Cheap to clone; clones share connection and limits.
#[derive(Debug, Clone)]
pub struct NurecClient {
    service: Arc<Service>,
}

type Outcome = Result<Frame, RenderError>;

impl NurecClient {
    /// Does not connect yet. Must run within a tokio runtime.
    ///
    /// # Errors
    /// When host and port make no address.
    pub fn new(options: NurecOptions) -> Result<Self, AddressError> {
        let connections = Connections::new(options.endpoint()?);
        Ok(Self { service: Arc::new(Service::new(options, connections)) })
    }

    /// Which release answers there.
    ///
    /// # Errors
    /// As a picture's.
    pub async fn version(&self) -> Result<Version, RenderError> {
        let answer = self
            .service
            .call(Empty {}, |mut client, request| async move { client.get_version(request).await })
            .await?;
        let api = answer.grpc_api_version.map(|api| [api.major, api.minor, api.patch]);
        Ok(Version { version: answer.version_id, git_hash: answer.git_hash, api })
    }

    /// The scenes it can draw.
    ///
    /// # Errors
    /// As a picture's.
    pub async fn scenes(&self) -> Result<Vec<String>, RenderError> {
        let send = |mut client: super::connection::Client, request| async move {
            client.get_available_scenes(request).await
        };
        Ok(self.service.call(Empty {}, send).await?.scene_ids)
    }
}

impl Renderer for NurecClient {
    fn name(&self) -> &'static str {
        "nurec"
    }

    fn place(&self) -> String {
        self.service.place.clone()
    }

    fn render(&self, shot: Shot) -> BoxFuture<'static, Outcome> {
        let service = Arc::clone(&self.service);
        Box::pin(async move { single(&service, &shot).await })
    }

    fn render_all(&self, shots: Vec<Shot>) -> BoxFuture<'static, Vec<Outcome>> {
        let service = Arc::clone(&self.service);
        Box::pin(async move {
            if service.options.batch && shots.len() > 1 {
                let connection = service.connections.current();
                if connection.takes_batches() {
                    match batch(&service, &shots).await {
                        Err(RenderError::Refused { status: "UNIMPLEMENTED", .. }) => {
                            connection.refused_batch();
                        }
                        Err(error) => return vec![Err(error); shots.len()],
                        Ok(drawn) => return drawn,
                    }
                }
            }
            join_all(shots.iter().map(|shot| single(&service, shot))).await
        })
    }

    fn reachable(&self) -> BoxFuture<'static, bool> {
        let address = self.service.options.address();
        Box::pin(async move { probe::speaks_http2(&address).await })
    }
}

async fn single(service: &Service, shot: &Shot) -> Outcome {
    let message: RgbRenderRequest = request::to_wire(shot);
    let answer =
        service.call(message, |mut client, request| async move { client.render_rgb(request).await }).await?;
    picture::check(answer.image_bytes, shot.encoding, &service.place)
}

/// The outer error is that of the batch as a whole.
async fn batch(service: &Service, shots: &[Shot]) -> Result<Vec<Outcome>, RenderError> {
    let names = item_names(shots);
    let items = names.iter().zip(shots).map(|(name, shot)| BatchRgbRenderRequestItem {
        camera_name: name.clone(),
        request: Some(request::to_wire(shot)),
    });
    let message = BatchRgbRenderRequest { items: items.collect() };
    let BatchRgbRenderReturn { items } = service
        .call(message, |mut client, request| async move { client.batch_render_rgb(request).await })
        .await?;
    let mut answers: HashMap<String, BatchRgbRenderReturnItem> =
        items.into_iter().map(|item| (item.camera_name.clone(), item)).collect();
    let drawn = names.iter().zip(shots).map(|(name, shot)| item(service, answers.remove(name), shot));
    Ok(drawn.collect())
}

/// Camera names, made unique where one camera is asked for twice.
fn item_names(shots: &[Shot]) -> Vec<String> {
    let named = shots.iter().enumerate().map(|(index, shot)| {
        let earlier = shots.iter().take(index).any(|other| other.camera_name == shot.camera_name);
        if earlier { format!("{}#{index}", shot.camera_name) } else { shot.camera_name.clone() }
    });
    named.collect()
}

fn item(service: &Service, answer: Option<BatchRgbRenderReturnItem>, shot: &Shot) -> Outcome {
    let failed =
        |message: String| RenderError::Refused { place: service.place.clone(), status: "FAILED", message };
    match answer {
        None => Err(failed(format!("its batch has no picture of camera {:?}", shot.camera_name))),
        Some(item) if !item.success => {
            let said = item.error_message.trim();
            let without = format!("camera {:?} without a word; check its log", shot.camera_name);
            Err(failed(if said.is_empty() { without } else { said.to_owned() }))
        }
        Some(item) => {
            let bytes = item.result.unwrap_or_default().image_bytes;
            picture::check(bytes, shot.encoding, &service.place)
        }
    }
}
