//! An instance that attaches, does what it is told at once, and remembers what it was told.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::link::{Ask, Links};
use crate::fleet::rows::Role;
use crate::proto::neuro::ext::{self, instance_message::M};

/// Which orders are refused, and with what.
type Refusal = (fn(&Ask) -> bool, String);

/// What a process has in memory.
#[derive(Debug, Default)]
struct State {
    holding: Option<(String, i64)>,
    orders: Vec<(u64, Ask)>,
    refuses: Option<Refusal>,
    say: Vec<M>,
    keeps_in: Option<String>,
}

/// A made-up instance.
#[derive(Debug)]
pub struct Fake {
    pub id: InstanceId,
    pub name: String,
    role: Role,
    labels: Vec<(String, String)>,
    state: Arc<Mutex<State>>,
    stream: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn new(name: &str, role: Role) -> Self {
        Self {
            id: InstanceId::new(),
            name: name.to_owned(),
            role,
            labels: Vec::new(),
            state: Arc::default(),
            stream: None,
        }
    }

    /// Refuses orders of a kind, with a sentence.
    pub fn refuse(&self, which: fn(&Ask) -> bool, sentence: &str) {
        self.state.lock().unwrap().refuses = Some((which, sentence.to_owned()));
    }

    /// Opens its stream (again).
    pub async fn attach(&mut self, links: &Links) {
        self.detach();
        let (holding_session, holding_fence) = self.state.lock().unwrap().holding.clone().unwrap_or_default();
        let role = match self.role {
            Role::Simulator => ext::Role::Simulator,
            Role::Trainer => ext::Role::Trainer,
        };
        let zmq_endpoint = if self.role == Role::Simulator {
            format!("tcp://127.0.0.1:{}", 5000 + self.id.0.as_u128() % 1000)
        } else {
            String::new()
        };
        let hello = ext::Hello {
            instance_id: self.id.to_string(),
            name: self.name.clone(),
            role: role.into(),
            version: "1".to_owned(),
            zmq_endpoint,
            labels: self.labels.iter().cloned().collect(),
            holding_session,
            holding_fence,
            ..ext::Hello::default()
        };
        let mut attachment = links.attach(hello).await.unwrap();
        let state = Arc::clone(&self.state);
        self.stream = Some(tokio::spawn(async move {
            let mut beats = tokio::time::interval(Duration::from_millis(50));
            loop {
                let mut say = Vec::new();
                tokio::select! {
                    order = attachment.orders.recv() => {
                        let Some(order) = order else { return };
                        say.extend(obey(&state, order));
                    }
                    _ = beats.tick() => {
                        let mut state = state.lock().unwrap();
                        let session_id = state.holding.clone().unwrap_or_default().0;
                        say.append(&mut state.say);
                        say.push(M::Heartbeat(ext::Heartbeat { session_id, ..ext::Heartbeat::default() }));
                    }
                }
                for m in say {
                    if attachment.inbox.deliver(ext::InstanceMessage { m: Some(m) }).await.is_err() {
                        return;
                    }
                }
            }
        }));
    }

    /// Its stream breaks; the process goes on.
    pub fn detach(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.abort();
        }
    }

    /// Its process is gone with all that it had.
    pub fn kill(&mut self) {
        self.detach();
        self.state.lock().unwrap().holding = None;
    }

    /// Says something on its own, with its next heartbeat.
    pub fn say(&self, message: M) {
        self.state.lock().unwrap().say.push(message);
    }

    /// Orders so far, by name.
    pub fn orders(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().orders.iter().map(|(_, ask)| name(ask)).collect()
    }

    /// How many orders of a name it got.
    pub fn count(&self, wanted: &str) -> usize {
        self.orders().iter().filter(|name| **name == wanted).count()
    }

    /// The last order of a name.
    pub fn last(&self, wanted: &str) -> Option<Ask> {
        let state = self.state.lock().unwrap();
        state.orders.iter().rev().find(|(_, ask)| name(ask) == wanted).map(|(_, ask)| ask.clone())
    }

    /// The work a trainer was last given.
    pub fn work(&self) -> Option<ext::Train> {
        match self.last("train") {
            Some(Ask::Train(work)) => Some(work),
            _ => None,
        }
    }

    /// Whether it runs this session.
    pub fn runs(&self, session: &SessionId) -> bool {
        self.state.lock().unwrap().holding.as_ref().is_some_and(|(holding, _)| holding == session.as_str())
    }

    /// Whether it runs any.
    pub fn busy(&self) -> bool {
        self.state.lock().unwrap().holding.is_some()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.detach();
    }
}

fn obey(state: &Mutex<State>, order: ext::Order) -> Option<M> {
    let (Some(ask), fence) = (order.o, order.fence) else { return None };
    if matches!(ask, Ask::Accepted(_)) {
        return None;
    }
    let mut state = state.lock().unwrap();
    let idle = state.holding.is_none() && matches!(ask, Ask::Stop(_));
    if !idle {
        state.orders.push((u64::try_from(fence).unwrap(), ask.clone()));
    }
    let mut result = ext::OrderResult { order_id: order.order_id, ok: true, ..ext::OrderResult::default() };
    if let Some((which, sentence)) = &state.refuses
        && which(&ask)
    {
        result.ok = false;
        result.error.clone_from(sentence);
        return Some(M::Result(result));
    }
    match ask {
        Ask::Load(load) => state.holding = Some((load.session_id, fence)),
        Ask::Train(work) => {
            state.holding = Some((work.session_id, fence));
            state.keeps_in = Some(work.checkpoint_uri);
        }
        Ask::Stop(stop) if stop.cleanup => state.holding = None,
        Ask::Stop(_) => {
            // A trainer keeps what it has.
            if let Some(folder) = &state.keeps_in {
                let path = Path::new(folder.strip_prefix("file://").unwrap()).join("checkpoint-9");
                std::fs::write(&path, b"weights").unwrap();
                result.data.insert("checkpoint_uri".to_owned(), format!("file://{}", path.display()));
            }
        }
        Ask::Update(update) => {
            let paths: Vec<String> =
                (0..update.add.len()).map(|index| format!("/World/Obstacles/obstacle_{index}")).collect();
            result.data.insert("prim_paths".to_owned(), serde_json::to_string(&paths).unwrap());
        }
        Ask::Snapshot(snapshot) => {
            let path = Path::new(snapshot.uri.strip_prefix("file://").unwrap()).to_owned();
            if snapshot.checkpoint {
                std::fs::create_dir_all(&path).unwrap();
                std::fs::write(path.join("weights"), b"weights").unwrap();
            } else {
                std::fs::write(&path, b"{\"scene\":1}").unwrap();
            }
            result.data.insert("uri".to_owned(), snapshot.uri);
        }
        _ => {}
    }
    Some(M::Result(result))
}

fn name(ask: &Ask) -> &'static str {
    match ask {
        Ask::Load(_) => "load",
        Ask::Start(_) => "start",
        Ask::Stop(_) => "stop",
        Ask::Controller(_) => "controller",
        Ask::Snapshot(_) => "snapshot",
        Ask::Train(_) => "train",
        Ask::Accepted(_) => "accepted",
        Ask::Terminate(_) => "terminate",
        Ask::Update(_) => "update",
        Ask::Pause(_) => "pause",
        Ask::ReplaceEnv(_) => "replace_env",
        Ask::Restore(_) => "restore",
        Ask::LearnFrom(_) => "learn_from",
    }
}
