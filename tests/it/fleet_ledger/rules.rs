//! The rules one by one, as sentences.

use std::collections::BTreeMap;
use std::time::Duration;

use neuro::fleet::FleetError;
use neuro::fleet::ids::{Fence, InstanceId, SessionId};
use neuro::fleet::ledger::{
    Command, Effect, Ledger, LedgerOptions, Member, Notice, OpenSession, Outcome, Registration, Tables,
};
use neuro::fleet::rows::{Endpoints, GpuRef, Phase, Quota, Role};
use neuro::fleet::spec::{Gang, Mode, Priority, SessionSpec};
use neuro::proto::neuro::ext::{Controller, session_event::Kind};
use neuro::proto::neuro::orchestrator::{GrpcTrainingConfig, grpc_training_config::Algorithm};
use prost::Message;

use super::driver::instance;

/// 2026-11-21, 13:50:46 UTC.
const START_MS: i64 = 1_795_269_046_000;

struct Fleet {
    ledger: Ledger,
    now_ms: i64,
    count: u64,
}

fn id(name: &str) -> SessionId {
    name.parse().unwrap()
}

impl Fleet {
    fn new(simulators: u32, trainers: u32) -> Self {
        Self::with(simulators, trainers, LedgerOptions::default())
    }

    fn with(simulators: u32, trainers: u32, options: LedgerOptions) -> Self {
        let mut fleet = Self { ledger: Ledger::new(Tables::default(), options), now_ms: START_MS, count: 0 };
        (0..simulators).for_each(|_| drop(fleet.add(Role::Simulator, |_| {})));
        (0..trainers).for_each(|_| drop(fleet.add(Role::Trainer, |_| {})));
        fleet
    }

