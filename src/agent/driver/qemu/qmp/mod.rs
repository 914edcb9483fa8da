//! QEMU's monitor: one connection, commands by number, events to whoever listens.
//!
//! A monitor serves one client at a time and lets others wait without a word. So every QEMU here has two, and whoever does
//! not hear the greeting of the first in time takes the second.

mod message;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

pub use message::{Event, Lines, Malformed, Message, read_all};

/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(10);

/// Why a monitor did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QmpError {
    /// Nobody listens there, or the connection broke.
    #[error("monitor: {0}")]
    Gone(String),
    /// It says nothing.
    #[error("monitor: no answer to {0} in time")]
    Slow(String),
    /// It says what is no message.
    #[error("monitor: {0}")]
    Malformed(#[from] Malformed),
    /// It says no.
    #[error("monitor: {command}: {text}")]
    Refused {
        /// What it was told.
        command: String,
        /// `GenericError`, ...
        class: String,
        /// Its words.
        text: String,
    },
}

/// A connection. Clones share it.
#[derive(Debug, Clone)]
pub struct Qmp {
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<Event>,
    closed: watch::Receiver<Option<QmpError>>,
    shutdown: watch::Receiver<Option<String>>,
    version: String,
}

#[derive(Debug)]
struct Command {
    name: &'static str,
    arguments: Value,
    answer: Answer,
}

impl Qmp {
    /// Connects and agrees on capabilities, all within `limit`.
    ///
    /// # Errors
    /// Nobody listens, somebody else is served, or it is no monitor.
    pub async fn connect(socket: &Path, limit: Duration) -> Result<Self, QmpError> {
        timeout(limit, Self::greet(socket))
            .await
            .unwrap_or_else(|_| Err(QmpError::Slow("a connection".to_owned())))
    }

    async fn greet(socket: &Path) -> Result<Self, QmpError> {
        let stream = UnixStream::connect(socket).await.map_err(gone)?;
        let (mut input, output) = stream.into_split();
        let mut lines = Lines::default();
        let version = loop {
            match lines.next_message()? {
                Some(Message::Greeting { version }) => break version,
                Some(_) => {}
                None => read(&mut input, &mut lines).await?,
            }
        };
        let (commands, queue) = mpsc::channel(16);
        let events = broadcast::channel(64).0;
        let (closing, closed) = watch::channel(None);
        let (why, shutdown) = watch::channel(None);
        let task = Task { lines, events: events.clone(), why, waiting: HashMap::new(), next: 1 };
        tokio::spawn(async move {
            let error = task.run(input, output, queue).await;
            closing.send_replace(Some(error));
        });
        let monitor = Self { commands, events, closed, shutdown, version };
        monitor.execute("qmp_capabilities", Value::Null).await?;
        Ok(monitor)
    }

    /// `7.2.22`
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Has the connection not broken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closed.borrow().is_none()
    }

    /// Returns when the connection has broken.
    pub async fn closed(&self) {
        drop(self.closed.clone().wait_for(Option::is_some).await);
    }

    /// Returns when QEMU has been told to end, by a signal or another monitor: then it says that its machine was shut
    /// down, as it does when a guest switches itself off.
    pub async fn ending(&self) {
        let its_own =
            |reason: &Option<String>| reason.as_ref().is_some_and(|reason| reason.starts_with("host-"));
        if self.shutdown.clone().wait_for(its_own).await.is_err() {
            // The connection has broken before.
            std::future::pending::<()>().await;
        }
    }

    /// Events from now on. One who listens too slowly misses some.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Has a command carried out. `arguments` may be null.
    ///
    /// # Errors
    /// It refuses, says nothing, or is gone.
    pub async fn execute(&self, name: &'static str, arguments: Value) -> Result<Value, QmpError> {
        let (answer, answered) = oneshot::channel();
        let broken =
            || self.closed.borrow().clone().unwrap_or_else(|| QmpError::Gone("connection closed".to_owned()));
        let asked = async {
            self.commands.send(Command { name, arguments, answer }).await.map_err(|_| broken())?;
            answered.await.unwrap_or_else(|_| Err(broken()))
        };
        timeout(COMMAND, asked).await.unwrap_or_else(|_| Err(QmpError::Slow(name.to_owned())))
    }
}

/// Who waits for an answer.
type Answer = oneshot::Sender<Result<Value, QmpError>>;

/// What owns the connection.
struct Task {
    lines: Lines,
    events: broadcast::Sender<Event>,
    why: watch::Sender<Option<String>>,
    waiting: HashMap<u64, (&'static str, Answer)>,
    next: u64,
}

impl Task {
    /// Until it breaks, or nobody holds it any more.
    async fn run(
        mut self,
        mut input: OwnedReadHalf,
        mut output: OwnedWriteHalf,
        mut queue: mpsc::Receiver<Command>,
    ) -> QmpError {
        loop {
            loop {
                match self.lines.next_message() {
                    Ok(Some(message)) => self.take(message),
                    Ok(None) => break,
                    Err(error) => return error.into(),
                }
            }
            tokio::select! {
                read = read(&mut input, &mut self.lines) => {
                    if let Err(error) = read {
                        return error;
                    }
                }
                command = queue.recv() => {
                    let Some(command) = command else { return QmpError::Gone("nobody wants it".to_owned()) };
                    if let Err(error) = output.write_all(&self.write(command)).await {
                        return gone(error);
                    }
                }
            }
        }
    }

    fn write(&mut self, command: Command) -> Vec<u8> {
        let mut line = json!({ "execute": command.name, "id": self.next });
        if let (Some(object), false) = (line.as_object_mut(), command.arguments.is_null()) {
            object.insert("arguments".to_owned(), command.arguments);
        }
        // Those whose callers went away.
        self.waiting.retain(|_, (_, answer)| !answer.is_closed());
        self.waiting.insert(self.next, (command.name, command.answer));
        self.next += 1;
        let mut bytes = line.to_string().into_bytes();
        bytes.push(b'\n');
        bytes
    }

    fn take(&mut self, message: Message) {
        let (id, answer) = match message {
            Message::Greeting { .. } => return,
            Message::Event(event) => {
                if event.name == "SHUTDOWN" {
                    self.why.send_replace(event.data["reason"].as_str().map(str::to_owned));
                }
                // Nobody may be listening.
                drop(self.events.send(event));
                return;
            }
            Message::Return { id, value } => (id, Ok(value)),
            Message::Refused { id, class, text } => (id, Err((class, text))),
        };
        if let Some((name, caller)) = id.and_then(|id| self.waiting.remove(&id)) {
            let answer =
                answer.map_err(|(class, text)| QmpError::Refused { command: name.to_owned(), class, text });
            drop(caller.send(answer));
        }
    }
}

fn gone(error: std::io::Error) -> QmpError {
    QmpError::Gone(error.to_string())
}

async fn read(input: &mut OwnedReadHalf, lines: &mut Lines) -> Result<(), QmpError> {
    let mut bytes = [0; 8192];
    match input.read(&mut bytes).await.map_err(gone)? {
        0 => Err(QmpError::Gone("connection closed".to_owned())),
        count => {
            lines.push(bytes.get(..count).unwrap_or_default());
            Ok(())
        }
    }
}
