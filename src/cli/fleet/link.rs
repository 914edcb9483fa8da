//! The way to the orchestrator: its address, the key, and what a refusal means for the exit code.

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use crate::cli::exit::{Exit, Failure};
use crate::proto::neuro::ext::pool_admin_service_client::PoolAdminServiceClient;
use crate::proto::neuro::ext::session_service_client::SessionServiceClient;
use crate::proto::neuro::orchestrator::neuro_orchestrator_service_client::NeuroOrchestratorServiceClient;

/// How long the orchestrator may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long it may take to answer.
pub const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Where the orchestrator is and who asks.
#[derive(Debug, Clone, Args)]
pub struct Where {
    /// Its gRPC address.
    #[arg(long, env = "NEURO_ORCHESTRATOR", default_value = "http://127.0.0.1:50051", value_name = "URL")]
    orchestrator: String,
    /// A key of its configuration.
    #[arg(long, env = "NEURO_FLEET_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
    /// The authority that signed its certificate, PEM, for an https address.
    #[arg(long, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
}

/// Puts the key into every call.
#[derive(Clone)]
pub struct Keyed(Option<MetadataValue<Ascii>>);

impl Interceptor for Keyed {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}

type Wire = InterceptedService<Channel, Keyed>;

/// The services.
#[derive(Clone)]
pub struct Link {
    /// The original's.
    pub orchestrator: NeuroOrchestratorServiceClient<Wire>,
    /// Sessions: lists and logs.
    pub sessions: SessionServiceClient<Wire>,
    /// Pools.
    pub pools: PoolAdminServiceClient<Wire>,
}

impl Where {
    /// Connects.
    ///
    /// # Errors
    /// [`Exit::Usage`] for an address or key that is none, [`Exit::Failed`] when nobody answers there.
    pub async fn connect(&self) -> Result<Link, Failure> {
        let (endpoint, keyed) = self.endpoint().map_err(|error| Failure { exit: Exit::Usage, error })?;
        let channel = endpoint.connect().await;
        let channel = channel.with_context(|| format!("no orchestrator answers at {}", self.orchestrator))?;
        let wire = || InterceptedService::new(channel.clone(), keyed.clone());
        Ok(Link {
            orchestrator: NeuroOrchestratorServiceClient::new(wire()),
            sessions: SessionServiceClient::new(wire()),
            pools: PoolAdminServiceClient::new(wire()),
        })
    }

    fn endpoint(&self) -> anyhow::Result<(Endpoint, Keyed)> {
        let address = &self.orchestrator;
        let wrong = || format!("--orchestrator {address}: expected http://HOST:PORT");
        if !address.contains("://") {
            return Err(anyhow!(wrong()));
        }
        let mut endpoint =
            Endpoint::from_shared(address.clone()).with_context(wrong)?.connect_timeout(CONNECT_TIME);
        // A watch may be silent for hours: a dead line shows all the same.
        endpoint = endpoint
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        if address.starts_with("https://") {
            let mut tls = ClientTlsConfig::new().with_enabled_roots();
            if let Some(file) = &self.ca {
                let pem = std::fs::read(file).with_context(|| format!("--ca {}", file.display()))?;
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint.tls_config(tls).with_context(wrong)?;
        }
        let key = self.key.as_ref().filter(|key| !key.is_empty());
        let key = key.map(|key| format!("Bearer {key}").parse().context("--key: not a header's value"));
        Ok((endpoint, Keyed(key.transpose()?)))
    }
}

/// A request that gives up in time.
pub fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_TIME);
    request
}

/// What the orchestrator said no to, as a sentence. What was wrong with the request is the caller's to put right.
pub fn refused(status: &Status) -> Failure {
    let exit = match status.code() {
        Code::InvalidArgument => Exit::Usage,
        _ => Exit::Failed,
    };
    let sentence = if status.message().is_empty() { status.code().description() } else { status.message() };
    Failure { exit, error: anyhow!("the orchestrator: {sentence}") }
}
