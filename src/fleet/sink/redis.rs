//! Events into Redis Streams, for a platform that reads `events:session` and `events:training`. Nothing waits for Redis:
//! while it is away, events queue up to a bound, and those beyond are dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::StreamMaxlen;
use redis::{AsyncCommands, RedisError};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::words::{self, Published};
use crate::fleet::books::Books;
use crate::fleet::error::FleetError;
use crate::fleet::rows::{EventRow, Role};
use crate::fleet::url::websocket;

/// Events that wait for Redis.
const QUEUE: usize = 4096;
/// Entries kept of a stream, about.
const KEPT: usize = 100_000;
/// For one entry.
const WRITE_TIME: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RedisSink {
    queue: mpsc::Sender<Published>,
    books: Books,
    ws_url: Arc<str>,
    counts: Arc<Counts>,
}

/// What became of the events.
#[derive(Debug, Default)]
pub struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
}

impl RedisSink {
    /// Starts writing to `redis://host:port`. Needs a Tokio runtime; Redis need not be there yet.
    ///
    /// # Errors
    /// `Invalid` when the URL is none.
    pub fn start(url: &str, books: Books, http_url: &str) -> Result<Self, FleetError> {
        let client = redis::Client::open(url)
            .map_err(|error| FleetError::invalid("events.redis_url", format!("is no Redis URL: {error}")))?;
        let (queue, events) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        tokio::spawn(write(client, events, Arc::clone(&counts)));
        let ws_url = websocket(http_url).into();
        Ok(Self { queue, books, ws_url, counts })
    }

    /// Passes on what the platform wants to hear of an event. Never waits.
    pub fn note(&self, row: &EventRow) {
        let entries = self.books.read(|tables| {
            let Some(session) = tables.sessions.get(&row.session) else { return Vec::new() };
            let members = tables.members(&row.session);
            let first = members.iter().find(|member| member.role == Role::Simulator && member.env_index == 0);
            let simulator = first.and_then(|member| tables.instances.get(&member.instance));
            words::of(row, session, simulator, &self.ws_url)
        });
        for entry in entries {
            if self.queue.try_send(entry).is_err() {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Entries written, and entries dropped because too many waited.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.written.load(Ordering::Relaxed), self.counts.dropped.load(Ordering::Relaxed))
    }
}

async fn write(client: redis::Client, mut events: mpsc::Receiver<Published>, counts: Arc<Counts>) {
    let mut connection: Option<MultiplexedConnection> = None;
    while let Some(event) = events.recv().await {
        let mut wait = FIRST_WAIT;
        while let Err(error) = put(&client, &mut connection, &event).await {
            tracing::warn!("Redis does not take events: {error}; again in {} ms", wait.as_millis());
            connection = None;
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        counts.written.fetch_add(1, Ordering::Relaxed);
    }
}

async fn put(
    client: &redis::Client,
    connection: &mut Option<MultiplexedConnection>,
    event: &Published,
) -> Result<(), RedisError> {
    let writing = async {
        let open = match connection.take() {
            Some(open) => open,
            None => client.get_multiplexed_async_connection().await?,
        };
        let open = connection.insert(open);
        let fields = [
            ("event_type", event.event_type),
            ("payload", event.payload.as_str()),
            ("timestamp", event.timestamp.as_str()),
            ("aggregate_id", event.aggregate_id.as_str()),
        ];
        let _id: Option<String> =
            open.xadd_maxlen(event.stream, StreamMaxlen::Approx(KEPT), "*", &fields).await?;
        Ok(())
    };
    match tokio::time::timeout(WRITE_TIME, writing).await {
        Ok(written) => written,
        Err(_) => Err(RedisError::from((redis::ErrorKind::Io, "no answer in time"))),
    }
}
