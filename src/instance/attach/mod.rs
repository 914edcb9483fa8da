//! The client end of `InstanceService.Attach`: an instance registers, beats, takes orders and answers them.
//!
//! The stream is kept for ever: when it breaks, it is made anew with a back-off of up to 1 s, and Hello says what the
//! instance still holds, so that the orchestrator takes it up again or has it dropped.

mod link;
#[cfg(test)]
pub(crate) mod office;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::proto::neuro::ext;

/// Orders and messages that may wait.
const WAITING: usize = 64;
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// A peer that answers no HTTP/2 ping is gone.
const PING_EVERY: Duration = Duration::from_secs(3);
const PING_LIMIT: Duration = Duration::from_secs(3);

/// What is wrong with the options.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Not a URL to connect to.
    #[error("orchestrator {url:?} is not a URL such as http://127.0.0.1:50051: {problem}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A key that cannot be sent.
    #[error("the key has characters that no header may carry")]
    Key,
}

/// Asked before every heartbeat; sequence number and session are filled in.
pub type Pulse = Arc<dyn Fn() -> ext::Heartbeat + Send + Sync>;

/// Whom to attach to and as what.
#[derive(Clone)]
pub struct AttachOptions {
    /// `http://HOST:PORT`, or `https://`.
    pub orchestrator: String,
    /// Sent as `authorization: Bearer`.
    pub key: Option<String>,
    /// PEM of who signed the orchestrator's certificate, for `https://`.
    pub ca_pem: Option<Vec<u8>>,
    /// Who this is; what it holds is filled in.
    pub hello: ext::Hello,
    /// How it does.
    pub pulse: Pulse,
}

/// What an instance runs, and under which fence: said in every Hello.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    /// Empty for none.
    pub session: String,
    /// Of the grant; the highest seen where there is no session.
    pub fence: i64,
}

/// Whether there is an orchestrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It accepted this instance.
    Here,
    /// Since then it is not there.
    AwaySince(Instant),
}

/// The instance's end. Dropping it ends the stream.
#[derive(Debug)]
pub struct Attachment {
    /// Orders in the order they came, `Accepted` excepted.
    pub orders: mpsc::Receiver<ext::Order>,
    /// For answers and news.
    pub voice: Voice,
    presence: watch::Receiver<Presence>,
    task: JoinHandle<()>,
}

/// Says things to the orchestrator. While it is away answers wait, of progress only the newest.
#[derive(Debug, Clone)]
pub struct Voice {
    messages: mpsc::Sender<ext::InstanceMessage>,
    holding: Arc<watch::Sender<Holding>>,
}

/// Begins to attach and goes on for ever.
///
/// # Errors
/// When the URL or the key is malformed: never because nobody is there.
pub fn attach(options: AttachOptions) -> Result<Attachment, AttachError> {
    let endpoint = endpoint(&options)?;
    let key = match &options.key {
        Some(key) => Some(bearer(key)?),
        None => None,
    };
    let (messages, said) = mpsc::channel(WAITING);
    let (orders_in, orders) = mpsc::channel(WAITING);
    let begun =
        Holding { session: options.hello.holding_session.clone(), fence: options.hello.holding_fence };
    let (holding_in, holding) = watch::channel(begun);
    let (presence_in, presence) = watch::channel(Presence::AwaySince(Instant::now()));
    let task = tokio::spawn(link::keep(link::Keeper {
        endpoint,
        key,
        hello: options.hello,
        pulse: options.pulse,
        said,
        orders: orders_in,
        holding,
        presence: presence_in,
    }));
    Ok(Attachment { orders, voice: Voice { messages, holding: Arc::new(holding_in) }, presence, task })
}

fn endpoint(options: &AttachOptions) -> Result<Endpoint, AttachError> {
    let wrong = |error: &dyn std::fmt::Display| AttachError::Url {
        url: options.orchestrator.clone(),
        problem: error.to_string(),
    };
    let scheme = options.orchestrator.split("://").next().unwrap_or_default();
    if !["http", "https"].contains(&scheme) {
        return Err(wrong(&"it does not begin with http:// or https://"));
    }
    let endpoint = Endpoint::from_shared(options.orchestrator.clone()).map_err(|error| wrong(&error))?;
    let endpoint = match scheme {
        "https" => {
            let tls = options
                .ca_pem
                .iter()
                .fold(ClientTlsConfig::new(), |tls, pem| tls.ca_certificate(Certificate::from_pem(pem)));
            endpoint.tls_config(tls).map_err(|error| wrong(&error))?
        }
        _ => endpoint,
    };
    Ok(endpoint
        .connect_timeout(CONNECT_LIMIT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
        .keep_alive_while_idle(true))
}

fn bearer(key: &str) -> Result<MetadataValue<Ascii>, AttachError> {
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {}", key.trim()).parse().map_err(|_| AttachError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

impl Attachment {
    /// Whether there is an orchestrator, now and whenever that changes.
    #[must_use]
    pub fn presence(&self) -> watch::Receiver<Presence> {
        self.presence.clone()
    }

    /// Resolves when there has been no orchestrator for `limit`: nobody will ever ask for this instance again.
    pub fn orphaned(&self, limit: Duration) -> impl Future<Output = ()> + Send + 'static {
        let mut presence = self.presence.clone();
        async move {
            loop {
                let now = *presence.borrow_and_update();
                let changed = match now {
                    Presence::Here => presence.changed().await,
                    Presence::AwaySince(since) => tokio::select! {
                        () = tokio::time::sleep_until(since + limit) => return,
                        changed = presence.changed() => changed,
                    },
                };
                if changed.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Voice {
    /// Remembers what this instance runs, for every Hello and heartbeat from now on.
    pub fn hold(&self, session: &str, fence: i64) {
        self.holding.send_replace(Holding { session: session.to_owned(), fence });
    }

    /// Remembers that it runs nothing; the fence stays the highest seen.
    pub fn release(&self) {
        self.holding.send_modify(|holding| holding.session.clear());
    }

    /// What it holds.
    #[must_use]
    pub fn holding(&self) -> Holding {
        self.holding.borrow().clone()
    }

    /// Answers an order: data, or why not.
    pub async fn answer(&self, order_id: i64, outcome: Result<HashMap<String, String>, String>) {
        let result = match outcome {
            Ok(data) => ext::OrderResult { order_id, ok: true, error: String::new(), data },
            Err(error) => ext::OrderResult { order_id, ok: false, error, data: HashMap::new() },
        };
        self.say(ext::instance_message::M::Result(result)).await;
    }

    /// Refuses an order: a sentence, and what a program may want to know (`code`, `fence`).
    pub async fn refuse(&self, order_id: i64, error: String, data: HashMap<String, String>) {
        let result = ext::OrderResult { order_id, ok: false, error, data };
        self.say(ext::instance_message::M::Result(result)).await;
    }

    /// How training goes. Never waits: where it cannot be said now, the next one will do.
    pub fn progress(&self, progress: ext::Progress) {
        let message = ext::InstanceMessage { m: Some(ext::instance_message::M::Progress(progress)) };
        drop(self.messages.try_send(message));
    }

    /// That it is over. Said again on every new stream for as long as the session is held: it must not get lost.
    pub async fn training_end(&self, end: ext::TrainingEnd) {
        self.say(ext::instance_message::M::TrainingEnd(end)).await;
    }

    /// Fails only when the attachment is dropped, and then nobody listens.
    async fn say(&self, message: ext::instance_message::M) {
        drop(self.messages.send(ext::InstanceMessage { m: Some(message) }).await);
    }
}
