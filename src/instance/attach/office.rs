//! An orchestrator's end of Attach, for tests alone: it accepts, orders, hangs up and disappears as a test wants.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::proto::neuro::ext::instance_message::M;
use crate::proto::neuro::ext::instance_service_server::{InstanceService, InstanceServiceServer};
use crate::proto::neuro::ext::{self, InstanceMessage, Order, order};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) type Orders = mpsc::Sender<Result<Order, Status>>;

/// Hands every stream to the test.
struct Desk {
    visits: mpsc::Sender<(Option<String>, Streaming<InstanceMessage>, Orders)>,
}

#[tonic::async_trait]
impl InstanceService for Desk {
    type AttachStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<Order, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<InstanceMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let key = request.metadata().get("authorization").map(|key| key.to_str().unwrap().to_owned());
        let (orders, stream) = mpsc::channel(8);
        self.visits.send((key, request.into_inner(), orders)).await.unwrap();
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

pub(crate) struct Office {
    pub address: SocketAddr,
    visits: mpsc::Receiver<(Option<String>, Streaming<InstanceMessage>, Orders)>,
    pub task: tokio::task::JoinHandle<()>,
}

/// On a given address, which may just have been another one's.
pub(crate) async fn open(address: &str) -> Office {
    let listener = loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let address = listener.local_addr().unwrap();
    let (sender, visits) = mpsc::channel(8);
    let server =
        tonic::transport::Server::builder().add_service(InstanceServiceServer::new(Desk { visits: sender }));
    let task =
        tokio::spawn(
            async move { server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap() },
        );
    Office { address, visits, task }
}

/// One stream, its Hello read and Accepted said.
pub(crate) struct Visit {
    pub key: Option<String>,
    pub hello: ext::Hello,
    messages: Streaming<InstanceMessage>,
    pub orders: Orders,
}

impl Office {
    /// The next stream.
    pub async fn visit(&mut self) -> Visit {
        let (key, mut messages, orders) = timeout(LIMIT, self.visits.recv()).await.unwrap().unwrap();
        let Some(M::Hello(hello)) = messages.message().await.unwrap().unwrap().m else {
            panic!("no Hello first")
        };
        orders
            .send(Ok(order(0, order::O::Accepted(ext::Accepted { interval_ms: 20, lease_ms: 100 }))))
            .await
            .unwrap();
        Visit { key, hello, messages, orders }
    }
}

impl Visit {
    /// The next message that `wanted` likes.
    pub async fn next(&mut self, wanted: impl Fn(&M) -> bool) -> M {
        let found = async {
            loop {
                let message = self.messages.message().await.unwrap().unwrap().m.unwrap();
                if wanted(&message) {
                    return message;
                }
            }
        };
        timeout(LIMIT, found).await.unwrap()
    }
}

/// Under fence 3.
pub(crate) fn order(order_id: i64, o: order::O) -> Order {
    Order { order_id, fence: 3, o: Some(o) }
}
