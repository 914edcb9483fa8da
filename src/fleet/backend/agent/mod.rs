//! Instances as containers on nodes that have a node agent (`neuro agent`, or another `hypervisor.v1.AgentService`). The
//! instance's UUID is the container's id, its name says whose fleet and pool it is of; so a restarted orchestrator finds
//! its containers by asking.

mod node;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use self::node::Node;
use super::command::InstanceCommand;
use super::mark::JobNames;
use super::{Backend, Birth, Provided, Provision};
use crate::fleet::error::FleetError;
use crate::fleet::ids::InstanceId;
use crate::fleet::settings::{AgentPool, Pool, volume};
use crate::proto::hypervisor::v1::{
    AgentCreateInstanceRequest, Instance, InstanceSpec, InstanceState, InstanceType, VolumeMount,
};

/// A node that does not answer keeps its instances for so long; then they count as gone.
const AWAY_FOR: Duration = Duration::from_secs(60);
const AUTOSTART: &str = "hypervisor.io/autostart";
const NETWORK: &str = "hypervisor.io/network";

/// `agent`.
#[derive(Debug)]
pub struct AgentBackend {
    nodes: Vec<Node>,
    settings: AgentPool,
    /// Whether the pool has a command of its own; else the image's runs.
    own_command: bool,
    command: InstanceCommand,
    names: JobNames,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Which node has which.
    places: BTreeMap<InstanceId, usize>,
    /// What each node listed last, and when.
    listed: BTreeMap<usize, (Instant, Vec<Provided>)>,
}

impl AgentBackend {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// `Invalid`, naming the key; `Internal` when the data folder can not be used.
    pub fn new(pool: &Pool, command: InstanceCommand, data: &Path) -> Result<Self, FleetError> {
        let nodes = pool.agent.urls.iter().map(|url| Node::new(url, &pool.agent));
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            settings: pool.agent.clone(),
            own_command: !pool.command.is_empty(),
            command,
            names: JobNames::of(data, &pool.name)?,
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted(&self, birth: &Birth) -> AgentCreateInstanceRequest {
        let settings = &self.settings;
        let mounts = settings.volumes.iter().filter_map(|text| volume(text));
        let mount = |(name, path, read_only): (&str, &str, bool)| VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            read_only,
        };
        let mut annotations = settings.annotations.clone();
        annotations.insert(AUTOSTART.to_owned(), "true".to_owned());
        annotations.entry(NETWORK.to_owned()).or_insert_with(|| "host".to_owned());
        let mut env = self.command.told(birth);
        env.extend(self.command.env(birth));
        AgentCreateInstanceRequest {
            instance_id: birth.instance.to_string(),
            name: self.names.name(birth),
            r#type: InstanceType::Container.into(),
            spec: Some(InstanceSpec {
                image: settings.image.clone(),
                cpu_cores: i32::try_from(settings.cpu_cores).unwrap_or(i32::MAX),
                memory_bytes: i64::try_from(settings.memory_mb << 20).unwrap_or(i64::MAX),
                command: if self.own_command { self.command.argv(birth) } else { Vec::new() },
                env,
                volume_mounts: mounts.map(mount).collect(),
                ..InstanceSpec::default()
            }),
            labels: [("neuro.pool".to_owned(), self.command.pool().to_owned())].into(),
            annotations,
        }
    }

    /// Nodes by how few of the pool's instances they have.
    fn by_load(&self) -> Vec<(usize, &Node)> {
        let mut load = vec![0_u32; self.nodes.len()];
        for place in self.known().places.values() {
            if let Some(load) = load.get_mut(*place) {
                *load += 1;
            }
        }
        let mut nodes: Vec<(usize, &Node)> = self.nodes.iter().enumerate().collect();
        nodes.sort_by_key(|(at, _)| load.get(*at).copied());
        nodes
    }

    async fn create(&self, birth: Birth) -> Result<(), FleetError> {
        let mut refusals = Vec::new();
        for (at, node) in self.by_load() {
            match node.create(self.wanted(&birth)).await {
                Ok(_) => {
                    tracing::info!(instance = %birth.instance, name = birth.name, node = node.url, "started");
                    self.known().places.insert(birth.instance, at);
                    return Ok(());
                }
                // It may have taken it all the same: another node must not have a second one of this id.
                Err(error @ FleetError::Unavailable { .. }) if self.nodes.len() > 1 => {
                    if let Err(still) = node.remove(birth.instance.to_string(), true).await {
                        tracing::warn!(instance = %birth.instance, "{still}; it is looked for later");
                    }
                    refusals.push(error);
                }
                Err(error) => refusals.push(error),
            }
        }
        let why = refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Err(match refusals.pop() {
            Some(FleetError::Precondition(_)) => FleetError::Precondition(why),
            Some(FleetError::Denied(_)) => FleetError::Denied(why),
            _ => super::unavailable(why),
        })
    }

