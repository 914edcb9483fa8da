//! The way to an agent: its address, who asks, and what a refusal means for the exit code.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::cli::exit::{Exit, Failure};
use crate::proto::hypervisor::v1::agent_service_client::AgentServiceClient;

/// How long the agent may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long it may take to answer what needs no instance to end.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Longest list.
const LONGEST_ANSWER: usize = 64 << 20;

/// Where the agent is and who asks.
#[derive(Debug, Clone, Args)]
pub(super) struct Where {
    /// Its address.
    #[arg(long, env = "NEURO_AGENT", default_value = "http://127.0.0.1:50052", value_name = "URL")]
    agent: String,
    /// A key of its file.
    #[arg(long, env = "NEURO_AGENT_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
    /// The authority that signed its certificate, PEM, for an https address.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A certificate to show it, PEM.
    #[arg(long, value_name = "FILE", requires = "cert_key")]
    cert: Option<PathBuf>,
    /// The key of that certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    cert_key: Option<PathBuf>,
}

/// Puts the key into every call.
#[derive(Clone)]
pub(super) struct Keyed(Option<MetadataValue<Ascii>>);

impl Interceptor for Keyed {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}

/// The service.
pub(super) type Link = AgentServiceClient<InterceptedService<Channel, Keyed>>;

impl Where {
    /// Connects.
    ///
    /// # Errors
    /// [`Exit::Usage`] for an address or key that is none, [`Exit::Failed`] when nobody answers there.
    pub(super) async fn connect(&self) -> Result<Link, Failure> {
        let (endpoint, keyed) = self.endpoint().map_err(|error| Failure { exit: Exit::Usage, error })?;
        let channel = endpoint.connect().await;
        let channel = channel.with_context(|| format!("no agent answers at {}", self.agent))?;
        let client = AgentServiceClient::new(InterceptedService::new(channel, keyed));
        Ok(client.max_decoding_message_size(LONGEST_ANSWER))
    }

    fn endpoint(&self) -> anyhow::Result<(Endpoint, Keyed)> {
        let address = &self.agent;
        let wrong = || format!("--agent {address}: expected http://HOST:PORT");
        if !address.contains("://") {
            return Err(anyhow!(wrong()));
        }
        let mut endpoint =
            Endpoint::from_shared(address.clone()).with_context(wrong)?.connect_timeout(CONNECT_TIME);
        // A console may be silent for hours: a dead line shows all the same.
        endpoint = endpoint
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        if address.starts_with("https://") {
            let read = |flag: &str, file: &Path| {
                std::fs::read(file).with_context(|| format!("{flag} {}", file.display()))
            };
            let mut tls = ClientTlsConfig::new().with_enabled_roots();
            if let Some(file) = &self.ca {
                tls = tls.ca_certificate(Certificate::from_pem(read("--ca", file)?));
            }
            if let (Some(cert), Some(key)) = (&self.cert, &self.cert_key) {
                tls = tls.identity(Identity::from_pem(read("--cert", cert)?, read("--cert-key", key)?));
            }
            endpoint = endpoint.tls_config(tls).with_context(wrong)?;
        }
        let key = self.key.as_ref().filter(|key| !key.is_empty());
        let key = key.map(|key| format!("Bearer {key}").parse().context("--key: not a header's value"));
        Ok((endpoint, Keyed(key.transpose()?)))
    }
}

/// A request that gives up in time.
pub(super) fn timed<T>(message: T, time: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}

/// What the agent said no to, as a sentence. What was wrong with the request is the caller's to put right.
pub(super) fn refused(status: &Status) -> Failure {
    let exit = match status.code() {
        Code::InvalidArgument => Exit::Usage,
        _ => Exit::Failed,
    };
    let sentence = if status.message().is_empty() { status.code().description() } else { status.message() };
    Failure { exit, error: anyhow!("the agent: {sentence}") }
}