    fn add(&mut self, role: Role, change: impl FnOnce(&mut Registration)) -> Registration {
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

    fn apply(&mut self, command: Command) -> Effect {
        self.ledger.apply(self.now_ms, command)
    }

    #[track_caller]
    fn does(&mut self, command: Command) -> Outcome {
        self.apply(command).answer.unwrap()
    }

    fn later(&mut self, seconds: i64) {
        self.now_ms += seconds * 1000;
    }

    fn open(&mut self, name: &str, mode: Mode, simulators: u32) -> Outcome {
        self.does(Command::Open(request(name, mode, simulators)))
    }

    fn stop(&mut self, name: &str) -> Outcome {
        self.does(close(name, Phase::Stopped, None))
    }

    fn members(&self, name: &str) -> Vec<Member> {
        self.ledger.tables().members(&id(name))
    }

    fn phase(&self, name: &str) -> Phase {
        self.ledger.tables().sessions[&id(name)].phase
    }

    fn waits_for(&self, name: &str) -> String {
        self.ledger.tables().waiting_for(&id(name))
    }

    fn queue(&self) -> Vec<&str> {
        self.ledger.tables().queue().iter().map(SessionId::as_str).collect()
    }

    fn runs(&mut self, name: &str) {
        let (from, reason) = (Vec::new(), "it runs".to_owned());
        self.does(Command::Advance { session: id(name), from, to: Phase::Running, reason });
    }

    fn quota(&mut self, owner: &str, quota: Quota) {
        self.does(Command::SetQuota { owner: owner.to_owned(), quota });
    }
}

fn request(name: &str, mode: Mode, simulators: u32) -> OpenSession {
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

fn of(owner: &str, name: &str, simulators: u32) -> Command {
    let mode = if simulators == 1 { Mode::Manual } else { Mode::Training };
    let mut open = request(name, mode, simulators);
    open.owner = owner.to_owned();
    open.gang.trainers = 0;
    Command::Open(open)
}

fn close(name: &str, to: Phase, requeue_from: Option<&str>) -> Command {
    let requeue_from = requeue_from.map(str::to_owned);
    Command::Close { session: id(name), to, reason: "the test".to_owned(), requeue_from }
}

fn lost(instance: InstanceId) -> Command {
    Command::Lost { instance, reason: "its process ended".to_owned() }
}

fn gpu(uuid: &str) -> GpuRef {
    GpuRef { index: 0, uuid: uuid.to_owned(), name: "H200".to_owned() }
}

#[test]
fn a_gang_is_granted_whole_or_waits_with_nothing() {
    let mut fleet = Fleet::new(3, 1);
    let queued = fleet.open("large", Mode::Training, 4);
    let waiting_for = "1 simulator (the fleet has 3 of 4)".to_owned();
    assert_eq!(queued, Outcome::Queued { position: 1, waiting_for });
    assert!(fleet.members("large").is_empty());
    assert_eq!(fleet.phase("large"), Phase::Queued);
    fleet.add(Role::Simulator, |_| {});
    let members = fleet.members("large");
    assert_eq!(members.len(), 5);
    assert_eq!(members[0].role, Role::Trainer);
    assert_eq!(members.iter().skip(1).map(|member| member.env_index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(fleet.phase("large"), Phase::Allocating);
}

#[test]
fn a_session_that_may_not_wait_is_refused_and_leaves_nothing() {
    let mut fleet = Fleet::new(1, 0);
    let open = OpenSession { may_queue: false, ..request("now", Mode::Training, 2) };
    let effect = fleet.apply(Command::Open(open));
    let Err(FleetError::Exhausted { message, .. }) = effect.answer else { panic!("{effect:?}") };
    let lack = "a trainer (the fleet has none) and 1 simulator (the fleet has 1 of 2)";
    assert_eq!(message, format!("session now needs {lack}, and does not wait"));
    assert!(effect.changes.is_empty() && fleet.ledger.tables().sessions.is_empty());
}

#[test]
fn asking_twice_finds_the_session_and_asking_otherwise_is_a_conflict() {
    let mut fleet = Fleet::new(2, 0);
    let Outcome::Granted { members, fresh: true } = fleet.open("one", Mode::Manual, 1) else { panic!() };
    let effect = fleet.apply(Command::Open(request("one", Mode::Manual, 1)));
    assert_eq!(effect.answer, Ok(Outcome::Granted { members, fresh: false }));
    assert!(effect.changes.is_empty());
    let conflict = fleet.apply(Command::Open(request("one", Mode::Manual, 2))).answer.unwrap_err();
    assert_eq!(
        conflict,
        FleetError::AlreadyExists("session one is a manual session of another request".to_owned())
    );
    let stranger = fleet.apply(of("bob", "one", 1)).answer.unwrap_err();
    assert_eq!(stranger, FleetError::AlreadyExists("session one belongs to another owner".to_owned()));
    assert_eq!(fleet.stop("one"), Outcome::Released(vec![(instance(1), Fence(2))]));
    assert_eq!(fleet.stop("one"), Outcome::Released(Vec::new()), "a second stop releases nothing");
    assert_eq!(fleet.open("one", Mode::Manual, 1), Outcome::Ended(Phase::Stopped));
    let restored = OpenSession { restore_from: "snapshot".to_owned(), ..request("one", Mode::Manual, 1) };
    assert!(matches!(fleet.does(Command::Open(restored)), Outcome::Granted { fresh: true, .. }));
}

#[test]
fn a_manual_session_is_upgraded_and_its_simulator_stays_environment_0_under_a_higher_fence() {
    let mut fleet = Fleet::new(4, 1);
    fleet.open("nexus", Mode::Manual, 1);
    fleet.runs("nexus");
    let before = fleet.members("nexus")[0].clone();
    let effect = fleet.apply(Command::Open(request("nexus", Mode::Training, 4)));
    let members = fleet.members("nexus");
    assert_eq!(effect.answer, Ok(Outcome::Granted { members: members.clone(), fresh: true }));
    assert_eq!(members.len(), 5);
    assert_eq!((members[1].instance, members[1].env_index), (before.instance, 0));
    assert!(members[1].fence > before.fence);
    let granted = Notice::Granted { session: id("nexus"), members, repair: false };
    assert!(effect.notices.contains(&granted));
    let row = &fleet.ledger.tables().sessions[&id("nexus")];
    assert_eq!((row.mode, row.phase), (Mode::Training, Phase::Allocating));
    assert!(uuid::Uuid::parse_str(&row.training_id).is_ok(), "{:?}", row.training_id);
}

#[test]
fn an_upgrade_that_waits_keeps_its_simulator_and_stays_usable() {
    let mut fleet = Fleet::new(2, 1);
    fleet.open("nexus", Mode::Manual, 1);
    fleet.runs("nexus");
    let before = fleet.members("nexus");
    let outcome = fleet.open("nexus", Mode::Training, 3);
    let waiting_for = "1 simulator (the fleet has 1 of 2)".to_owned();
    assert_eq!(outcome, Outcome::Queued { position: 1, waiting_for });
    assert_eq!(fleet.members("nexus"), before);
    assert_eq!(fleet.phase("nexus"), Phase::Running);
    fleet.does(Command::Advance {
        session: id("nexus"),
        from: vec![Phase::Running],
        to: Phase::Paused,
        reason: String::new(),
    });
    let abandon = Command::Abandon { session: id("nexus"), reason: "enough".to_owned() };
    fleet.does(abandon);
    assert_eq!((fleet.members("nexus"), fleet.queue().len()), (before, 0));
    assert_eq!(fleet.ledger.tables().sessions[&id("nexus")].mode, Mode::Manual);
    fleet.open("nexus", Mode::Training, 3);
    fleet.add(Role::Simulator, |_| {});
    assert_eq!(fleet.members("nexus").len(), 4);
    assert_eq!(fleet.phase("nexus"), Phase::Allocating);
}

#[test]
fn a_large_gang_is_passed_only_until_it_loses_patience() {
    let mut fleet = Fleet::new(4, 0);
    for name in ["a", "b", "c"] {
        fleet.does(of("ann", name, 1));
    }
    fleet.does(of("ann", "large", 4));
    assert!(
        matches!(fleet.does(of("bob", "small", 1)), Outcome::Granted { .. }),
        "smaller ones may pass at first"
    );
    fleet.later(31);
    fleet.stop("a");
    let outcome = fleet.does(of("ann", "later", 1));
    let waiting_for = "its turn: what is free is kept for sessions before it".to_owned();
    assert_eq!(outcome, Outcome::Queued { position: 2, waiting_for });
    for name in ["b", "c", "small"] {
        fleet.stop(name);
    }
    assert_eq!(fleet.members("large").len(), 4);
    assert_eq!(fleet.queue(), ["later"]);
}

#[test]
fn a_large_gang_is_served_although_small_sessions_never_stop_coming() {
    let mut fleet = Fleet::new(8, 0);
    let mut running = std::collections::VecDeque::new();
    for number in 0..8 {
        let name = format!("small-{number}");
        fleet.does(of(&format!("owner-{}", number % 4), &name, 1));
        running.push_back(name);
    }
    fleet.does(of("ann", "large", 8));
    for number in 8..400 {
        fleet.later(1);
        let name = format!("small-{number}");
        fleet.does(of(&format!("owner-{}", number % 4), &name, 1));
        running.push_back(name);
        let granted = |name: &String| !fleet.members(name).is_empty();
        if let Some(place) = running.iter().position(granted) {
            let name = running.remove(place).unwrap();
            fleet.stop(&name);
        }
        if fleet.members("large").len() == 8 {
            assert!(number < 100, "served, but only after {number} others");
            return;
        }
    }
    panic!("the large one starved");
}

#[test]
fn nothing_is_kept_for_a_gang_that_the_whole_fleet_is_too_small_for() {
    let mut fleet = Fleet::new(2, 0);
    fleet.does(of("ann", "hopeless", 3));
    fleet.later(3600);
    fleet.does(Command::Tick);
    assert!(matches!(fleet.does(of("bob", "small", 1)), Outcome::Granted { .. }));
    assert_eq!(fleet.waits_for("hopeless"), "2 simulators (the fleet has 2 of 3)");
}

#[test]
fn the_owner_with_the_least_of_the_fleet_by_weight_goes_first() {
    let mut fleet = Fleet::new(4, 0);
    fleet.quota("bob", Quota { weight: 3, ..Quota::default() });
    for name in ["a1", "a2", "a3", "a4"] {
        fleet.does(of("ann", name, 1));
    }
    for name in ["a5", "a6", "b1", "b2", "b3", "b4"] {
        let owner = if name.starts_with('a') { "ann" } else { "bob" };
        fleet.later(1);
        fleet.does(of(owner, name, 1));
    }
    assert_eq!(fleet.queue()[..2], ["b1", "b2"]);
    for name in ["a1", "a2", "a3"] {
        fleet.stop(name);
    }
    let serves = |fleet: &Fleet, name: &str| !fleet.members(name).is_empty();
    assert!(["b1", "b2", "b3"].iter().all(|name| serves(&fleet, name)), "three to one by weight");
    fleet.stop("a4");
    assert!(serves(&fleet, "a5") && !serves(&fleet, "b4"), "ann has nothing now, so it is her turn");
}

#[test]
fn priorities_come_before_shares_and_the_oldest_first_within_an_owner() {
    let mut fleet = Fleet::new(1, 0);
    fleet.does(of("bob", "holds", 1));
    for (name, owner, priority) in [
        ("low", "ann", Priority::Low),
        ("normal", "ann", Priority::Normal),
        ("second", "ann", Priority::Normal),
        ("high", "bob", Priority::High),
    ] {
        fleet.later(1);
        let mut open = request(name, Mode::Manual, 1);
        open.owner = owner.to_owned();
        open.priority = priority;
        fleet.does(Command::Open(open));
    }
    assert_eq!(fleet.queue(), ["high", "normal", "second", "low"]);
    assert_eq!(fleet.ledger.tables().position(&id("low")), 4);
    fleet.stop("holds");
    assert_eq!(fleet.queue(), ["normal", "second", "low"]);
}

#[test]
fn quotas_bound_what_an_owner_holds_and_say_so() {
    let mut fleet = Fleet::new(8, 0);
    for said in ["x", "y", "z"] {
        fleet.add(Role::Trainer, |trainer| trainer.gpus = vec![gpu(said), gpu(&format!("{said}2"))]);
    }
    fleet
        .quota("ann", Quota { max_sessions: 2, max_simulators: 5, max_training_gpus: 2, ..Quota::default() });
    fleet.open("t1", Mode::Training, 3);
    fleet.open("t2", Mode::Training, 1);
    assert_eq!(fleet.waits_for("t2"), "quota: 2 of 2 training GPUs in use, and no trainer has fewer");
    fleet.later(1);
    fleet.open("m3", Mode::Manual, 3);
    assert_eq!(fleet.waits_for("m3"), "quota: 3 of 5 simulators in use, 3 wanted");
    fleet.open("m1", Mode::Manual, 1);
    fleet.later(1);
    fleet.open("m2", Mode::Manual, 1);
    assert_eq!(fleet.waits_for("m2"), "quota: 2 of 2 sessions in use");
    let effect = fleet.apply(Command::Open(request("never", Mode::Manual, 6)));
    let error = effect.answer.unwrap_err();
    assert_eq!(error.to_string(), "6 simulators are more than the quota of ann: 5");
    fleet.stop("t1");
    assert_eq!(fleet.members("t2").len(), 2);
    fleet.quota("ann", Quota::default());
    assert!(fleet.queue().is_empty(), "a wider quota is used at once");
}

#[test]
fn gpu_hours_are_counted_by_month_and_stop_new_grants_until_the_next() {
    let mut fleet = Fleet::new(0, 0);
    for uuid in ["x", "y"] {
        fleet.add(Role::Simulator, |simulator| simulator.gpus = vec![gpu(uuid)]);
    }
    fleet.quota("ann", Quota { gpu_hours_per_month: 2.0, ..Quota::default() });
    fleet.open("first", Mode::Manual, 1);
    fleet.later(3600);
    fleet.does(Command::Tick);
    assert_eq!(fleet.ledger.tables().gpu_seconds("ann", "2026-11"), 3600.0);
    fleet.later(3600);
    fleet.stop("first");
    assert_eq!(fleet.ledger.tables().gpu_seconds("ann", "2026-11"), 7200.0);
    fleet.open("second", Mode::Manual, 1);
    assert_eq!(fleet.waits_for("second"), "quota: 2.0 of 2.0 GPU hours of 2026-11 used");
    fleet.later(10 * 86_400);
    fleet.does(Command::Tick);
    assert_eq!(fleet.members("second").len(), 1, "December is another month");
    fleet.later(3 * 86_400);
    fleet.stop("second");
    assert_eq!(fleet.ledger.tables().gpu_seconds("ann", "2026-12"), 3.0 * 86_400.0);
}

#[test]
fn a_gpu_is_shared_by_no_more_instances_than_it_has_slots() {
    let slots = [("wide".to_owned(), 2)].into();
    let mut fleet = Fleet::with(0, 0, LedgerOptions { slots_per_gpu: slots, ..LedgerOptions::default() });
    for _ in 0..3 {
        fleet.add(Role::Simulator, |simulator| {
            simulator.pool = "wide".to_owned();
            simulator.gpus = vec![gpu("shared")];
        });
    }
    for name in ["one", "two", "three"] {
        fleet.open(name, Mode::Manual, 1);
    }
    assert_eq!([1, 1, 0], ["one", "two", "three"].map(|name| fleet.members(name).len()));
    assert_eq!(fleet.waits_for("three"), "1 simulator");
    fleet.add(Role::Trainer, |trainer| trainer.gpus = vec![gpu("shared")]);
    fleet.stop("one");
    assert_eq!(fleet.members("three").len(), 1);
    fleet.stop("two");
    fleet.open("trains", Mode::Training, 1);
    assert!(fleet.members("trains").is_empty(), "the trainer's pool shares its GPU with nobody");
    fleet.add(Role::Trainer, |trainer| trainer.gpus = vec![gpu("other")]);
    assert_eq!(fleet.members("trains").len(), 2);
}

#[test]
fn instances_are_chosen_by_labels_gpus_memory_and_algorithm() {
    let mut fleet = Fleet::new(1, 1);
    let mut open = request("rt", Mode::Training, 1);
    open.requires = [("rt_cores".to_owned(), String::new()), ("driver".to_owned(), "580".to_owned())].into();
    open.gang.training_gpus = 1;
    open.gang.training_memory_mb = 4096;
    let training = GrpcTrainingConfig { algorithm: Algorithm::Sac.into(), ..GrpcTrainingConfig::default() };
    open.spec = SessionSpec { training: Some(training), ..SessionSpec::default() }.encode_to_vec();
    fleet.does(Command::Open(open));
    let trainer = "a trainer with 1 GPUs and 4096 MiB for SAC (the fleet has none)";
    let simulator = "1 simulator with driver=580, rt_cores (the fleet has 0 of 1)";
    assert_eq!(fleet.waits_for("rt"), format!("{trainer} and {simulator}"));
    let right = fleet.add(Role::Simulator, |simulator| {
        simulator.labels =
            [("rt_cores".to_owned(), "yes".to_owned()), ("driver".to_owned(), "570,580".to_owned())].into();
    });
    for (algorithms, memory_mb) in [("PPO", 8192), ("SAC", 1024)] {
        fleet.add(Role::Trainer, |trainer| {
            trainer.labels = [("algorithms".to_owned(), algorithms.to_owned())].into();
            trainer.gpus = vec![gpu(algorithms)];
            trainer.memory_mb = memory_mb;
        });
    }
    assert_eq!(fleet.waits_for("rt"), trainer);
    let able = fleet.add(Role::Trainer, |trainer| {
        trainer.labels = [("algorithms".to_owned(), "PPO, SAC".to_owned())].into();
        trainer.gpus = vec![gpu("able")];
        trainer.memory_mb = 4096;
    });
    let members: Vec<InstanceId> = fleet.members("rt").iter().map(|member| member.instance).collect();
    assert_eq!(members, [able.id, right.id]);
}

#[test]
fn a_lost_member_is_replaced_at_once_and_the_log_names_both() {
    let mut fleet = Fleet::new(3, 1);
    fleet.open("trains", Mode::Training, 2);
    fleet.runs("trains");
    let before = fleet.members("trains");
    let effect = fleet.apply(lost(before[2].instance));
    let after = fleet.members("trains");
    assert_eq!(fleet.phase("trains"), Phase::Recovering);
    assert_eq!((after[2].env_index, after[2].instance == before[2].instance), (1, false));
    let repair = Notice::Granted { session: id("trains"), members: vec![after[2].clone()], repair: true };
    assert!(effect.notices.contains(&repair), "{:?}", effect.notices);
    let replaced = effect.notices.iter().find_map(|notice| match notice {
        Notice::Logged(row) => match &row.kind {
            Kind::Instance(change) if change.event == "replaced" => Some(change.clone()),
            _ => None,
        },
        _ => None,
    });
    let replaced = replaced.unwrap();
    assert_eq!(replaced.instance_id, before[2].instance.to_string());
    assert_eq!(replaced.replaced_by, after[2].instance.to_string());
}

#[test]
fn what_comes_free_goes_to_repairs_before_the_queue() {
    let mut fleet = Fleet::new(4, 1);
    fleet.open("trains", Mode::Training, 3);
    fleet.open("other", Mode::Manual, 1);
    fleet.open("waits", Mode::Manual, 1);
    let member = fleet.members("trains")[1].clone();
    let effect = fleet.apply(lost(member.instance));
    assert!(effect.notices.contains(&Notice::Short { session: id("trains") }));
    assert_eq!(fleet.waits_for("trains"), "1 simulator");
    let asked = fleet.does(Command::Repair(id("trains")));
    assert_eq!(asked, Outcome::Queued { position: 0, waiting_for: "1 simulator".to_owned() });
    fleet.stop("other");
    assert_eq!(fleet.members("trains").len(), 4);
    assert!(fleet.members("waits").is_empty());
}

#[test]
fn an_instance_that_comes_back_keeps_its_session_only_if_it_still_runs_it() {
    let mut fleet = Fleet::new(0, 0);
    let mut said = fleet.add(Role::Simulator, |_| {});
    fleet.open("one", Mode::Manual, 1);
    fleet.runs("one");
    fleet.does(Command::Away(said.id));
    said.holding = Some((id("one"), Fence(1)));
    let back = fleet.does(Command::Register(said.clone()));
    assert_eq!(back, Outcome::Registered { fence: Fence(1), keep: Some(id("one")) });
    said.holding = None;
    let Outcome::Registered { fence, keep: None } = fleet.does(Command::Register(said.clone())) else {
        panic!()
    };
    assert!(fence > Fence(1));
    assert_eq!(fleet.phase("one"), Phase::Recovering);
    let member = fleet.members("one")[0].clone();
    assert_eq!(member.instance, said.id, "it is free, so it is its own replacement");
    assert!(member.fence > Fence(2));
    fleet.stop("one");
    said.holding = Some((id("one"), Fence(40)));
    let Outcome::Registered { fence, keep: None } = fleet.does(Command::Register(said)) else { panic!() };
    assert!(fence > Fence(40), "orders under {fence} would be refused");
}

#[test]
fn a_draining_instance_is_given_to_nobody_and_can_be_taken_from_its_session() {
    let mut fleet = Fleet::new(2, 0);
    fleet.open("one", Mode::Manual, 1);
    fleet.runs("one");
    let first = fleet.members("one")[0].instance;
    let until_ms = fleet.now_ms + 1000;
    fleet.does(Command::Drain { instances: vec![first], until_ms });
    let effect = fleet.apply(Command::Evict { instance: first, reason: "drained".to_owned() });
    assert!(
        effect
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::Freed { instance, .. } if *instance == first))
    );
    assert_ne!(fleet.members("one")[0].instance, first);
    fleet.open("two", Mode::Manual, 1);
    assert!(fleet.members("two").is_empty());
    fleet.does(Command::Undrain(vec![first]));
    assert_eq!(fleet.members("two")[0].instance, first);
    fleet.does(Command::Drain { instances: Vec::new(), until_ms });
    let refused = fleet.apply(Command::Open(request("three", Mode::Manual, 1))).answer.unwrap_err();
    assert!(matches!(refused, FleetError::Unavailable { .. }), "{refused}");
    fleet.add(Role::Simulator, |_| {});
    assert_eq!(fleet.ledger.tables().idle(Role::Simulator), 0, "who comes meanwhile drains too");
}

#[test]
fn a_preempted_session_goes_back_to_the_queue_with_its_snapshot() {
    let mut fleet = Fleet::new(2, 1);
    let mut low = request("low", Mode::Training, 2);
    low.priority = Priority::Low;
    fleet.does(Command::Open(low));
    let mut high = request("high", Mode::Training, 2);
    high.priority = Priority::High;
    high.owner = "bob".to_owned();
    fleet.does(Command::Open(high));
    assert_eq!(fleet.ledger.tables().victims_for(&id("high")), Some(vec![id("low")]));
    let effect = fleet.apply(close("low", Phase::Preempted, Some("snapshot-1")));
    assert!(effect.notices.contains(&Notice::Closed { session: id("low"), phase: Phase::Preempted }));
    assert_eq!((fleet.members("high").len(), fleet.phase("low")), (3, Phase::Queued));
    fleet.stop("high");
    assert_eq!(fleet.members("low").len(), 3);
    assert_eq!(fleet.ledger.tables().sessions[&id("low")].restore_from, "snapshot-1");
}

#[test]
fn a_session_that_a_person_drives_is_never_preempted() {
    let mut fleet = Fleet::new(1, 0);
    let mut low = request("low", Mode::Manual, 1);
    low.priority = Priority::Low;
    fleet.does(Command::Open(low));
    fleet.does(of("bob", "normal", 1));
    assert_eq!(fleet.ledger.tables().victims_for(&id("normal")), Some(vec![id("low")]));
    fleet.does(control("low", fleet.members("low")[0].instance, Controller::Human, None));
    assert_eq!(fleet.ledger.tables().victims_for(&id("normal")), None);
}

fn control(name: &str, instance: InstanceId, holder: Controller, expect: Option<Fence>) -> Command {
    let user = if holder == Controller::Human { "ann".to_owned() } else { String::new() };
    Command::SetControl { session: id(name), instance, holder, user, expires_ms: 0, expect, renew: false }
}

#[test]
fn every_take_over_raises_the_control_fence_also_across_a_replaced_simulator() {
    let mut fleet = Fleet::new(2, 0);
    fleet.open("one", Mode::Manual, 1);
    let first = fleet.members("one")[0].instance;
    let fence = |outcome: Outcome| match outcome {
        Outcome::Control(row) => row.fence,
        other => panic!("{other:?}"),
    };
    assert_eq!(fence(fleet.does(control("one", first, Controller::Human, None))), Fence(1));
    assert_eq!(fence(fleet.does(control("one", first, Controller::Policy, Some(Fence(1))))), Fence(2));
    let stale = fleet.apply(control("one", first, Controller::Human, Some(Fence(1)))).answer.unwrap_err();
    let expected = format!("fence 1 is stale: 2 holds control of instance {first} now");
    assert_eq!(stale.to_string(), expected);
    fleet.does(lost(first));
    let second = fleet.members("one")[0].instance;
    let after = fence(fleet.does(control("one", second, Controller::Human, None)));
    assert!(after > Fence(2), "{after}");
    let gone = fleet.apply(control("one", first, Controller::Human, None)).answer.unwrap_err();
    assert!(gone.to_string().contains("is no simulator of session one"), "{gone}");
    fleet.stop("one");
    assert!(fleet.ledger.tables().controls.is_empty());
}

#[test]
fn a_session_moves_only_from_the_phases_that_are_named_and_never_from_its_end() {
    let mut fleet = Fleet::new(1, 0);
    fleet.open("one", Mode::Manual, 1);
    let advance = |from: &[Phase], to| Command::Advance {
        session: id("one"),
        from: from.to_vec(),
        to,
        reason: "the test".to_owned(),
    };
    let wrong = fleet.apply(advance(&[Phase::Ready, Phase::Paused], Phase::Running)).answer.unwrap_err();
    assert_eq!(wrong.to_string(), "session one is ALLOCATING; it gets to RUNNING from READY, PAUSED");
    fleet.does(advance(&[Phase::Allocating], Phase::Ready));
    let effect = fleet.apply(advance(&[Phase::Allocating], Phase::Ready));
    assert_eq!((effect.answer, effect.changes.len()), (Ok(Outcome::Done), 0), "it is there already");
    assert!(fleet.apply(advance(&[], Phase::Stopped)).answer.is_err(), "an end is a close");
    fleet.stop("one");
    let ended = fleet.apply(advance(&[], Phase::Running)).answer.unwrap_err();
    assert_eq!(ended.to_string(), "session one is STOPPED");
    assert!(fleet.apply(close("nobody", Phase::Stopped, None)).answer.is_err());
    fleet.later(100);
    fleet.does(Command::Prune { ended_before_ms: fleet.now_ms });
    assert!(fleet.ledger.tables().sessions.is_empty());
}

#[test]
fn a_thousand_waiting_sessions_over_a_thousand_instances_cost_little() {
    let options = LedgerOptions { patience: Duration::from_secs(30), ..LedgerOptions::default() };
    let mut fleet = Fleet::with(1000, 0, options);
    for number in 0..1000 {
        fleet.does(of(&format!("owner-{}", number % 20), &format!("runs-{number}"), 1));
    }
    let started = std::time::Instant::now();
    for number in 0..1000 {
        fleet.does(of(&format!("owner-{}", number % 20), &format!("waits-{number}"), 1 + number % 8));
    }
    let opened = started.elapsed();
    fleet.later(60);
    let started = std::time::Instant::now();
    for number in 0..1000 {
        fleet.stop(&format!("runs-{number}"));
    }
    let closed = started.elapsed();
    assert!(fleet.queue().len() < 800);
    println!("1000 sessions queued in {opened:?}, 1000 released in {closed:?}");
    assert!(opened < Duration::from_secs(10) && closed < Duration::from_secs(10), "{opened:?}, {closed:?}");
}
