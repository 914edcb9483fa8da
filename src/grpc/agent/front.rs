//! What happens to every call before it has a type: who calls, and what is said of a message that cannot be read.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::{Layer, Service};
use tracing::warn;

use super::access::{Keys, credential, fingerprint};
use super::status;
use crate::grpc::blame::blamed;

/// Services that need no key: whether somebody is there, and what they speak.
const OPEN: [&str; 2] = ["/grpc.health.", "/grpc.reflection."];

/// Who calls, as the audit log names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller(pub(super) String);

/// Puts [`Front`] before the service.
#[derive(Debug, Clone)]
pub(super) struct FrontLayer {
    pub(super) keys: Keys,
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub(super) struct Front<S> {
    inner: S,
    keys: Keys,
}

impl<S> Layer<S> for FrontLayer {
    type Service = Front<S>;

    fn layer(&self, inner: S) -> Front<S> {
        Front { inner, keys: self.keys.clone() }
    }
}

impl<S> Service<Request<Body>> for Front<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        if !OPEN.iter().any(|open| path.starts_with(open)) {
            let (peer, certificate) = peer(&request);
            let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
            match self.keys.check(credential(text("authorization"), text("x-api-key"))) {
                Ok(key) => {
                    let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
                    let named =
                        [Some(peer), certificate, key].into_iter().flatten().collect::<Vec<_>>().join(" ");
                    request.extensions_mut().insert(Caller(named));
                }
                Err(error) => {
                    warn!(?peer, %error, "a call was turned away");
                    let refused = status::of(&error).into_http();
                    return Box::pin(async { Ok(refused) });
                }
            }
        }
        let answer = self.inner.call(request);
        Box::pin(async { answer.await.map(blamed) })
    }
}

/// The other end, and what stands for the certificate it showed.
fn peer(request: &Request<Body>) -> (Option<SocketAddr>, Option<String>) {
    let extensions = request.extensions();
    if let Some(plain) = extensions.get::<TcpConnectInfo>() {
        return (plain.remote_addr(), None);
    }
    let Some(secure) = extensions.get::<TlsConnectInfo<TcpConnectInfo>>() else { return (None, None) };
    let shown = secure.peer_certs();
    let shown = shown.as_ref().and_then(|chain| chain.first());
    let shown = shown.map(|certificate| fingerprint("certificate", &Sha256::digest(certificate).into()));
    (secure.get_ref().remote_addr(), shown)
}
