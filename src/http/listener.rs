//! Accepting connections within limits. `axum::serve` has no timer, so a client that sends its headers one byte an
//! hour would keep its connection for ever; here a head must be complete in time, and connections are counted.
//!
//! At the limit the next connection waits in the kernel's backlog instead of being reset: idle connections end at
//! the same timeout, so a place comes free.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceBuilder;

/// Pause after the system refuses a connection for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Limits of the connections of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections open at once, websockets not counted.
    pub max_connections: usize,
    /// A request's head must be complete this long after the connection is open or its last answer is sent.
    pub headers_timeout: Duration,
}

/// Serves until `stop` is done, then lets running requests finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ListenOptions,
    stop: impl Future<Output = ()>,
) {
    accept(listener, |_| router.clone(), options, stop).await;
}

/// As [`serve`]; handlers find the caller's address as `ConnectInfo<SocketAddr>`.
pub async fn serve_with_peers(
    listener: TcpListener,
    router: Router,
    options: ListenOptions,
    stop: impl Future<Output = ()>,
) {
    let named = |peer: SocketAddr| {
        let name = move |mut request: Request| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        };
        Router::new().fallback_service(ServiceBuilder::new().map_request(name).service(router.clone()))
    };
    accept(listener, named, options, stop).await;
}

async fn accept(
    listener: TcpListener,
    router: impl Fn(SocketAddr) -> Router,
    options: ListenOptions,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(options.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let (stopping, stopped) = watch::channel(());
    tokio::pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        match (place, accepted) {
            (Ok(place), Ok((stream, peer))) => {
                let connection = connection(stream, router(peer), options, stopped.clone(), place);
                drop(tokio::spawn(connection));
            }
            (_, Err(error)) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            (Err(_), _) => break,
        }
    }
    drop((listener, stopped));
    stopping.send_replace(());
    stopping.closed().await;
}

async fn connection(
    stream: TcpStream,
    router: Router,
    options: ListenOptions,
    mut stopped: watch::Receiver<()>,
    _place: OwnedSemaphorePermit,
) {
    // Small answers must not wait for Nagle's timer.
    drop(stream.set_nodelay(true));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.headers_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        _ = stopped.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "connection ended");
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
