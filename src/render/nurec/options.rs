//! Where a NuRec service is and how long to wait for it.

use std::time::Duration;

use tonic::transport::Endpoint;

/// Longest message either way.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// The port NuRec is started on unless somebody says otherwise.
pub const DEFAULT_PORT: u16 = 46435;

/// HTTP/2 windows: a picture of several megabytes arrives without waiting for the window to open again.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Where it is, and patience.
#[derive(Debug, Clone)]
pub struct NurecOptions {
    /// Name or address; of IPv6 with or without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for an answer, retries included.
    pub deadline: Duration,
    /// The same until a connection has answered once.
    pub first_deadline: Duration,
    /// Waits before each further attempt.
    pub retry_delays: Vec<Duration>,
    /// Most requests under way at once.
    pub max_in_flight: usize,
    /// Whether to try `batch_render_rgb`.
    pub batch: bool,
}

impl Default for NurecOptions {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: DEFAULT_PORT,
            connect_timeout: Duration::from_secs(2),
            deadline: Duration::from_secs(10),
            first_deadline: Duration::from_secs(60),
            retry_delays: vec![Duration::from_millis(500), Duration::from_secs(2)],
            max_in_flight: 32,
            batch: true,
        }
    }
}

/// Host and port make no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address:?} is no address of a NuRec service ({reason}); expected HOST:PORT, such as localhost:46435"
)]
pub struct AddressError {
    /// What was given.
    pub address: String,
    /// What is wrong with it.
    pub reason: String,
}

impl NurecOptions {
    /// The defaults, for `HOST:PORT`.
    ///
    /// # Errors
    /// When that is no host and port.
    pub fn parse(address: &str) -> Result<Self, AddressError> {
        let wrong = |reason: &str| AddressError { address: address.into(), reason: reason.into() };
        let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let port = port.parse().map_err(|_| wrong("the port is no number up to 65535"))?;
        let options = Self { host: host.into(), port, ..Self::default() };
        options.endpoint()?;
        Ok(options)
    }

    /// `HOST:PORT`, with brackets around IPv6.
    #[must_use]
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        let bare = host.contains(':') && !host.starts_with('[');
        if bare { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    pub(super) fn endpoint(&self) -> Result<Endpoint, AddressError> {
        let address = self.address();
        let wrong = |reason: &str| AddressError { address: address.clone(), reason: reason.into() };
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
        if self.host.is_empty() {
            return Err(wrong("the host is empty"));
        }
        if !self.host.chars().all(plain) {
            return Err(wrong("the host has letters that no host name has"));
        }
        let endpoint =
            Endpoint::from_shared(format!("http://{address}")).map_err(|error| wrong(&error.to_string()))?;
        Ok(endpoint
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(TCP_KEEPALIVE))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(NurecOptions::parse("localhost:46435").unwrap().address(), "localhost:46435");
        assert_eq!(NurecOptions::parse("::1:50051").unwrap().address(), "[::1]:50051");
        for wrong in ["localhost", "localhost:", ":1", "a b:1", "host:70000", "host/path:1", "u@h:1"] {
            let error = NurecOptions::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("expected HOST:PORT"), "{wrong}: {error}");
        }
    }
}
