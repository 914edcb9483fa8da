//! One call from first attempt to last: permit, deadline, retries.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::connection::{Client, Connection, Connections};
use super::options::NurecOptions;
use super::status::{self, Cause};
use crate::render::RenderError;

/// What all calls to one service share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) options: NurecOptions,
    pub(super) place: String,
    pub(super) connections: Connections,
    permits: Semaphore,
}

impl Service {
    pub(super) fn new(options: NurecOptions, connections: Connections) -> Self {
        let place = format!("NuRec at {}", options.address());
        let permits = Semaphore::new(options.max_in_flight.max(1));
        Self { options, place, connections, permits }
    }

    /// Sends a message until it is answered, refused for good, or late. Dropping the future cancels the request on the
    /// wire.
    pub(super) async fn call<M, A, F, S>(&self, message: M, send: S) -> Result<A, RenderError>
    where
        M: Clone,
        S: Fn(Client, Request<M>) -> F,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let started = Instant::now();
        let limit = self.connections.current().deadline(&self.options);
        let permit = timeout_at(started + limit, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(self.late(limit));
        };
        let mut delays = self.options.retry_delays.iter();
        loop {
            let connection = self.connections.current();
            let limit = connection.deadline(&self.options);
            let until = started + limit;
            let mut request = Request::new(message.clone());
            request.set_timeout(until.saturating_duration_since(Instant::now()));
            let Ok(outcome) = timeout_at(until, send(connection.client(), request)).await else {
                self.connections.hangs(&connection);
                return Err(self.late(limit));
            };
            let status = match outcome {
                Ok(answer) => {
                    connection.answered();
                    return Ok(answer.into_inner());
                }
                Err(status) => status,
            };
            let cause = self.learn(&connection, &status, until);
            if cause == Cause::Late {
                return Err(self.late(limit));
            }
            let delay = if cause.worth_another_attempt() { delays.next() } else { None };
            match delay {
                Some(delay) if Instant::now() + *delay < until => tokio::time::sleep(*delay).await,
                _ => return Err(status::error(self.place.clone(), &status, cause)),
            }
        }
    }

    /// The transport ends requests by the same deadline and reports that as cancelled.
    fn learn(&self, connection: &Arc<Connection>, status: &Status, until: Instant) -> Cause {
        let cause = Cause::of(status);
        if cause == Cause::Broken && Instant::now() >= until {
            self.connections.hangs(connection);
            return Cause::Late;
        }
        if matches!(cause, Cause::Broken | Cause::NotListening) {
            self.connections.broke(connection);
        }
        cause
    }

    fn late(&self, limit: Duration) -> RenderError {
        RenderError::TimedOut { place: self.place.clone(), seconds: limit.as_secs_f64() }
    }
}
