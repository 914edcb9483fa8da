//! The clock of one polled simulator: there, away, lost, and there again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::call::{RestLink, chain};
use super::id_of_url;
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ids::{Fence, InstanceId};
use crate::fleet::ledger::{Command, Outcome};
use crate::fleet::link::registry::Shared;
use crate::fleet::link::{Ask, Link, Links, Pulse, hello};
use crate::fleet::url::websocket;
use crate::instance::contract::{Gpu, Health};
use crate::proto::neuro::ext;

/// How long one that is to drop its session is given.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// A simulator that is listed.
#[derive(Debug, Clone)]
pub struct Polled {
    /// `http://host:port`.
    pub url: String,
    /// The pool that lists it.
    pub pool: String,
    /// What it is called when it does not say: `pool-1`.
    pub name: String,
}

/// What is known of it while it is registered.
struct Known {
    id: InstanceId,
    link: Arc<RestLink>,
    pulse: watch::Sender<Option<Pulse>>,
    away_since: Option<Instant>,
}

struct Poll {
    links: Links,
    shared: Arc<Shared>,
    polled: Polled,
    http: reqwest::Client,
    known: Option<Known>,
    trouble: watch::Sender<String>,
}

/// Polls until it is dropped. `trouble` says why the simulator can not be used; empty while it can.
pub async fn poll(links: Links, polled: Polled, trouble: watch::Sender<String>) {
    let shared = links.shared();
    let interval = Duration::from_millis(shared.leases.interval_ms.max(1).into());
    let http = reqwest::Client::builder().no_proxy().connect_timeout(interval).build();
    let http = match http {
        Ok(http) => http,
        Err(error) => {
            warn!(url = polled.url, error = chain(&error), "no HTTP client");
            return;
        }
    };
    let mut poll = Poll { links, shared, polled, http, known: None, trouble };
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let looked = poll.look(interval).await;
        let problem = match looked {
            Ok(health) => poll.there(health).await.err().map(|error| error.to_string()),
            Err(problem) => Some(problem),
        };
        if let Some(problem) = &problem {
            poll.not_there(problem).await;
        }
        poll.say(problem.unwrap_or_default());
    }
}

impl Poll {
    fn say(&self, problem: String) {
        self.trouble.send_if_modified(|old| {
            let news = *old != problem;
            if news && !problem.is_empty() {
                warn!(url = self.polled.url, problem, "static instance");
            }
            *old = problem;
            news
        });
    }

    async fn look(&self, limit: Duration) -> Result<Health, String> {
        let url = format!("{}/v1/health", self.polled.url.trim_end_matches('/'));
        let answer = self.http.get(url).timeout(limit).send().await.map_err(|error| chain(&error))?;
        let answer = answer.error_for_status().map_err(|error| chain(&error))?;
        let health: Health = answer.json().await.map_err(|error| chain(&error))?;
        if !health.ready && health.session.is_empty() {
            return Err("it is not ready".to_owned());
        }
        Ok(health)
    }

    async fn there(&mut self, health: Health) -> Result<(), FleetError> {
        let id = if health.instance_id.is_empty() {
            id_of_url(&self.polled.url)
        } else {
            health.instance_id.parse()?
        };
        if let Some(known) = &self.known {
            let ran = known.link.session();
            let reason = if known.id != id {
                Some(format!("{} answers as another instance, {id}", self.polled.url))
            } else if !ran.is_empty() && health.session.is_empty() {
                Some(format!("{} was restarted: it does not run session {ran} any more", self.polled.url))
            } else {
                None
            };
            if let Some(reason) = reason {
                self.lose(reason).await;
            }
        }
        if self.known.as_ref().is_none_or(|known| known.away_since.is_some()) {
            self.register(id, &health).await?;
        }
        if let Some(known) = &self.known {
            known.pulse.send_replace(Some(Pulse { heartbeat: heartbeat(&health), at_ms: now_ms() }));
            let free = self.shared.free_under(id);
            if let Some(fence) = free.filter(|_| !health.session.is_empty()) {
                self.drop_session(fence).await;
            }
        }
        Ok(())
    }

