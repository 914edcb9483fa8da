//! Random fleets, owners and commands, and checks of the whole tables now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use neuro::fleet::ids::{Fence, InstanceId, SessionId};
use neuro::fleet::ledger::{Change, Command, Ledger, LedgerOptions, OpenSession, Registration, Tables};
use neuro::fleet::rows::{Condition, Endpoints, GpuRef, Phase, Quota, Role, ended};
use neuro::fleet::spec::{Gang, Mode, Priority};
use neuro::proto::neuro::ext::{Controller, Progress, session_event::Kind};

use super::model::Model;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub fn chance(&mut self, per_cent: usize) -> bool {
        self.below(100) < per_cent
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }
}

pub fn instance(number: u64) -> InstanceId {
    InstanceId(uuid::Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 + u128::from(number)))
}

fn gpu(index: usize) -> GpuRef {
    GpuRef { index: index as u32, uuid: format!("GPU-{index}"), name: String::new() }
}

/// One fleet from its first instance to its last.
pub struct Episode {
    random: Random,
    ledger: Ledger,
    model: Model,
    now_ms: i64,
    owners: usize,
    gpus: bool,
    simple: bool,
    most: usize,
    known: Vec<Registration>,
    sessions: Vec<SessionId>,
    opened: BTreeMap<SessionId, OpenSession>,
    names: u64,
}

