//! A small fleet for tests: real books, real links, and simulators that speak the instance contract.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::routing::get;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fleet::books::Books;
use crate::fleet::control::{ControlOptions, Controls, PolicyDriver};
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::ledger::{Command, LedgerOptions, Notice, OpenSession};
use crate::fleet::link::Links;
use crate::fleet::rows::Phase;
use crate::fleet::settings;
use crate::fleet::spec::{Mode, Priority, SessionSpec, request_hash};
use crate::fleet::store::SqliteStore;
use crate::instance::contract::{FromRobot, Step, ToRobot};
use crate::proto::neuro::ext::{self, Controller};

/// What a simulator noticed.
#[derive(Debug, Default)]
pub struct Seen {
    /// Commands, and when they came.
    pub commands: Vec<(Instant, ToRobot)>,
    /// Who drives, as it was told.
    pub controllers: Vec<(Controller, String)>,
    /// Fences of its control websockets.
    pub fences: Vec<String>,
}

/// A simulator.
pub struct Simulator {
    pub id: InstanceId,
    pub seen: Arc<Mutex<Seen>>,
    hello: ext::Hello,
    /// Messages for whoever listens.
    says: tokio::sync::broadcast::Sender<FromRobot>,
    cut: tokio::sync::broadcast::Sender<()>,
    server: JoinHandle<()>,
    attached: Option<JoinHandle<()>>,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.server.abort();
        if let Some(attached) = &self.attached {
            attached.abort();
        }
    }
}

#[derive(Clone)]
struct Inside {
    seen: Arc<Mutex<Seen>>,
    says: tokio::sync::broadcast::Sender<FromRobot>,
    cut: tokio::sync::broadcast::Sender<()>,
}