    async fn remove(&self, instance: InstanceId) -> Result<(), FleetError> {
        let place = self.known().places.get(&instance).copied();
        let asked = self.nodes.iter().enumerate().filter(|(at, _)| place.is_none_or(|place| place == *at));
        let answers = join_all(asked.map(|(_, node)| node.remove(instance.to_string(), false))).await;
        answers.into_iter().collect::<Result<(), _>>()?;
        self.known().places.remove(&instance);
        Ok(())
    }

    async fn all(&self) -> Result<Vec<Provided>, FleetError> {
        let answers = join_all(self.nodes.iter().map(Node::list)).await;
        let everyone_is_away = answers.iter().all(Result::is_err);
        let mut provided = Vec::new();
        for (at, (answer, node)) in answers.into_iter().zip(&self.nodes).enumerate() {
            match answer {
                Ok(instances) => provided.extend(self.listed(at, node, instances)),
                Err(error) if everyone_is_away => return Err(error),
                Err(error) => provided.extend(self.away(at, &error)),
            }
        }
        Ok(provided)
    }

    /// What a node says, and what is over is removed there.
    fn listed(&self, at: usize, node: &Node, instances: Vec<Instance>) -> Vec<Provided> {
        let mut found = Vec::new();
        for one in instances {
            let Some(Birth { instance, name }) = self.names.read(&one.name) else { continue };
            if one.id != instance.to_string() {
                continue;
            }
            let state = provision(&one, &name, &node.url);
            found.push(Provided { instance, name, state });
        }
        let mut known = self.known();
        let there: BTreeSet<InstanceId> = found.iter().map(|one| one.instance).collect();
        known.places.retain(|id, place| *place != at || there.contains(id));
        for one in &found {
            if !matches!(one.state, Provision::Ended { .. }) {
                known.places.insert(one.instance, at);
            }
        }
        let alive = found.iter().filter(|one| !matches!(one.state, Provision::Ended { .. })).cloned();
        known.listed.insert(at, (Instant::now(), alive.collect()));
        drop(known);
        found
    }

    /// A node that does not answer has what it had, for a while.
    fn away(&self, at: usize, error: &FleetError) -> Vec<Provided> {
        let mut known = self.known();
        let Some((since, last)) = known.listed.get(&at) else { return Vec::new() };
        if since.elapsed() < AWAY_FOR {
            tracing::debug!("{error}; its instances are taken as they were");
            return last.clone();
        }
        let reason = format!("{error}, for {} s", AWAY_FOR.as_secs());
        let gone: Vec<Provided> = last.clone();
        known.listed.remove(&at);
        known.places.retain(|_, place| *place != at);
        let over = |one: Provided| Provided { state: Provision::Ended { reason: reason.clone() }, ..one };
        gone.into_iter().map(over).collect()
    }

    /// Removes what is over where it lies, so that it is not listed for ever.
    async fn tidy(&self, provided: &[Provided]) {
        let over = provided.iter().filter(|one| matches!(one.state, Provision::Ended { .. }));
        for one in over {
            if let Err(error) = self.remove(one.instance).await {
                tracing::debug!(instance = %one.instance, "{error}");
            }
        }
    }
}

fn provision(instance: &Instance, name: &str, url: &str) -> Provision {
    match instance.state() {
        InstanceState::Running => Provision::Running,
        InstanceState::Unspecified | InstanceState::Pending | InstanceState::Creating => Provision::Waiting,
        // Made, and about to start.
        InstanceState::Stopped if instance.ended_at.is_none() && instance.started_at.is_none() => {
            Provision::Waiting
        }
        over @ (InstanceState::Stopped | InstanceState::Failed | InstanceState::Deleting) => {
            let why = if instance.error_message.is_empty() { "" } else { ": " };
            let state = over.as_str_name().trim_start_matches("INSTANCE_STATE_");
            Provision::Ended { reason: format!("{name} at {url} is {state}{why}{}", instance.error_message) }
        }
    }
}

impl Backend for AgentBackend {
    fn kind(&self) -> &'static str {
        "agent"
    }

    fn start(&self, birth: Birth) -> BoxFuture<'_, Result<(), FleetError>> {
        self.create(birth).boxed()
    }

    fn stop(&self, instance: InstanceId) -> BoxFuture<'_, Result<(), FleetError>> {
        self.remove(instance).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Provided>, FleetError>> {
        async {
            let provided = self.all().await?;
            self.tidy(&provided).await;
            Ok(provided)
        }
        .boxed()
    }
}
