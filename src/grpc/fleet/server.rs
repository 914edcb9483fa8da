//! The server that the services of the fleet share, with health checks, reflection, gRPC-Web and TLS.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_web::GrpcWebLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::Edge;
use super::front::FrontLayer;
use crate::fleet::access::Access;
use crate::fleet::orchestrator::Orchestrator;
use crate::grpc::{GrpcError, Tls};
use crate::proto::neuro::DESCRIPTORS;
use crate::proto::neuro::ext::instance_service_server::InstanceServiceServer;
use crate::proto::neuro::ext::pool_admin_service_server::PoolAdminServiceServer;
use crate::proto::neuro::ext::session_service_server::SessionServiceServer;
use crate::proto::neuro::isaac_sim::isaac_sim_service_server::IsaacSimServiceServer;
use crate::proto::neuro::orchestrator::neuro_orchestrator_service_server::NeuroOrchestratorServiceServer;
use crate::proto::neuro::resource::resource_service_server::ResourceServiceServer;
use crate::proto::neuro::training::training_service_server::TrainingServiceServer;

/// Longest message either way: clients allow 4 MiB, and scenes with many obstacles are longer.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Most streams of one connection: watchers share one.
const STREAMS_PER_CONNECTION: u32 = 16_384;

/// How often a silent connection is asked whether somebody is there, and how long it may take to say so.
const ASK_EVERY: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How often health is looked at for `grpc.health`.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// The services as the first document spells them; health answers for them too.
const ALIASES: [&str; 3] = ["neuro.IsaacSimService", "neuro.TrainingService", "neuro.ResourceService"];

/// What the server is started with.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// The fleet.
    pub orchestrator: Orchestrator,
    /// Who may ask.
    pub access: Access,
    /// TLS; `None` for plaintext.
    pub tls: Option<Tls>,
    /// Turns true when the server is to end: streams are told, running calls finish.
    pub stopping: watch::Receiver<bool>,
}

/// Serves the fleet until it is told to stop, then lets running calls finish.
///
/// # Errors
/// When the certificates are none, or the listener fails.
pub async fn serve_fleet(listener: TcpListener, options: FleetOptions) -> Result<(), GrpcError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let edge = Edge { orchestrator: options.orchestrator.clone(), stopping: options.stopping.clone() };
    let mut stopping = options.stopping;
    let stop = async move { drop(stopping.wait_for(|stop| *stop).await) };
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    macro_rules! limited {
        ($server:ident) => {
            $server::new(edge.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        };
    }
    let mut builder = Server::builder();
    if let Some(tls) = &options.tls {
        builder = builder.tls_config(tls.config())?;
    }
    let server = builder
        .accept_http1(true)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(ASK_EVERY))
        .http2_keepalive_timeout(Some(ANSWER_WITHIN))
        .layer(cors())
        .layer(GrpcWebLayer::new())
        .layer(FrontLayer { access: options.access })
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(limited!(NeuroOrchestratorServiceServer))
        .add_service(limited!(IsaacSimServiceServer))
        .add_service(limited!(TrainingServiceServer))
        .add_service(limited!(ResourceServiceServer))
        .add_service(limited!(SessionServiceServer))
        .add_service(limited!(InstanceServiceServer))
        .add_service(limited!(PoolAdminServiceServer))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop);
    tokio::select! {
        ended = server => ended?,
        never = report(&reporter, &options.orchestrator) => match never {},
    }
    Ok(())
}

/// Keeps `grpc.health` as the fleet is.
async fn report(reporter: &HealthReporter, orchestrator: &Orchestrator) -> std::convert::Infallible {
    let names = [
        "",
        <NeuroOrchestratorServiceServer<Edge> as NamedService>::NAME,
        <IsaacSimServiceServer<Edge> as NamedService>::NAME,
        <TrainingServiceServer<Edge> as NamedService>::NAME,
        <ResourceServiceServer<Edge> as NamedService>::NAME,
        <SessionServiceServer<Edge> as NamedService>::NAME,
        <InstanceServiceServer<Edge> as NamedService>::NAME,
        <PoolAdminServiceServer<Edge> as NamedService>::NAME,
    ];
    let mut last = None;
    loop {
        let serving = orchestrator.health().healthy;
        if last.replace(serving) != Some(serving) {
            let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
            for name in names.into_iter().chain(ALIASES) {
                reporter.set_service_status(name, status).await;
            }
        }
        tokio::time::sleep(HEALTH_EVERY).await;
    }
}

/// Pages on this machine may call: gRPC-Web is for the dashboard and for who develops one.
fn cors() -> CorsLayer {
    let exposed = ["grpc-status", "grpc-message", "grpc-status-details-bin"];
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(|origin, _| is_local(origin)))
        .allow_methods([Method::POST])
        .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
        .expose_headers(exposed.map(HeaderName::from_static))
        .max_age(Duration::from_secs(3600))
        .vary([header::ORIGIN])
}

fn is_local(origin: &HeaderValue) -> bool {
    let host = |text: &str| {
        let uri: axum::http::Uri = text.parse().ok()?;
        uri.host().map(super::show::is_loopback)
    };
    origin.to_str().ok().and_then(host).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_machine_may_call() {
        for origin in ["http://localhost:8010", "http://127.0.0.1:3000", "https://[::1]:1"] {
            assert!(is_local(&HeaderValue::from_static(origin)), "{origin}");
        }
        for origin in ["http://example.org", "http://localhost.example.org", "null", "http://192.0.2.1"] {
            assert!(!is_local(&HeaderValue::from_static(origin)), "{origin}");
        }
    }
}
