//! A fleet in a folder that goes away with the test.

use std::time::Duration;

use futures_util::StreamExt;

use super::Fake;
use crate::fleet::event::EventKind;
use crate::fleet::ids::SessionId;
use crate::fleet::orchestrator::{Orchestrator, OrchestratorOptions};
use crate::fleet::request::{CreateSession, SessionOptions};
use crate::fleet::rows::{Phase, Role};
use crate::fleet::settings::{FleetSettings, Leases, Pool};
use crate::fleet::spec::Mode;
use crate::proto::neuro::orchestrator::GrpcResourceRequirements;

pub struct Home {
    pub fleet: Orchestrator,
    pub settings: FleetSettings,
    pub sims: Vec<Fake>,
    pub trainers: Vec<Fake>,
    folder: tempfile::TempDir,
}

impl Home {
    pub async fn new(sims: usize, trainers: usize) -> Self {
        Self::with(sims, trainers, |_| {}).await
    }

    pub async fn with(sims: usize, trainers: usize, edit: impl FnOnce(&mut FleetSettings)) -> Self {
        let mut settings = FleetSettings {
            leases: Leases { interval_ms: 50, lease_ms: 400 },
            // A pool of nobody: what attaches on its own is all there is.
            pool: vec![Pool {
                name: "nobody".to_owned(),
                role: "simulator".to_owned(),
                backend: "static".to_owned(),
                instances: vec!["http://127.0.0.1:9".to_owned()],
                ..Pool::default()
            }],
            ..FleetSettings::default()
        };
        edit(&mut settings);
        let folder = tempfile::tempdir().unwrap();
        let fleet = open(&folder, &settings).await;
        let mut home = Self { fleet, settings, sims: Vec::new(), trainers: Vec::new(), folder };
        for index in 1..=sims {
            home.add(Role::Simulator, &format!("sim-{index}")).await;
        }
        for index in 1..=trainers {
            home.add(Role::Trainer, &format!("trainer-{index}")).await;
        }
        home
    }

    /// One more instance.
    pub async fn add(&mut self, role: Role, name: &str) {
        let mut fake = Fake::new(name, role);
        fake.attach(self.fleet.links()).await;
        if role == Role::Simulator { self.sims.push(fake) } else { self.trainers.push(fake) }
    }

    /// The orchestrator ends and another one starts over the same folder; instances do not come back by themselves.
    pub async fn restart(&mut self) {
        self.fleet.shutdown().await;
        self.sims.iter_mut().chain(&mut self.trainers).for_each(Fake::detach);
        self.fleet = open(&self.folder, &self.settings).await;
    }

    /// Everybody comes back.
    pub async fn reattach(&mut self) {
        for fake in self.sims.iter_mut().chain(&mut self.trainers) {
            fake.attach(self.fleet.links()).await;
        }
    }

    /// A simulator of a session, by environment.
    pub fn sim(&mut self, session: &SessionId, env: usize) -> &mut Fake {
        let id = self.fleet.peek(session).unwrap().simulators[env].row.id;
        self.sims.iter_mut().find(|fake| fake.id == id).unwrap()
    }

    /// The trainer of a session.
    pub fn trainer(&mut self, session: &SessionId) -> &mut Fake {
        let id = self.fleet.peek(session).unwrap().trainer.unwrap().row.id;
        self.trainers.iter_mut().find(|fake| fake.id == id).unwrap()
    }

    pub fn phase(&self, session: &SessionId) -> Phase {
        self.fleet.peek(session).unwrap().row.phase
    }

    /// Instances that somebody has, as the books say.
    pub fn held(&self) -> usize {
        self.fleet.books().read(|tables| tables.instances.values().filter(|row| row.holder.is_some()).count())
    }

    pub fn path(&self) -> &std::path::Path {
        self.folder.path()
    }
}

async fn open(folder: &tempfile::TempDir, settings: &FleetSettings) -> Orchestrator {
    Orchestrator::open(OrchestratorOptions {
        settings: settings.clone(),
        data: folder.path().to_owned(),
        grpc_url: "http://127.0.0.1:1".to_owned(),
        http_url: "http://127.0.0.1:2".to_owned(),
        ..OrchestratorOptions::default()
    })
    .await
    .unwrap()
}

/// What the published client sends: an id and nothing else.
pub fn manual(id: &str) -> CreateSession {
    CreateSession {
        id: id.parse().unwrap(),
        mode: Mode::Manual,
        scene: None,
        stream: None,
        training: None,
        resources: None,
        human_demo: false,
        options: SessionOptions::default(),
        wait: Duration::from_secs(10),
    }
}

/// A training session over so many simulators.
pub fn training(id: &str, simulators: i32) -> CreateSession {
    CreateSession {
        mode: Mode::Training,
        resources: Some(GrpcResourceRequirements { isaac_sim_instances: simulators, ..Default::default() }),
        ..manual(id)
    }
}

/// Until something holds, at most a minute: a disk that syncs for others may take seconds over a commit.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within a minute: {what}");
}

/// Phases of a session's log so far, in order.
pub async fn phases(fleet: &Orchestrator, session: &SessionId) -> Vec<Phase> {
    let last = fleet.peek(session).unwrap().row.last_seq;
    let mut events = fleet.watch(session, 0).unwrap();
    let mut phases = Vec::new();
    while let Some(row) = events.next().await {
        let row = row.unwrap();
        if let EventKind::Phase(change) = &row.kind {
            phases.push(change.to());
        }
        if row.seq >= last {
            break;
        }
    }
    phases
}
