//! The server of one profile, with health checks, reflection and TLS.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::access::Keys;
use super::front::FrontLayer;
use super::{Edge, Upstream};
use crate::agent::Agent;
use crate::grpc::{GrpcError, MAX_MESSAGE_BYTES, Tls};
use crate::proto::hypervisor::v1::agent_service_server::AgentServiceServer;
use crate::proto::hypervisor_upstream::v1::agent_service_server::AgentServiceServer as UpstreamServer;
use crate::proto::{hypervisor, hypervisor_upstream};

/// Longest request: a spec, or what is typed at once.
pub const MAX_REQUEST_BYTES: usize = 1 << 20;

/// Most streams of one connection: a server shares one for all its calls and consoles.
const STREAMS_PER_CONNECTION: u32 = 4096;

/// How often a silent connection is asked whether somebody is there, and how long it may take to say so.
const ASK_EVERY: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Whose messages a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The agent's own document.
    Document,
    /// The Go server's.
    Upstream,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct AgentGrpcOptions {
    /// The agent.
    pub agent: Agent,
    /// Whose messages.
    pub profile: Profile,
    /// Who may call.
    pub keys: Keys,
    /// TLS; `None` for plaintext.
    pub tls: Option<Tls>,
    /// Turns true when the server is to end: consoles are told, running calls finish.
    pub stopping: watch::Receiver<bool>,
}

/// Serves the agent until it is told to stop, then lets running calls finish.
///
/// # Errors
/// When the certificates are none, or the listener fails.
pub async fn serve_agent(listener: TcpListener, options: AgentGrpcOptions) -> Result<(), GrpcError> {
    let AgentGrpcOptions { agent, profile, keys, tls, stopping } = options;
    let (reporter, health) = tonic_health::server::health_reporter();
    // Both have the same name.
    reporter.set_serving::<AgentServiceServer<Edge>>().await;
    let descriptors = match profile {
        Profile::Document => hypervisor::DESCRIPTORS,
        Profile::Upstream => hypervisor_upstream::DESCRIPTORS,
    };
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // What the agent calls is in the descriptors too, and not served here.
            .with_service_name("hypervisor.v1.AgentService")
            .with_service_name("grpc.health.v1.Health")
    };
    let edge = Edge { agent, stopping: stopping.clone() };
    let mut builder = Server::builder();
    if let Some(tls) = &tls {
        builder = builder.tls_config(tls.config())?;
    }
    let server = builder
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(ASK_EVERY))
        .http2_keepalive_timeout(Some(ANSWER_WITHIN))
        .layer(FrontLayer { keys })
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let server = match profile {
        Profile::Document => server.add_service(
            AgentServiceServer::new(edge)
                .max_decoding_message_size(MAX_REQUEST_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        ),
        Profile::Upstream => server.add_service(
            UpstreamServer::new(Upstream(edge))
                .max_decoding_message_size(MAX_REQUEST_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        ),
    };
    let mut stop = stopping;
    let stop = async move { drop(stop.wait_for(|stop| *stop).await) };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    server.serve_with_incoming_shutdown(incoming, stop).await?;
    Ok(())
}