    async fn register(&mut self, id: InstanceId, health: &Health) -> Result<(), FleetError> {
        let mut registration = hello::registration(self.hello(id, health))?;
        self.links.add_labels(&mut registration);
        let name = registration.name.clone();
        let url = self.polled.url.trim_end_matches('/').to_owned();
        let link = Arc::new(RestLink::new(name.clone(), url, self.http.clone(), health.session.clone()));
        let (pulse, felt) = watch::channel(None);
        let way: Arc<dyn Link> = Arc::clone(&link) as _;
        // Before the books know it: they may give it away at once, and then it is ordered about.
        self.links.put(id, way, felt);
        let (fence, keep) = match self.shared.books.apply(Command::Register(registration)).await {
            Ok(Outcome::Registered { fence, keep }) => (fence, keep),
            other => {
                self.links.take_off(id);
                let answer = other?;
                return Err(FleetError::Internal(format!("the books answered {answer:?} to a registration")));
            }
        };
        info!(instance = %id, name, url = self.polled.url, %fence, "registered");
        self.known = Some(Known { id, link, pulse, away_since: None });
        if keep.is_none() && !health.session.is_empty() {
            self.drop_session(fence).await;
        }
        Ok(())
    }

    fn hello(&self, id: InstanceId, health: &Health) -> ext::Hello {
        let url = self.polled.url.trim_end_matches('/');
        let or = |said: &str, otherwise: String| if said.is_empty() { otherwise } else { said.to_owned() };
        let mut labels = health.labels.clone();
        labels.insert("pool".to_owned(), self.polled.pool.clone());
        ext::Hello {
            instance_id: id.to_string(),
            name: or(&health.name, self.polled.name.clone()),
            role: ext::Role::Simulator.into(),
            version: health.version.clone(),
            control_ws_url: or(&health.control_ws_url, format!("{}/control", websocket(url))),
            zmq_endpoint: health.zmq_endpoint.clone(),
            rest_url: url.to_owned(),
            stream_url: or(&health.stream_url, format!("{url}/stream")),
            labels: labels.into_iter().collect(),
            gpus: health.gpus.iter().map(gpu).collect(),
            memory_mb: 0,
            holding_session: health.session.clone(),
            holding_fence: i64::try_from(health.fence).unwrap_or(i64::MAX),
        }
    }

    async fn drop_session(&self, fence: Fence) {
        let Some(known) = &self.known else { return };
        let stop = Ask::Stop(ext::Stop { cleanup: true, grace_ms: 0 });
        if let Err(error) = known.link.order(fence, stop, DROP_LIMIT).await {
            warn!(instance = %known.id, url = self.polled.url, %error, "did not drop its session");
        }
    }

    async fn not_there(&mut self, problem: &str) {
        let lease = self.shared.lease();
        let Some(known) = &mut self.known else { return };
        match known.away_since {
            None => {
                known.away_since = Some(Instant::now());
                let id = known.id;
                self.tell_books(Command::Away(id)).await;
            }
            Some(since) if since.elapsed() >= lease => {
                let lease_ms = self.shared.leases.lease_ms;
                let url = &self.polled.url;
                self.lose(format!("{url} did not answer for {lease_ms} ms: {problem}")).await;
            }
            Some(_) => {}
        }
    }

    async fn lose(&mut self, reason: String) {
        let Some(known) = self.known.take() else { return };
        info!(instance = %known.id, url = self.polled.url, reason, "lost");
        self.links.take_off(known.id);
        self.tell_books(Command::Lost { instance: known.id, reason }).await;
    }

    async fn tell_books(&self, command: Command) {
        if let Err(error) = self.shared.books.apply(command).await {
            warn!(url = self.polled.url, %error, "the books did not take it");
        }
    }
}

fn gpu(gpu: &Gpu) -> ext::Gpu {
    ext::Gpu {
        index: i32::try_from(gpu.index).unwrap_or(i32::MAX),
        uuid: gpu.uuid.clone(),
        name: gpu.name.clone(),
        memory_total_mb: gpu.memory_total_mb,
        memory_used_mb: gpu.memory_used_mb,
        utilization: gpu.utilization,
        ..ext::Gpu::default()
    }
}

fn heartbeat(health: &Health) -> ext::Heartbeat {
    ext::Heartbeat {
        fps: health.fps,
        frame_count: health.frame_count,
        simulation_time: health.sim_time,
        cpu_utilization: health.cpu_utilization,
        gpus: health.gpus.iter().map(gpu).collect(),
        session_id: health.session.clone(),
        client_connected: health.client_connected,
        last_command_ms: health.last_command_ms,
        ..ext::Heartbeat::default()
    }
}
