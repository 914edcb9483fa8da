//! One node agent, as the fleet calls it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::fleet::backend::{chain, unavailable};
use crate::fleet::error::FleetError;
use crate::fleet::settings::AgentPool;
use crate::proto::hypervisor::v1::agent_service_client::AgentServiceClient;
use crate::proto::hypervisor::v1::{AgentCreateInstanceRequest, AgentDeleteInstanceRequest, Instance};

/// How long one call may take; making a container takes a fraction of a second, removing one as long as it takes to end.
const CALL_LIMIT: Duration = Duration::from_secs(45);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// An agent that was asked for a list answers within this, or is away.
const LIST_LIMIT: Duration = Duration::from_secs(5);
/// Answers with many instances are long.
const LONGEST_ANSWER_BYTES: usize = 64 << 20;

/// See the module.
#[derive(Debug)]
pub struct Node {
    /// Its address.
    pub url: String,
    channel: Channel,
    key_file: PathBuf,
}

impl Node {
    /// Connects when it is first asked.
    ///
    /// # Errors
    /// `Invalid`, naming the key, when the URL is none or certificates cannot be read.
    pub fn new(url: &str, settings: &AgentPool) -> Result<Self, FleetError> {
        let wrong = |key: &str, problem: String| FleetError::invalid(format!("pool.agent.{key}"), problem);
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| wrong("urls", format!("has {url:?}: {error}")))?
            .connect_timeout(CONNECT_LIMIT)
            .timeout(CALL_LIMIT);
        if url.starts_with("https://") {
            let read = |key: &str, path: &Path| {
                std::fs::read_to_string(path)
                    .map_err(|error| wrong(key, format!("{}: {error}", path.display())))
            };
            let mut tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(read("tls_ca", &settings.tls_ca)?));
            if !settings.tls_cert.as_os_str().is_empty() {
                let certificate = read("tls_cert", &settings.tls_cert)?;
                tls = tls.identity(Identity::from_pem(certificate, read("tls_key", &settings.tls_key)?));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| wrong("tls_ca", chain(&error)))?;
        }
        Ok(Self {
            url: url.to_owned(),
            channel: endpoint.connect_lazy(),
            key_file: settings.key_file.clone(),
        })
    }

    fn client(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST_ANSWER_BYTES)
    }

    async fn request<T>(&self, message: T) -> Result<Request<T>, FleetError> {
        let mut request = Request::new(message);
        if !self.key_file.as_os_str().is_empty() {
            let trouble =
                |error: String| unavailable(format!("key file {}: {error}", self.key_file.display()));
            let key = tokio::fs::read_to_string(&self.key_file).await;
            let key = key.map_err(|error| trouble(error.to_string()))?;
            let value = AsciiMetadataValue::try_from(format!("Bearer {}", key.trim()));
            let value = value.map_err(|error| trouble(error.to_string()))?;
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }

    fn refused(&self, doing: &str, status: &Status) -> FleetError {
        let said = format!("{doing} at {}: {} ({:?})", self.url, status.message(), status.code());
        match status.code() {
            Code::ResourceExhausted => {
                FleetError::Exhausted { message: said, retry_after: Duration::from_secs(5) }
            }
            Code::InvalidArgument | Code::FailedPrecondition | Code::NotFound | Code::AlreadyExists => {
                FleetError::Precondition(said)
            }
            Code::Unauthenticated | Code::PermissionDenied => FleetError::Denied(said),
            _ => unavailable(said),
        }
    }

    /// Makes one; it starts by itself when its annotations say so.
    ///
    /// # Errors
    /// As the agent says it.
    pub async fn create(&self, create: AgentCreateInstanceRequest) -> Result<Instance, FleetError> {
        let doing = format!("making {}", create.name);
        let request = self.request(create).await?;
        let answer = self.client().create_instance(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.refused(&doing, &status))
    }

    /// Ends and removes one. That it is gone already is no error.
    ///
    /// # Errors
    /// As the agent says it.
    pub async fn remove(&self, instance_id: String, force: bool) -> Result<(), FleetError> {
        let doing = format!("removing {instance_id}");
        let request = self.request(AgentDeleteInstanceRequest { instance_id, force }).await?;
        match self.client().delete_instance(request).await {
            Err(status) if status.code() != Code::NotFound => Err(self.refused(&doing, &status)),
            _ => Ok(()),
        }
    }

    /// All that are there, also those of others.
    ///
    /// # Errors
    /// `Unavailable` when it does not answer in time.
    pub async fn list(&self) -> Result<Vec<Instance>, FleetError> {
        let mut request = self.request(()).await?;
        request.set_timeout(LIST_LIMIT);
        let mut client = self.client();
        let answer = tokio::time::timeout(LIST_LIMIT, client.list_instances(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("it does not answer")));
        answer
            .map(|answer| answer.into_inner().instances)
            .map_err(|status| self.refused("listing instances", &status))
    }
}
