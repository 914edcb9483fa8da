//! `neuro.ext.v1.InstanceService`: simulators and trainers register, report and take orders over one stream.

use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::call::{CALL_LIMIT, Call, invalid};
use super::{Edge, status};
use crate::fleet::FleetError;
use crate::fleet::link::Inbox;
use crate::proto::neuro::ext::instance_message::M;
use crate::proto::neuro::ext::instance_service_server::InstanceService;
use crate::proto::neuro::ext::{Hello, InstanceMessage, Order};

/// How long an instance may take to say who it is.
const FIRST_WORD: Duration = Duration::from_secs(10);

type Orders = BoxStream<'static, Result<Order, Status>>;

async fn hello(messages: &mut Streaming<InstanceMessage>) -> Result<Hello, Status> {
    let late = || {
        let message = format!("no hello came within {} s", FIRST_WORD.as_secs());
        status::of(&FleetError::Deadline(message))
    };
    let first = tokio::time::timeout(FIRST_WORD, messages.message()).await.map_err(|_| late())??;
    match first.and_then(|first| first.m) {
        Some(M::Hello(hello)) => Ok(hello),
        Some(_) => Err(invalid("hello", "is missing: it comes before anything else")),
        None => Err(invalid("hello", "is missing: the stream said nothing")),
    }
}

/// Hands on what an instance says, until its stream or its place ends. Dropping the inbox starts the lease clock.
async fn listen(mut messages: Streaming<InstanceMessage>, inbox: Inbox) {
    while let Ok(Some(message)) = messages.message().await {
        if inbox.deliver(message).await.is_err() {
            return;
        }
    }
}

#[tonic::async_trait]
impl InstanceService for Edge {
    type AttachStream = Orders;

    async fn attach(
        &self,
        request: Request<Streaming<InstanceMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let call = Call::of(&request)?;
        call.identity.may_attach().map_err(|error| status::of(&error))?;
        let mut messages = request.into_inner();
        let hello = hello(&mut messages).await?;
        let work = self.orchestrator.links().attach(hello);
        let attachment = call.within(CALL_LIMIT, "attaching", work).await?;
        tokio::spawn(listen(messages, attachment.inbox));
        Ok(Response::new(self.until_stop(ReceiverStream::new(attachment.orders).map(Ok))))
    }
}
