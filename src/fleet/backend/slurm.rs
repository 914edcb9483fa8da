//! Instances as jobs of Slurm, over `slurmrestd`. A job asks for the pool's `gres` on one node and runs the pool's command
//! there; the data folder must be visible on the nodes, because the job writes its log into it.
//!
//! Bodies are those of API `v0.0.38`. Later ones want the environment as a list and the `gres` as `tres_per_node`, and
//! answer states as lists; that is done too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Method;
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
/// The API where the pool names none.
const API: &str = "v0.0.38";
/// From this one on, environments are lists and `gres` is `tres_per_node`.
const LISTS_SINCE: u32 = 39;
/// Slurm's numbers for a job that it does not know, and for one that is over.
const OVER: [i64; 2] = [2017, 2021];

/// `slurm`.
#[derive(Debug)]
pub struct SlurmBackend {
    http: reqwest::Client,
    base: String,
    lists: bool,
    user: String,
    token_file: PathBuf,
    partition: String,
    gres: String,
    command: InstanceCommand,
    names: JobNames,
    logs: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The newest job of each instance.
    jobs: BTreeMap<InstanceId, u64>,
    /// Ends that were told: Slurm lists a job for minutes after its end.
    told: BTreeSet<u64>,
}

#[derive(Debug, Deserialize)]
struct Jobs {
    #[serde(default)]
    jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
struct Job {
    job_id: u64,
    #[serde(default)]
    name: String,
    job_state: States,
    #[serde(default)]
    state_reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum States {
    One(String),
    Many(Vec<String>),
}

impl States {
    fn first(&self) -> &str {
        match self {
            Self::One(state) => state,
            Self::Many(states) => states.first().map(String::as_str).unwrap_or_default(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problems {
    errors: Vec<SlurmError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SlurmError {
    error: String,
    description: String,
    #[serde(alias = "errno", alias = "error_code")]
    error_number: i64,
}

impl SlurmBackend {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// `Invalid`, naming the key, when the API is no `v0.0.N`; `Internal` when the data folder can not be used.
    pub fn new(pool: &Pool, command: InstanceCommand, data: &Path) -> Result<Self, FleetError> {
        let api = if pool.api.is_empty() { API } else { pool.api.as_str() };
        let number: u32 =
            api.strip_prefix("v0.0.").and_then(|number| number.parse().ok()).ok_or_else(|| {
                FleetError::invalid(
                    "pool.api",
                    format!("of pool {:?} is {api:?}; expected v0.0.38 or later", pool.name),
                )
            })?;
        let data = std::path::absolute(data).map_err(FleetError::internal)?;
        let logs = data.join("instances");
        std::fs::create_dir_all(&logs)
            .map_err(|error| FleetError::Internal(format!("{}: {error}", logs.display())))?;
        let http = reqwest::Client::builder().no_proxy().timeout(CALL_LIMIT).build();
        Ok(Self {
            http: http.map_err(FleetError::internal)?,
            base: format!("{}/slurm/{api}", pool.url.trim_end_matches('/')),
            lists: number >= LISTS_SINCE,
            user: pool.user.clone(),
            token_file: pool.token_file.clone(),
            partition: pool.partition.clone(),
            gres: pool.resources.clone(),
            command,
            names: JobNames::of(&data, &pool.name)?,
            logs,
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, FleetError> {
        let what = format!("{method} {}{path}", self.base);
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if !self.user.is_empty() {
            request = request.header("X-SLURM-USER-NAME", &self.user);
        }
        if !self.token_file.as_os_str().is_empty() {
            let token = tokio::fs::read_to_string(&self.token_file)
                .await
                .map_err(|error| unavailable(format!("token file {}: {error}", self.token_file.display())))?;
            request = request.header("X-SLURM-USER-TOKEN", token.trim());
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer =
            request.send().await.map_err(|error| unavailable(format!("{what}: {}", chain(&error))))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| unavailable(format!("{what}: {}", chain(&error))))?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let problems = Problems::deserialize(&value).unwrap_or_default();
        if let Some(first) = problems.errors.first() {
            if method == Method::DELETE && OVER.contains(&first.error_number) {
                return Ok(value);
            }
            let said = if first.description.is_empty() { &first.error } else { &first.description };
            return Err(unavailable(format!("{what}: Slurm says {said:?} ({})", first.error_number)));
        }
        if !status.is_success() || value.is_null() {
            let shown: String = text.chars().take(200).collect();
            return Err(unavailable(format!("{what}: HTTP {status}: {shown}")));
        }
        Ok(value)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{}.log", log::file_stem(name)))
    }

    fn body(&self, birth: &Birth) -> Value {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let mut env = BTreeMap::from([("PATH".to_owned(), path)]);
        env.extend(self.command.env(birth));
        let mut job = json!({
            "name": self.names.name(birth),
            "nodes": 1,
            "tasks": 1,
            "current_working_directory": "/",
            "standard_output": self.log(&birth.name),
            "standard_error": self.log(&birth.name),
        });
        if let Some(job) = job.as_object_mut() {
            if self.lists {
                let list: Vec<String> = env.iter().map(|(key, value)| format!("{key}={value}")).collect();
                job.insert("environment".to_owned(), json!(list));
            } else {
                job.insert("environment".to_owned(), json!(env));
            }
            if !self.partition.is_empty() {
                job.insert("partition".to_owned(), json!(self.partition));
            }
            if !self.gres.is_empty() && self.lists {
                job.insert("tres_per_node".to_owned(), json!(format!("gres/{}", self.gres)));
            } else if !self.gres.is_empty() {
                job.insert("gres".to_owned(), json!(self.gres));
            }
        }
        json!({ "script": format!("#!/bin/sh\nexec {}\n", self.command.shell_line(birth)), "job": job })
    }

    async fn submit(&self, birth: Birth) -> Result<(), FleetError> {
        let answer = self.call(Method::POST, "/job/submit", Some(self.body(&birth))).await?;
        let Some(job) = answer.get("job_id").and_then(Value::as_u64).filter(|job| *job != 0) else {
            return Err(unavailable(format!("Slurm took {} without giving it a number", birth.name)));
        };
        tracing::info!(instance = %birth.instance, name = birth.name, job, "submitted to Slurm");
        self.known().jobs.insert(birth.instance, job);
        Ok(())
    }

    async fn cancel(&self, instance: InstanceId) -> Result<(), FleetError> {
        let Some(job) = self.known().jobs.get(&instance).copied() else { return Ok(()) };
        self.call(Method::DELETE, &format!("/job/{job}"), None).await.map(drop)
    }

    async fn jobs(&self) -> Result<Vec<Provided>, FleetError> {
        let jobs = Jobs::deserialize(self.call(Method::GET, "/jobs", None).await?)
            .map_err(|error| unavailable(format!("{}/jobs answers something else: {error}", self.base)))?;
        let mut known = self.known();
        let listed: BTreeSet<u64> = jobs.jobs.iter().map(|job| job.job_id).collect();
        known.told.retain(|job| listed.contains(job));
        let mut provided = Vec::new();
        for job in jobs.jobs {
            let Some(Birth { instance, name }) = self.names.read(&job.name) else { continue };
            let state = self.provision(&job, &name);
            if matches!(state, Provision::Ended { .. }) {
                known.jobs.remove(&instance);
                if !known.told.insert(job.job_id) {
                    continue;
                }
            } else {
                known.jobs.insert(instance, job.job_id);
            }
            provided.push(Provided { instance, name, state });
        }
        Ok(provided)
    }

    fn provision(&self, job: &Job, name: &str) -> Provision {
        match job.job_state.first() {
            "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" | "SUSPENDED" | "RESIZING" => {
                Provision::Waiting
            }
            "RUNNING" | "COMPLETING" | "SIGNALING" | "STAGE_OUT" | "STOPPED" => Provision::Running,
            over => {
                let mut reason = format!("{name} (Slurm job {}) is {over}", job.job_id);
                if !matches!(job.state_reason.as_str(), "" | "None") {
                    reason.push_str(&format!(", {}", job.state_reason));
                }
                let last = log::last_lines(&self.log(name));
                if !last.is_empty() {
                    reason.push_str(&format!("; its last lines: {last}"));
                }
                Provision::Ended { reason }
            }
        }
    }
}

impl Backend for SlurmBackend {
    fn kind(&self) -> &'static str {
        "slurm"
    }

    fn start(&self, birth: Birth) -> BoxFuture<'_, Result<(), FleetError>> {
        self.submit(birth).boxed()
    }

    fn stop(&self, instance: InstanceId) -> BoxFuture<'_, Result<(), FleetError>> {
        self.cancel(instance).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Provided>, FleetError>> {
        self.jobs().boxed()
    }
}
