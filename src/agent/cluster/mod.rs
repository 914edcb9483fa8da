//! Where the node reports: a ClusterService over gRPC, an etcd over its JSON gateway, both or none. Neither is needed for
//! anything else: a cluster that is away is asked again for ever, and instances do not notice.

mod etcd;
#[cfg(test)]
mod etcd_tests;
mod instant;
mod pressure;
mod register;
#[cfg(test)]
mod register_tests;
mod report;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Agent;
use super::settings::AgentSettings;

pub use report::Reporter;

/// How patient the reports are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Until something is tried a second time; doubles then.
    pub first_delay: Duration,
    /// Longest time until something is tried again.
    pub longest_delay: Duration,
    /// For an answer.
    pub answer: Duration,
    /// Between two heartbeats where the other side does not say.
    pub beat: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(60),
            answer: Duration::from_secs(10),
            beat: Duration::from_secs(10),
        }
    }
}

impl Pace {
    /// Until the next try after so many that failed.
    fn delay(&self, failures: u32) -> Duration {
        let doubled = self.first_delay.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.longest_delay)
    }
}

/// The reports that go on.
#[derive(Debug)]
pub struct Reports {
    stop: watch::Sender<End>,
    tasks: Vec<JoinHandle<()>>,
}

/// How the reports are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Not yet.
    No,
    /// The agent comes back: the node stays known for as long as its lease.
    Quiet,
    /// The node goes.
    Deregister,
}

impl Reports {
    /// Begins to report what the settings name; `listen` is where the agent is reached.
    #[must_use]
    pub fn begin(agent: &Agent, settings: &AgentSettings, listen: SocketAddr, pace: Pace) -> Self {
        let (stop, stopping) = watch::channel(End::No);
        let reporter = || Reporter::new(agent.clone(), &settings.node, listen);
        let mut tasks = Vec::new();
        if !settings.cluster.server.is_empty() {
            let server = settings.cluster.server.clone();
            tasks.push(tokio::spawn(register::run(server, reporter(), pace, stopping.clone())));
        }
        if !settings.cluster.etcd.is_empty() {
            let members = settings.cluster.etcd.clone();
            tasks.push(tokio::spawn(etcd::run(members, reporter(), pace, stopping)));
        }
        Self { stop, tasks }
    }

    /// Ends the reports; with `deregister` the cluster is told that the node goes.
    pub async fn end(self, deregister: bool) {
        self.stop.send_replace(if deregister { End::Deregister } else { End::Quiet });
        drop(futures_util::future::join_all(self.tasks).await);
    }
}

/// Waits until the reports are to end, and says how.
async fn ending(stop: &mut watch::Receiver<End>) -> End {
    stop.wait_for(|end| *end != End::No).await.map_or(End::Quiet, |end| *end)
}
