//! What happens to every call before it has a type: other spellings of its path, who calls, how long they wait, and what
//! is said of a message that cannot be read.

use std::net::{IpAddr, Ipv4Addr};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{HeaderValue, Request, Response, Uri, header};
use futures_util::future::BoxFuture;
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::{Layer, Service};

use super::status;
use crate::fleet::access::{Access, credential};
use crate::grpc::blame::blamed;

/// The older services as the first document spells them, and as they are.
const ALIASES: [(&str, &str); 3] = [
    ("/neuro.IsaacSimService/", "/isaac_sim.IsaacSimService/"),
    ("/neuro.TrainingService/", "/training.TrainingService/"),
    ("/neuro.ResourceService/", "/resource.ResourceService/"),
];

/// Services that need no key: whether somebody is there, and what they speak.
const OPEN: [&str; 2] = ["/grpc.health.", "/grpc.reflection."];

/// What is known of a call when it arrives.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// When it has to be answered; `None`: the client sets no deadline.
    pub(super) deadline: Option<Instant>,
    /// The host that the client came in by, without the port.
    pub(super) host: Option<String>,
}

/// Puts [`Front`] before the services.
#[derive(Debug, Clone)]
pub(super) struct FrontLayer {
    pub(super) access: Access,
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub(super) struct Front<S> {
    inner: S,
    access: Access,
}

impl<S> Layer<S> for FrontLayer {
    type Service = Front<S>;

    fn layer(&self, inner: S) -> Front<S> {
        Front { inner, access: self.access.clone() }
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
        if let Some(uri) = renamed(request.uri()) {
            *request.uri_mut() = uri;
        }
        let peer = peer(&request);
        let arrival = Arrival {
            deadline: request.headers().get("grpc-timeout").and_then(timeout).and_then(later),
            host: host(&request),
        };
        request.extensions_mut().insert(arrival);
        let path = request.uri().path();
        if !OPEN.iter().any(|open| path.starts_with(open)) {
            let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
            let shown = credential(text("authorization"), text("x-api-key"));
            match self.access.check(shown, peer) {
                Ok(identity) => drop(request.extensions_mut().insert(identity)),
                Err(error) => {
                    let refused = status::of(&error).into_http();
                    return Box::pin(async { Ok(refused) });
                }
            }
        }
        let answer = self.inner.call(request);
        Box::pin(async { answer.await.map(blamed) })
    }
}

fn renamed(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let real = ALIASES.iter().find_map(|(alias, real)| {
        let method = path.strip_prefix(alias)?;
        PathAndQuery::try_from(format!("{real}{method}")).ok()
    })?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(real);
    Uri::from_parts(parts).ok()
}

fn peer(request: &Request<Body>) -> IpAddr {
    let extensions = request.extensions();
    let plain = extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let secure =
        || extensions.get::<TlsConnectInfo<TcpConnectInfo>>().and_then(|info| info.get_ref().remote_addr());
    plain.or_else(secure).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
}

fn host(request: &Request<Body>) -> Option<String> {
    let named = || {
        let header = request.headers().get(header::HOST)?.to_str().ok()?;
        header.parse::<Authority>().ok().map(|authority| authority.host().to_owned())
    };
    request.uri().host().map(str::to_owned).or_else(named).filter(|host| !host.is_empty())
}

/// The time of `grpc-timeout`: up to eight digits and a unit.
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count.checked_mul(3600)?),
        "M" => Duration::from_secs(count.checked_mul(60)?),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

fn later(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_documents_paths_lead_to_the_services() {
        let renamed = |path: &str| {
            let uri: Uri = format!("http://host:1{path}").parse().unwrap();
            renamed(&uri).map(|uri| (uri.host().unwrap().to_owned(), uri.path().to_owned()))
        };
        let expected = |path: &str| Some(("host".to_owned(), path.to_owned()));
        assert_eq!(
            renamed("/neuro.IsaacSimService/HealthCheck"),
            expected("/isaac_sim.IsaacSimService/HealthCheck")
        );
        assert_eq!(
            renamed("/neuro.TrainingService/StartTraining"),
            expected("/training.TrainingService/StartTraining")
        );
        assert_eq!(
            renamed("/neuro.ResourceService/GetGPUStatus"),
            expected("/resource.ResourceService/GetGPUStatus")
        );
        for path in ["/neuro.NeuroOrchestratorService/HealthCheck", "/neuro.IsaacSimServiceX/A", "/"] {
            assert_eq!(renamed(path), None, "{path}");
        }
    }

    #[test]
    fn deadlines_are_read_as_the_protocol_writes_them() {
        let read = |text: &'static str| timeout(&HeaderValue::from_static(text));
        assert_eq!(read("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(read("2M"), Some(Duration::from_secs(120)));
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        assert_eq!(read("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(read("99999999u"), Some(Duration::from_micros(99_999_999)));
        assert_eq!(read("1n"), Some(Duration::from_nanos(1)));
        for text in ["", "S", "1", "-1S", "123456789S", "1s", "1.5S"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
