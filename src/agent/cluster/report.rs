//! What the node says of itself: who it is, what it can, what it has and what of it is given out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use super::pressure::Conditions;
use crate::agent::Agent;
use crate::agent::settings::NodeSettings;
use crate::proto::hypervisor::v1::{
    Metadata, NodeCondition, NodeRole, NodeStatus, RegisterNodeRequest, Resources,
};

/// What precedes the names of labels that the agent makes.
const PREFIX: &str = "neuro.io/";

/// See the module.
#[derive(Debug)]
pub struct Reporter {
    pub(super) agent: Agent,
    pub(super) hostname: String,
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    node: NodeSettings,
    conditions: Conditions,
    /// Somebody works on the node.
    pub(super) maintenance: bool,
}

/// How the node is now.
#[derive(Debug, Clone)]
pub(super) struct Now {
    pub(super) status: NodeStatus,
    pub(super) conditions: Vec<NodeCondition>,
    pub(super) allocated: Resources,
}

impl Reporter {
    /// Of a node whose agent listens there.
    #[must_use]
    pub fn new(agent: Agent, node: &NodeSettings, listen: SocketAddr) -> Self {
        let hostname = match node.hostname.as_str() {
            "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            named => named.to_owned(),
        };
        let ip = node.ip.parse().ok().unwrap_or_else(|| match listen.ip() {
            ip if ip.is_unspecified() => default_address(),
            ip => ip,
        });
        let conditions = Conditions::default();
        Self { agent, hostname, ip, port: listen.port(), node: node.clone(), conditions, maintenance: false }
    }

    /// As RegisterNode wants it.
    pub(super) fn registration(&self) -> RegisterNodeRequest {
        RegisterNodeRequest {
            hostname: self.hostname.clone(),
            ip: self.ip.to_string(),
            port: i32::from(self.port),
            role: NodeRole::Worker.into(),
            region: self.node.region.clone(),
            zone: self.node.zone.clone(),
            capacity: Some(self.agent.capacity()),
            metadata: Some(Metadata { labels: self.labels(), annotations: BTreeMap::new() }),
            supported_instance_types: self.kinds().into_iter().map(str::to_owned).collect(),
        }
    }

    /// Those of the settings, and what the probes found.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([(format!("{PREFIX}node-id"), self.agent.node().node_id.clone())]);
        for (kind, driver, ability) in self.agent.abilities() {
            let Some(ability) = ability.filter(|ability| ability.usable) else { continue };
            labels.entry(format!("{PREFIX}{}", kind.name())).or_insert_with(|| driver.to_owned());
            for (name, value) in ability.labels {
                labels.entry(format!("{PREFIX}{}.{name}", kind.name())).or_insert(value);
            }
        }
        labels.extend(self.node.labels.clone());
        labels
    }

    /// What can be made here, as far as that is known by now.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<&str> = Vec::new();
        for (kind, _, ability) in self.agent.abilities() {
            if ability.is_some_and(|ability| ability.usable) && !kinds.contains(&kind.name()) {
                kinds.push(kind.name());
            }
        }
        kinds
    }

    pub(super) fn region(&self) -> (&str, &str) {
        (&self.node.region, &self.node.zone)
    }

    pub(super) fn now(&mut self) -> Now {
        let draining = self.agent.draining();
        let status = match (self.maintenance, draining) {
            (true, _) => NodeStatus::Maintenance,
            (false, true) => NodeStatus::Draining,
            (false, false) => NodeStatus::Ready,
        };
        let conditions = self.conditions.look(self.agent.data(), draining);
        Now { status, conditions, allocated: self.agent.allocated() }
    }
}

/// The address that this machine would be seen by from outside. Nothing is sent.
fn default_address() -> IpAddr {
    let look = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        // Of the block that is set aside for documentation: only the way there is asked for.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    look().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
