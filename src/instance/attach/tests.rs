//! Against a real gRPC server that accepts, orders, hangs up and disappears.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::{AttachError, AttachOptions, Attachment, Presence, attach};
use crate::proto::neuro::ext::instance_message::M;
use crate::proto::neuro::ext::instance_service_server::{InstanceService, InstanceServiceServer};
use crate::proto::neuro::ext::{self, InstanceMessage, Order, order};

const LIMIT: Duration = Duration::from_secs(10);

type Orders = mpsc::Sender<Result<Order, Status>>;

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

struct Office {
    address: SocketAddr,
    visits: mpsc::Receiver<(Option<String>, Streaming<InstanceMessage>, Orders)>,
    task: tokio::task::JoinHandle<()>,
}

async fn open(address: &str) -> Office {
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

struct Visit {
    key: Option<String>,
    hello: ext::Hello,
    messages: Streaming<InstanceMessage>,
    orders: Orders,
}

impl Office {
    async fn visit(&mut self) -> Visit {
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
    async fn next(&mut self, wanted: impl Fn(&M) -> bool) -> M {
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

fn order(order_id: i64, o: order::O) -> Order {
    Order { order_id, fence: 3, o: Some(o) }
}

fn options(address: SocketAddr) -> AttachOptions {
    AttachOptions {
        orchestrator: format!("http://{address}"),
        key: Some("secret\n".to_owned()),
        ca_pem: None,
        hello: ext::Hello { name: "isaac-sim-1".to_owned(), ..Default::default() },
        pulse: Arc::new(|| ext::Heartbeat { fps: 60.0, ..Default::default() }),
    }
}

async fn here(attachment: &Attachment) {
    timeout(LIMIT, attachment.presence().wait_for(|now| *now == Presence::Here)).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_instance_registers_beats_obeys_and_answers() {
    let mut office = open("127.0.0.1:0").await;
    let mut attachment = attach(options(office.address)).unwrap();
    let mut visit = office.visit().await;
    assert_eq!(visit.key.as_deref(), Some("Bearer secret"));
    assert_eq!(visit.hello.name, "isaac-sim-1");
    here(&attachment).await;
    attachment.voice.hold("s-1", 3);
    for least in [1, 2] {
        let M::Heartbeat(beat) = visit.next(|m| matches!(m, M::Heartbeat(b) if b.session_id == "s-1")).await
        else {
            panic!()
        };
        assert!(beat.seq >= least && beat.fps == 60.0, "{beat:?}");
    }
    visit.orders.send(Ok(order(9, order::O::Pause(ext::Pause {})))).await.unwrap();
    let got = timeout(LIMIT, attachment.orders.recv()).await.unwrap().unwrap();
    assert_eq!((got.order_id, got.fence), (9, 3));
    attachment.voice.answer(9, Err("not now".to_owned())).await;
    let M::Result(result) = visit.next(|m| matches!(m, M::Result(_))).await else { panic!() };
    assert_eq!((result.order_id, result.ok, result.error.as_str()), (9, false, "not now"));
}

#[tokio::test]
async fn after_a_restart_it_says_what_it_holds_and_what_was_not_heard() {
    let mut office = open("127.0.0.1:0").await;
    let attachment = attach(options(office.address)).unwrap();
    let visit = office.visit().await;
    here(&attachment).await;
    attachment.voice.hold("s-1", 7);
    let address = office.address.to_string();
    office.task.abort();
    drop((visit, office));
    let gone = attachment.presence().wait_for(|now| *now != Presence::Here).await.is_ok();
    assert!(gone);
    for episode in 1..=3 {
        attachment.voice.progress(ext::Progress { episode, ..Default::default() });
    }
    attachment.voice.answer(4, Ok(Default::default())).await;
    attachment.voice.training_end(ext::TrainingEnd { success: true, ..Default::default() }).await;
    let mut office = open(&address).await;
    let mut visit = office.visit().await;
    assert_eq!((visit.hello.holding_session.as_str(), visit.hello.holding_fence), ("s-1", 7));
    let M::Progress(progress) = visit.next(|m| matches!(m, M::Progress(_))).await else { panic!() };
    assert_eq!(progress.episode, 3, "of progress only the newest");
    visit.next(|m| matches!(m, M::Result(result) if result.order_id == 4)).await;
}

#[tokio::test]
async fn the_end_of_training_is_said_on_every_stream_while_its_session_is_held() {
    let mut office = open("127.0.0.1:0").await;
    let attachment = attach(options(office.address)).unwrap();
    let mut visit = office.visit().await;
    attachment.voice.hold("s-1", 7);
    attachment.voice.training_end(ext::TrainingEnd { success: true, ..Default::default() }).await;
    visit.next(|m| matches!(m, M::TrainingEnd(_))).await;
    visit.orders.send(Err(Status::unavailable("restarting"))).await.unwrap();
    drop(visit);
    let mut visit = office.visit().await;
    visit.next(|m| matches!(m, M::TrainingEnd(_))).await;
    attachment.voice.release();
    drop(visit);
    let mut visit = office.visit().await;
    assert_eq!((visit.hello.holding_session.as_str(), visit.hello.holding_fence), ("", 7));
    for _ in 0..3 {
        visit
            .next(|m| {
                assert!(!matches!(m, M::TrainingEnd(_)), "of a session that is not held");
                matches!(m, M::Heartbeat(_))
            })
            .await;
    }
}

#[tokio::test]
async fn without_an_orchestrator_the_orphan_limit_runs_out_and_with_one_it_does_not() {
    let mut office = open("127.0.0.1:0").await;
    let attachment = attach(options(office.address)).unwrap();
    let visit = office.visit().await;
    here(&attachment).await;
    let limit = Duration::from_millis(300);
    let orphaned = attachment.orphaned(limit);
    tokio::pin!(orphaned);
    assert!(timeout(limit * 2, &mut orphaned).await.is_err());
    office.task.abort();
    drop((visit, office));
    timeout(LIMIT, orphaned).await.unwrap();
}

#[tokio::test]
async fn a_half_open_connection_is_noticed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut attachment = options(listener.local_addr().unwrap());
    attachment.key = None;
    let attachment = attach(attachment).unwrap();
    let presence = attachment.presence();
    // Takes connections and never says a word: the second try shows that the first was given up.
    let first = timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    timeout(LIMIT * 2, listener.accept()).await.unwrap().unwrap();
    drop(first);
    assert!(matches!(*presence.borrow(), Presence::AwaySince(_)));
}

#[tokio::test]
async fn a_url_or_key_that_cannot_be_used_is_refused_at_once() {
    let address = "127.0.0.1:1".parse().unwrap();
    for url in ["127.0.0.1:50051", "ftp://h:1", "http://", ""] {
        let wrong = AttachOptions { orchestrator: url.to_owned(), ..options(address) };
        assert!(matches!(attach(wrong), Err(AttachError::Url { .. })), "{url:?}");
    }
    let wrong = AttachOptions { key: Some("a\nb".to_owned()), ..options(address) };
    assert!(matches!(attach(wrong), Err(AttachError::Key)));
}
