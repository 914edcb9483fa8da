//! A small fleet for the rules that are told one by one, and the requests they make of it.

use std::collections::BTreeMap;

use neuro::fleet::ids::{Fence, InstanceId, SessionId};
use neuro::fleet::ledger::{
    Command, Effect, Ledger, LedgerOptions, Member, OpenSession, Outcome, Registration, Tables,
};
use neuro::fleet::rows::{Endpoints, GpuRef, Phase, Quota, Role};
use neuro::fleet::spec::{Gang, Mode, Priority};
use neuro::proto::neuro::ext::Controller;

use super::driver::instance;

/// 2026-11-21, 13:50:46 UTC.
const START_MS: i64 = 1_795_269_046_000;

pub struct Fleet {
    pub ledger: Ledger,
    pub now_ms: i64,
    count: u64,
}

pub fn id(name: &str) -> SessionId {
    name.parse().unwrap()
}

impl Fleet {
    pub fn new(simulators: u32, trainers: u32) -> Self {
        Self::with(simulators, trainers, LedgerOptions::default())
    }

    pub fn with(simulators: u32, trainers: u32, options: LedgerOptions) -> Self {
        let mut fleet = Self { ledger: Ledger::new(Tables::default(), options), now_ms: START_MS, count: 0 };
        (0..simulators).for_each(|_| drop(fleet.add(Role::Simulator, |_| {})));
        (0..trainers).for_each(|_| drop(fleet.add(Role::Trainer, |_| {})));
        fleet
    }

    pub fn add(&mut self, role: Role, change: impl FnOnce(&mut Registration)) -> Registration {
        self.count += 1;
        let mut said = Registration {
            id: instance(self.count),
            name: format!("{}-{}", role.name(), self.count),
            role,
            pool: "default".to_owned(),
            node: "node".to_owned(),
            version: String::new(),
            labels: BTreeMap::new(),
            gpus: Vec::new(),
            memory_mb: 0,
            endpoints: Endpoints::default(),
            holding: None,
        };
        change(&mut said);
        self.does(Command::Register(said.clone()));
        said
    }

    pub fn apply(&mut self, command: Command) -> Effect {
        self.ledger.apply(self.now_ms, command)
    }

    #[track_caller]
    pub fn does(&mut self, command: Command) -> Outcome {
        self.apply(command).answer.unwrap()
    }

    pub fn later(&mut self, seconds: i64) {
        self.now_ms += seconds * 1000;
    }

    pub fn open(&mut self, name: &str, mode: Mode, simulators: u32) -> Outcome {
        self.does(Command::Open(request(name, mode, simulators)))
    }

    pub fn stop(&mut self, name: &str) -> Outcome {
        self.does(close(name, Phase::Stopped, None))
    }

    pub fn members(&self, name: &str) -> Vec<Member> {
        self.ledger.tables().members(&id(name))
    }

    pub fn phase(&self, name: &str) -> Phase {
        self.ledger.tables().sessions[&id(name)].phase
    }

    pub fn waits_for(&self, name: &str) -> String {
        self.ledger.tables().waiting_for(&id(name))
    }

    pub fn queue(&self) -> Vec<&str> {
        self.ledger.tables().queue().iter().map(SessionId::as_str).collect()
    }

    pub fn runs(&mut self, name: &str) {
        let (from, reason) = (Vec::new(), "it runs".to_owned());
        self.does(Command::Advance { session: id(name), from, to: Phase::Running, reason });
    }

    pub fn quota(&mut self, owner: &str, quota: Quota) {
        self.does(Command::SetQuota { owner: owner.to_owned(), quota });
    }
}

pub fn request(name: &str, mode: Mode, simulators: u32) -> OpenSession {
    OpenSession {
        id: id(name),
        owner: "ann".to_owned(),
        mode,
        priority: Priority::Normal,
        gang: Gang { trainers: u32::from(mode.trains()), simulators, ..Gang::default() },
        requires: BTreeMap::new(),
        spec: Vec::new(),
        request_hash: [mode as u8 + 10 * simulators as u8; 32],
        may_queue: true,
        restore_from: String::new(),
    }
}

pub fn of(owner: &str, name: &str, simulators: u32) -> Command {
    let mode = if simulators == 1 { Mode::Manual } else { Mode::Training };
    let mut open = request(name, mode, simulators);
    open.owner = owner.to_owned();
    open.gang.trainers = 0;
    Command::Open(open)
}

pub fn close(name: &str, to: Phase, requeue_from: Option<&str>) -> Command {
    let requeue_from = requeue_from.map(str::to_owned);
    Command::Close { session: id(name), to, reason: "the test".to_owned(), requeue_from }
}

pub fn lost(instance: InstanceId) -> Command {
    Command::Lost { instance, reason: "its process ended".to_owned() }
}

pub fn gpu(uuid: &str) -> GpuRef {
    GpuRef { index: 0, uuid: uuid.to_owned(), name: "H200".to_owned() }
}

pub fn control(name: &str, instance: InstanceId, holder: Controller, expect: Option<Fence>) -> Command {
    let user = if holder == Controller::Human { "ann".to_owned() } else { String::new() };
    Command::SetControl { session: id(name), instance, holder, user, expires_ms: 0, expect, renew: false }
}
