//! `neuro.ext.v1.InstanceService`: simulators and trainers register, report and take orders over one stream.

use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::call::Call;
use super::{Edge, status};
use crate::proto::neuro::ext::instance_service_server::InstanceService;
use crate::proto::neuro::ext::{InstanceMessage, Order};

type Orders = BoxStream<'static, Result<Order, Status>>;

#[tonic::async_trait]
impl InstanceService for Edge {
    type AttachStream = Orders;

    async fn attach(
        &self,
        request: Request<Streaming<InstanceMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let call = Call::of(&request)?;
        call.identity.may_attach().map_err(|error| status::of(&error))?;
        Err(Status::unavailable("not built in yet"))
    }
}
