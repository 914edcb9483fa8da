//! The gRPC edge: one folder a service, and the server they share a port on, with health checks and reflection.
//!
//! Connections have no delay: small frames of an answer would wait 40 ms for the client's acknowledgement otherwise.

pub mod agent;
mod blame;
mod error;
pub mod fleet;
pub mod sensorsim;
mod tls;

use std::future::Future;

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::proto::nurec::DESCRIPTORS;
use crate::proto::nurec::sensorsim::sensorsim_service_server::SensorsimServiceServer;
pub use error::GrpcError;
use sensorsim::SensorsimService;
pub use tls::Tls;

/// Longest message either way.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Most calls of one connection at once; more wait.
const CALLS_PER_CONNECTION: usize = 64;

/// Most streams that a client may open before it waits.
const STREAMS_PER_CONNECTION: u32 = 256;

/// Most requests that a client may take back before they were looked at: somebody who scrubs takes many back.
const TAKEN_BACK: usize = 1024;

/// HTTP/2 windows: requests with many objects arrive without waiting for the window to open again.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Serves the sensor simulator until `stop`, then lets running calls finish.
///
/// # Errors
/// When the listener fails.
pub async fn serve_sensorsim(
    listener: TcpListener,
    service: SensorsimService,
    stop: impl Future<Output = ()>,
) -> Result<(), GrpcError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<SensorsimServiceServer<SensorsimService>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let sensorsim = SensorsimServiceServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Server::builder()
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_pending_accept_reset_streams(Some(TAKEN_BACK))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(sensorsim)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop)
        .await?;
    Ok(())
}