impl Episode {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let quota = |random: &mut Random| Quota {
            max_sessions: random.below(6) as u32,
            max_simulators: random.below(12) as u32,
            max_training_gpus: random.below(5) as u32,
            gpu_hours_per_month: random.below(2) as f64 * 0.5,
            weight: random.below(4) as u32,
        };
        let limited = random.chance(50);
        let slots: BTreeMap<String, u32> = [("a".to_owned(), 1 + random.below(3) as u32)].into();
        let simple = random.chance(30);
        let options = LedgerOptions {
            default_quota: if limited && !simple { quota(&mut random) } else { Quota::default() },
            slots_per_gpu: slots.clone(),
            patience: Duration::from_millis([0, 5_000, 60_000, u64::from(u32::MAX)][random.below(4)]),
            events_kept: 20,
        };
        let mut model = Model::default();
        model.default_quota = options.default_quota.clone();
        model.slots = slots;
        let options = if simple { LedgerOptions { patience: Duration::MAX, ..options } } else { options };
        Self {
            owners: 1 + random.below(4),
            gpus: !simple && random.chance(50),
            simple,
            most: 2 + random.below(18),
            ledger: Ledger::new(Tables::default(), options),
            model,
            now_ms: 1_795_000_000_000,
            known: Vec::new(),
            sessions: Vec::new(),
            opened: BTreeMap::new(),
            names: 0,
            random,
        }
    }

    pub fn run(mut self, steps: usize) {
        for step in 0..steps {
            self.now_ms += self.random.below(1500) as i64;
            let command = self.command();
            self.apply(command);
            if self.sessions.len() > 40 {
                let id = self.sessions.remove(0);
                self.apply(stop(&id));
                self.opened.remove(&id);
            }
            if step % 200 == 0 {
                self.whole();
            }
        }
        self.whole();
        self.nothing_leaks();
    }

    fn apply(&mut self, command: Command) {
        let effect = self.ledger.apply(self.now_ms, command);
        self.model.check(&effect);
    }

    fn session(&mut self) -> SessionId {
        self.random.one(&self.sessions).cloned().unwrap_or_else(|| "nobody".parse().expect("an id"))
    }

    fn some_instance(&mut self) -> InstanceId {
        self.random.one(&self.known).map_or_else(|| instance(u64::MAX), |said| said.id)
    }

    fn command(&mut self) -> Command {
        match self.random.below(100) {
            0..=23 => self.open(),
            24..=31 => self.upgrade(),
            32..=33 => self.opened_before(),
            34..=49 => self.close(),
            50..=61 => self.register(),
            62..=65 => {
                Command::Lost { instance: self.some_instance(), reason: "its lease ran out".to_owned() }
            }
            66..=68 => Command::Away(self.some_instance()),
            69..=75 => self.advance(),
            76..=78 => self.record(),
            79 => Command::Repair(self.session()),
            80..=81 => self.drain(),
            82..=84 => Command::Undrain(vec![self.some_instance()]),
            85 => self.quota(),
            86..=90 => Command::Tick,
            91..=92 => Command::Abandon { session: self.session(), reason: "nobody asks".to_owned() },
            93..=95 => self.control(),
            96 => Command::Evict { instance: self.some_instance(), reason: "the drain ends".to_owned() },
            97 => self.forget(),
            98 => Command::Prune { ended_before_ms: self.now_ms - 100_000 },
            _ => Command::Undrain(Vec::new()),
        }
    }

    fn open(&mut self) -> Command {
        self.names += 1;
        let id: SessionId = format!("s-{}", self.names).parse().expect("an id");
        let mode = [Mode::Manual, Mode::Training, Mode::Hybrid][self.random.below(3)];
        let open = self.request(id.clone(), mode, None);
        self.sessions.push(id.clone());
        self.opened.insert(id, open.clone());
        Command::Open(open)
    }

    fn request(&mut self, id: SessionId, mode: Mode, owner: Option<String>) -> OpenSession {
        let random = &mut self.random;
        let trains = mode.trains();
        let rt = !self.simple && random.chance(20);
        OpenSession {
            owner: owner.unwrap_or_else(|| format!("owner-{}", random.below(self.owners))),
            mode,
            priority: [Priority::Low, Priority::Normal, Priority::Normal, Priority::High][random.below(4)],
            gang: Gang {
                trainers: u32::from(trains),
                simulators: if trains { 1 + random.below(8) as u32 } else { 1 },
                training_gpus: if trains && self.gpus { random.below(3) as u32 } else { 0 },
                training_memory_mb: if trains && self.gpus { random.below(3) as u64 * 1000 } else { 0 },
            },
            requires: if rt { [("rt".to_owned(), "yes".to_owned())].into() } else { BTreeMap::new() },
            spec: Vec::new(),
            request_hash: [random.below(250) as u8; 32],
            may_queue: random.chance(80),
            restore_from: if random.chance(5) { "snapshot".to_owned() } else { String::new() },
            id,
        }
    }

    fn upgrade(&mut self) -> Command {
        let manual: Vec<SessionId> = self
            .model
            .sessions
            .values()
            .rev()
            .filter(|row| row.mode == Mode::Manual)
            .filter(|row| !ended(row.phase))
            .take(5)
            .map(|row| row.id.clone())
            .collect();
        let Some(id) = self.random.one(&manual).cloned() else { return self.open() };
        let owner = self.model.sessions[&id].owner.clone();
        let mode = if self.random.chance(50) { Mode::Training } else { Mode::Hybrid };
        Command::Open(self.request(id, mode, Some(owner)))
    }

    fn opened_before(&mut self) -> Command {
        let id = self.session();
        self.opened.get(&id).cloned().map_or(Command::Tick, Command::Open)
    }

    fn close(&mut self) -> Command {
        let session = self.session();
        let requeue = self.random.chance(20);
        Command::Close {
            session,
            to: if requeue { Phase::Preempted } else { Phase::Completed },
            reason: "done".to_owned(),
            requeue_from: requeue.then(String::new),
        }
    }

    fn register(&mut self) -> Command {
        if self.known.len() >= self.most || self.random.chance(40) {
            // An instance comes back, with or without what it ran.
            let Some(mut said) = self.random.one(&self.known).cloned() else { return Command::Tick };
            let row = self.model.instances.get(&said.id);
            let holds = row.and_then(|row| row.holder.clone().map(|holder| (holder.session, row.fence)));
            said.holding = if self.random.chance(80) {
                holds
            } else if self.random.chance(20) {
                Some(("another".parse().expect("an id"), Fence(self.random.next() % 50)))
            } else {
                None
            };
            return Command::Register(said);
        }
        self.names += 1;
        let random = &mut self.random;
        let trainer = random.chance(25);
        let gpus =
            if self.gpus && random.chance(80) { 1 + random.below(if trainer { 3 } else { 1 }) } else { 0 };
        let labels =
            if random.chance(50) { [("rt".to_owned(), "yes".to_owned())].into() } else { BTreeMap::new() };
        let first = random.below(6);
        let said = Registration {
            id: instance(self.names),
            name: format!("instance-{}", self.names),
            role: if trainer { Role::Trainer } else { Role::Simulator },
            pool: if random.chance(50) { "a".to_owned() } else { "b".to_owned() },
            node: "node".to_owned(),
            version: String::new(),
            labels,
            gpus: (0..gpus).map(|index| gpu((first + index) % 6)).collect(),
            memory_mb: random.below(4) as u64 * 1000,
            endpoints: Endpoints::default(),
            holding: None,
        };
        self.known.push(said.clone());
        Command::Register(said)
    }

    fn advance(&mut self) -> Command {
        let to = [Phase::Starting, Phase::Ready, Phase::Running, Phase::Paused, Phase::Stopping]
            [self.random.below(5)];
        Command::Advance { session: self.session(), from: Vec::new(), to, reason: "it goes on".to_owned() }
    }

    fn record(&mut self) -> Command {
        let events = (0..self.random.below(3)).map(|_| Kind::Progress(Progress::default())).collect();
        Command::Record { session: self.session(), events }
    }

    fn drain(&mut self) -> Command {
        let instances = if self.random.chance(10) { Vec::new() } else { vec![self.some_instance()] };
        Command::Drain { instances, until_ms: self.now_ms + 5000 }
    }

    fn quota(&mut self) -> Command {
        let random = &mut self.random;
        let owner = format!("owner-{}", random.below(self.owners));
        let weight = random.below(4) as u32;
        if self.simple {
            return Command::SetQuota { owner, quota: Quota { weight, ..Quota::default() } };
        }
        let quota = Quota {
            max_sessions: random.below(8) as u32,
            max_simulators: random.below(20) as u32,
            max_training_gpus: random.below(6) as u32,
            gpu_hours_per_month: random.below(3) as f64,
            weight,
        };
        Command::SetQuota { owner, quota }
    }

    fn control(&mut self) -> Command {
        let instance = self.some_instance();
        let holder = self.model.instances.get(&instance).and_then(|row| row.holder.clone());
        let session = holder.map_or_else(|| self.session(), |holder| holder.session);
        Command::SetControl {
            session,
            instance,
            holder: if self.random.chance(50) { Controller::Human } else { Controller::Policy },
            user: "somebody".to_owned(),
            expires_ms: 0,
            expect: self.random.chance(30).then_some(Fence(1)),
            renew: self.random.chance(30),
        }
    }

    fn forget(&mut self) -> Command {
        let id = self.some_instance();
        if self.model.instances.get(&id).is_some_and(|row| row.holder.is_none()) {
            self.known.retain(|said| said.id != id);
        }
        Command::Forget(id)
    }

    /// The tables against the model, and against tables made from the rows alone, as a restart makes them.
    fn whole(&self) {
        let tables = self.ledger.tables();
        assert_eq!(tables.instances, self.model.instances);
        assert_eq!(tables.sessions, self.model.sessions);
        let mut queue: Vec<&SessionId> = tables.queue().iter().collect();
        for (place, id) in queue.iter().enumerate() {
            assert_eq!(tables.position(id) as usize, place + 1);
            assert!(!tables.waiting_for(id).is_empty(), "{id} waits for nothing");
        }
        queue.sort_unstable();
        let waiting: Vec<&SessionId> = self.model.waiting().map(|row| &row.id).collect();
        assert_eq!(queue, waiting, "the queue lost a session, or kept one");
        let mut again = Tables::default();
        again.default_quota = tables.default_quota.clone();
        tables.sessions.values().for_each(|row| again.apply(&Change::Session(row.clone())));
        tables.instances.values().for_each(|row| again.apply(&Change::Instance(row.clone())));
        for (owner, quota) in &tables.quotas {
            again.apply(&Change::Quota { owner: owner.clone(), quota: quota.clone() });
        }
        assert_eq!(tables.queue(), again.queue(), "a restart orders the queue otherwise");
        for role in [Role::Simulator, Role::Trainer] {
            let idle = self.model.instances.values().filter(|row| {
                row.role == role
                    && row.condition == Condition::Present
                    && row.holder.is_none()
                    && row.drain_until_ms.is_none()
            });
            assert_eq!(tables.idle(role), idle.count());
            assert_eq!(tables.idle(role), again.idle(role));
        }
        for owner in (0..self.owners).map(|owner| format!("owner-{owner}")) {
            assert_eq!(tables.used(&owner), again.used(&owner), "{owner}");
        }
        for id in tables.sessions.keys() {
            assert_eq!(tables.members(id).len(), self.model.holds(id));
            assert_eq!(tables.members(id), again.members(id));
        }
        if self.simple {
            self.nobody_waits_in_vain();
        }
    }

    /// Without quotas, labels and GPUs, with everybody patient: who waits finds too little free, also when repairs come first.
    fn nobody_waits_in_vain(&self) {
        let tables = self.ledger.tables();
        let recovering = |row: &&neuro::fleet::rows::SessionRow| !ended(row.phase) && row.queued_ms == 0;
        let short = tables.sessions.values().filter(recovering);
        let short = short
            .filter(|row| self.model.holds(&row.id) < (row.gang.simulators + row.gang.trainers) as usize);
        if short.count() > 0 {
            return;
        }
        for row in self.model.waiting() {
            let members = tables.members(&row.id);
            let has = |role: Role| members.iter().filter(|member| member.role == role).count();
            let simulators = row.gang.simulators as usize - has(Role::Simulator);
            let trainers = row.gang.trainers as usize - has(Role::Trainer);
            let fits = tables.idle(Role::Simulator) >= simulators && tables.idle(Role::Trainer) >= trainers;
            assert!(!fits, "{} waits while its gang is free", row.id);
        }
    }

    fn nothing_leaks(&mut self) {
        let alive = self.model.sessions.values().filter(|row| !ended(row.phase));
        let alive: Vec<SessionId> = alive.map(|row| row.id.clone()).collect();
        alive.iter().for_each(|id| self.apply(stop(id)));
        let tables = self.ledger.tables();
        assert!(tables.queue().is_empty());
        assert!(tables.controls.is_empty());
        assert!(tables.instances.values().all(|row| row.holder.is_none()), "somebody ended and holds on");
        for said in self.known.clone() {
            self.apply(Command::Register(said));
        }
        self.apply(Command::Undrain(Vec::new()));
        let tables = self.ledger.tables();
        let idle = tables.idle(Role::Simulator) + tables.idle(Role::Trainer);
        assert_eq!(idle, self.known.len(), "an instance is nobody's and cannot be given away");
    }
}

fn stop(session: &SessionId) -> Command {
    Command::Close {
        session: session.clone(),
        to: Phase::Stopped,
        reason: "stopped".to_owned(),
        requeue_from: None,
    }
}
