//! What the servers of both gRPC edges show of themselves, and ask of clients.

use tonic::transport::{Certificate, Identity, ServerTlsConfig};

/// What a server shows, and asks of clients. PEM texts.
#[derive(Clone)]
pub struct Tls {
    /// The server's certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Clients must show a certificate that this one signed.
    pub client_ca: Option<String>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Tls {{ mutual: {} }}", self.client_ca.is_some())
    }
}

impl Tls {
    /// As the transport takes it.
    #[must_use]
    pub fn config(&self) -> ServerTlsConfig {
        let config = ServerTlsConfig::new().identity(Identity::from_pem(&self.certificate, &self.key));
        match &self.client_ca {
            Some(authority) => config.client_ca_root(Certificate::from_pem(authority)),
            None => config,
        }
    }
}