async fn control(
    upgrade: WebSocketUpgrade,
    State(inside): State<Inside>,
    Path(_session): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> axum::response::Response {
    inside.seen.lock().unwrap().fences.push(query.get("fence").cloned().unwrap_or_default());
    upgrade.on_upgrade(async move |socket| robot(socket, inside).await)
}

async fn robot(mut socket: WebSocket, inside: Inside) {
    let mut says = inside.says.subscribe();
    let mut cut = inside.cut.subscribe();
    loop {
        tokio::select! {
            _ = cut.recv() => return,
            said = says.recv() => {
                let Ok(said) = said else { continue };
                if socket.send(Message::Text(serde_json::to_string(&said).unwrap().into())).await.is_err() {
                    return;
                }
            }
            heard = socket.recv() => match heard {
                Some(Ok(Message::Text(text))) => {
                    let command: ToRobot = serde_json::from_str(&text).unwrap();
                    inside.seen.lock().unwrap().commands.push((Instant::now(), command));
                }
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

impl Simulator {
    pub async fn start() -> Self {
        let (says, cut) = (tokio::sync::broadcast::Sender::new(1024), tokio::sync::broadcast::Sender::new(4));
        let inside = Inside { seen: Arc::default(), says, cut };
        let (seen, says, cut) = (Arc::clone(&inside.seen), inside.says.clone(), inside.cut.clone());
        let picture = || async { ([("content-type", "image/jpeg")], PICTURE.to_vec()) };
        let routes = Router::new()
            .route("/control/{session}", get(control))
            .route("/v1/sessions/{session}/frame.jpg", get(picture))
            .with_state(inside);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let id = InstanceId::new();
        let hello = ext::Hello {
            instance_id: id.to_string(),
            name: format!("sim-{}", address.port()),
            role: ext::Role::Simulator.into(),
            control_ws_url: format!("ws://{address}/control"),
            rest_url: format!("http://{address}"),
            stream_url: format!("http://{address}/stream"),
            zmq_endpoint: "tcp://127.0.0.1:5555".to_owned(),
            ..ext::Hello::default()
        };
        Self { id, seen, hello, says, cut, server, attached: None }
    }

    /// Attaches, and answers every order.
    pub async fn attach(&mut self, links: &Links) {
        let mut attachment = links.attach(self.hello.clone()).await.unwrap();
        let seen = Arc::clone(&self.seen);
        self.attached = Some(tokio::spawn(async move {
            while let Some(order) = attachment.orders.recv().await {
                if let Some(ext::order::O::Controller(set)) = &order.o {
                    seen.lock().unwrap().controllers.push((set.controller(), set.user.clone()));
                }
                let result = ext::OrderResult { order_id: order.order_id, ok: true, ..Default::default() };
                let m = Some(ext::instance_message::M::Result(result));
                if attachment.inbox.deliver(ext::InstanceMessage { m }).await.is_err() {
                    return;
                }
            }
        }));
    }

    pub fn say(&self, message: FromRobot) {
        self.says.send(message).ok();
    }

    pub fn step(&self, number: u32, controller: &str) {
        self.say(FromRobot::Step(Step {
            timestamp: i64::from(number) * 20_000_000,
            observation: vec![f64::from(number), 0.5],
            action: vec![1.0],
            reward: 1.0,
            done: false,
            controller: controller.to_owned(),
        }));
    }

    /// Breaks its control websockets.
    pub fn cut(&self) {
        self.cut.send(()).ok();
    }

    pub fn commands(&self) -> Vec<ToRobot> {
        self.seen.lock().unwrap().commands.iter().map(|(_, command)| command.clone()).collect()
    }

    pub fn controllers(&self) -> Vec<(Controller, String)> {
        self.seen.lock().unwrap().controllers.clone()
    }
}

pub const PICTURE: &[u8] = &[0xff, 0xd8, 0xff, 0xe0, 1, 2, 3, 0xff, 0xd9];

/// Books, links, driving, and a session of some mode on its simulators.
pub struct Fleet {
    pub folder: tempfile::TempDir,
    pub books: Books,
    pub links: Links,
    pub controls: Controls,
    pub session: SessionId,
    pub simulators: Vec<Simulator>,
    _notices: JoinHandle<()>,
}

/// How a test's fleet is.
pub struct Wish {
    pub mode: Mode,
    pub policy: String,
    pub human_demo: bool,
    pub settings: settings::Control,
    pub driver: Option<Arc<dyn PolicyDriver>>,
    pub simulators: u32,
    pub phase: Phase,
}

impl Default for Wish {
    fn default() -> Self {
        let settings = settings::Control { ttl_ms: 1500, ..settings::Control::default() };
        Self {
            mode: Mode::Manual,
            policy: String::new(),
            human_demo: false,
            settings,
            driver: None,
            simulators: 1,
            phase: Phase::Running,
        }
    }
}

impl Fleet {
    pub async fn manual() -> Self {
        Self::start(Wish::default()).await
    }

    pub async fn start(wish: Wish) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("fleet.db")).unwrap();
        let (books, notices) = Books::open(Box::new(store), LedgerOptions::default()).unwrap();
        let (links, reports) = Links::new(books.clone(), settings::Leases::default());
        let notices = tokio::spawn(forget(notices, reports));
        let mut simulators = Vec::new();
        for _ in 0..wish.simulators {
            let mut simulator = Simulator::start().await;
            simulator.attach(&links).await;
            simulators.push(simulator);
        }
        if wish.mode.trains() {
            let hello = ext::Hello {
                instance_id: InstanceId::new().to_string(),
                name: "trainer-1".to_owned(),
                role: ext::Role::Trainer.into(),
                ..ext::Hello::default()
            };
            let trainer = links.attach(hello).await.unwrap();
            tokio::spawn(async move {
                let mut trainer = trainer;
                while trainer.orders.recv().await.is_some() {}
            });
        }
        let options = ControlOptions {
            settings: wish.settings.clone(),
            data: folder.path().to_owned(),
            demonstrations: folder.path().join("demonstrations"),
            http_url: "http://127.0.0.1:8010".to_owned(),
            policy: wish.driver.clone(),
        };
        let controls = Controls::start(books.clone(), links.clone(), options).unwrap();
        let session: SessionId = uuid::Uuid::new_v4().to_string().parse().unwrap();
        let fleet = Self { folder, books, links, controls, session, simulators, _notices: notices };
        fleet.open(&fleet.session, &wish).await;
        fleet
    }

    async fn open(&self, session: &SessionId, wish: &Wish) {
        let spec = SessionSpec {
            simulators: wish.simulators,
            policy: wish.policy.clone(),
            instruction: "stand still".to_owned(),
            human_demo: wish.human_demo,
            ..SessionSpec::default()
        };
        let open = OpenSession {
            id: session.clone(),
            owner: "anna".to_owned(),
            mode: wish.mode,
            priority: Priority::Normal,
            gang: spec.gang(wish.mode),
            requires: BTreeMap::new(),
            request_hash: request_hash(wish.mode, "anna", &spec),
            spec: prost::Message::encode_to_vec(&spec),
            may_queue: true,
            restore_from: String::new(),
        };
        self.books.apply(Command::Open(open)).await.unwrap();
        self.advance(wish.phase).await;
    }

    pub async fn advance(&self, to: Phase) {
        let session = self.session.clone();
        let command = Command::Advance { session, from: Vec::new(), to, reason: "test".to_owned() };
        self.books.apply(command).await.unwrap();
    }

    pub async fn close(&self) {
        let session = self.session.clone();
        let (to, reason) = (Phase::Stopped, "test".to_owned());
        self.books.apply(Command::Close { session, to, reason, requeue_from: None }).await.unwrap();
    }

    /// As after a restart: the same books, nothing else.
    pub fn another_controls(&self) -> Controls {
        let options = ControlOptions {
            settings: settings::Control::default(),
            data: self.folder.path().to_owned(),
            demonstrations: self.folder.path().join("demonstrations"),
            http_url: "http://127.0.0.1:8010".to_owned(),
            policy: None,
        };
        Controls::start(self.books.clone(), self.links.clone(), options).unwrap()
    }

    /// The simulator of environment 0.
    pub fn simulator(&self) -> &Simulator {
        let first = self.books.read(|tables| {
            let members = tables.members(&self.session);
            members.into_iter().find(|member| member.role == crate::fleet::rows::Role::Simulator)
        });
        let id = first.unwrap().instance;
        self.simulators.iter().find(|simulator| simulator.id == id).unwrap()
    }
}

async fn forget(
    mut notices: mpsc::Receiver<Notice>,
    mut reports: mpsc::Receiver<crate::fleet::link::Report>,
) {
    loop {
        tokio::select! {
            notice = notices.recv() => if notice.is_none() { return },
            report = reports.recv() => if report.is_none() { return },
        }
    }
}

/// Waits until something is so; says what it was waiting for when it is not.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(8), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
