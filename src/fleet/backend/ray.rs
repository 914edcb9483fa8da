//! Instances as jobs of a Ray cluster, over the Jobs API of its dashboard. Ray schedules a job by the resources of its
//! entry point; the job is the instance's process on whatever node has them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::command::InstanceCommand;
use super::mark::JobNames;
use super::process::log;
use super::{Backend, Birth, Provided, Provision, chain, unavailable};
use crate::fleet::error::FleetError;
use crate::fleet::ids::InstanceId;
use crate::fleet::settings::Pool;

/// How long one call may take.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// `ray`.
#[derive(Debug)]
pub struct RayBackend {
    http: reqwest::Client,
    base: String,
    resources: BTreeMap<String, f64>,
    command: InstanceCommand,
    names: JobNames,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The job of each instance.
    jobs: BTreeMap<InstanceId, String>,
    /// Ends that were told.
    told: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Job {
    #[serde(default)]
    submission_id: Option<String>,
    status: String,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Logs {
    logs: String,
}

impl RayBackend {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// `Invalid` when `resources` is no JSON object of numbers; `Internal` when the data folder can not be used.
    pub fn new(pool: &Pool, command: InstanceCommand, data: &Path) -> Result<Self, FleetError> {
        let text = if pool.resources.trim().is_empty() { "{}" } else { pool.resources.as_str() };
        let resources: BTreeMap<String, f64> = serde_json::from_str(text).map_err(|error| {
            let problem =
                format!("of pool {:?} is {text:?}; expected like {{\"sim\": 1}}: {error}", pool.name);
            FleetError::invalid("pool.resources", problem)
        })?;
        let http = reqwest::Client::builder().no_proxy().timeout(CALL_LIMIT).build();
        Ok(Self {
            http: http.map_err(FleetError::internal)?,
            base: format!("{}/api/jobs/", pool.url.trim_end_matches('/')),
            resources,
            command,
            names: JobNames::of(data, &pool.name)?,
            known: Mutex::default(),
        })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, String), FleetError> {
        let what = format!("{method} {}{path}", self.base);
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer =
            request.send().await.map_err(|error| unavailable(format!("{what}: {}", chain(&error))))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| unavailable(format!("{what}: {}", chain(&error))))?;
        if status.is_success() || status == StatusCode::NOT_FOUND {
            return Ok((status, text));
        }
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let shown: String = lines.last().unwrap_or(&"").chars().take(200).collect();
        Err(unavailable(format!("{what}: HTTP {status}: {shown}")))
    }

    fn body(&self, birth: &Birth) -> Value {
        // What Ray knows by name goes by name; the rest are resources of the cluster's own making.
        let mut own = self.resources.clone();
        let mut body = json!({
            "entrypoint": format!("exec {}", self.command.shell_line(birth)),
            "submission_id": self.names.name(birth),
            "runtime_env": { "env_vars": self.command.env(birth) },
            "metadata": { "pool": self.command.pool(), "name": birth.name },
        });
        if let Some(body) = body.as_object_mut() {
            for (name, field) in [("CPU", "entrypoint_num_cpus"), ("GPU", "entrypoint_num_gpus")] {
                if let Some(amount) = own.remove(name) {
                    body.insert(field.to_owned(), json!(amount));
                }
            }
            if !own.is_empty() {
                body.insert("entrypoint_resources".to_owned(), json!(own));
            }
        }
        body
    }

    async fn submit(&self, birth: Birth) -> Result<(), FleetError> {
        let (status, text) = self.call(Method::POST, "", Some(self.body(&birth))).await?;
        if !status.is_success() {
            return Err(unavailable(format!("{}: HTTP {status}: is this a Ray dashboard?", self.base)));
        }
        let job = self.names.name(&birth);
        tracing::info!(instance = %birth.instance, name = birth.name, job, "submitted to Ray");
        tracing::debug!(answer = text);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).jobs.insert(birth.instance, job);
        Ok(())
    }

    async fn end(&self, instance: InstanceId) -> Result<(), FleetError> {
        let job = self.known.lock().unwrap_or_else(PoisonError::into_inner).jobs.get(&instance).cloned();
        match job {
            Some(job) => self.call(Method::POST, &format!("{job}/stop"), None).await.map(drop),
            None => Ok(()),
        }
    }

    async fn jobs(&self) -> Result<Vec<Provided>, FleetError> {
        let (status, text) = self.call(Method::GET, "", None).await?;
        let jobs: Vec<Job> = serde_json::from_str(&text).map_err(|error| {
            unavailable(format!("{} answers {status} and something else: {error}", self.base))
        })?;
        let (mut provided, mut over) = (Vec::new(), Vec::new());
        for job in jobs {
            let Some(id) = job.submission_id.clone() else { continue };
            let Some(Birth { instance, name }) = self.names.read(&id) else { continue };
            let state = match job.status.as_str() {
                "PENDING" => Some(Provision::Waiting),
                "RUNNING" => Some(Provision::Running),
                _ => None,
            };
            match state {
                Some(state) => {
                    self.known.lock().unwrap_or_else(PoisonError::into_inner).jobs.insert(instance, id);
                    provided.push(Provided { instance, name, state });
                }
                None => over.push((id, instance, name, job)),
            }
        }
        for (id, instance, name, job) in over {
            if self.news(instance, &id) {
                let reason = self.reason(&id, &name, &job).await;
                provided.push(Provided { instance, name, state: Provision::Ended { reason } });
            }
            // Ray lists what is over for ever.
            if let Err(error) = self.call(Method::DELETE, &id, None).await {
                tracing::debug!(job = id, %error, "stays listed");
            }
        }
        Ok(provided)
    }

    /// Whether this end was not told yet.
    fn news(&self, instance: InstanceId, id: &str) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.jobs.remove(&instance);
        known.told.insert(id.to_owned())
    }

    async fn reason(&self, id: &str, name: &str, job: &Job) -> String {
        let mut reason = format!("{name} (a Ray job) is {}", job.status);
        let message = log::shorten(job.message.as_deref().unwrap_or_default());
        if !message.is_empty() {
            reason.push_str(&format!(": {message}"));
        }
        let logs = self.call(Method::GET, &format!("{id}/logs"), None).await;
        let logs: Logs = logs.ok().and_then(|(_, text)| serde_json::from_str(&text).ok()).unwrap_or_default();
        let last = log::shorten(&logs.logs);
        if !last.is_empty() {
            reason.push_str(&format!("; its last lines: {last}"));
        }
        reason
    }
}

impl Backend for RayBackend {
    fn kind(&self) -> &'static str {
        "ray"
    }

    fn start(&self, birth: Birth) -> BoxFuture<'_, Result<(), FleetError>> {
        self.submit(birth).boxed()
    }

    fn stop(&self, instance: InstanceId) -> BoxFuture<'_, Result<(), FleetError>> {
        self.end(instance).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Provided>, FleetError>> {
        self.jobs().boxed()
    }
}
