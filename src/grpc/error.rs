//! Why a server did not begin, or ended.

/// Why the server ended early, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// Reading or writing on the listener failed.
    #[error("gRPC server: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors make no reflection service.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}
