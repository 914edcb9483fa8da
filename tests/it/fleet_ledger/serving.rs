//! Who is served with what, and when, as sentences.

use std::collections::BTreeSet;
use std::time::Duration;

use neuro::fleet::FleetError;
use neuro::fleet::ids::InstanceId;
use neuro::fleet::ledger::{Command, LedgerOptions, Notice, OpenSession, Outcome};
use neuro::fleet::rows::{Phase, Quota, Role};
use neuro::fleet::spec::{Mode, Priority, SessionSpec};
use neuro::proto::neuro::ext::Controller;
use neuro::proto::neuro::orchestrator::{GrpcTrainingConfig, grpc_training_config::Algorithm};
use prost::Message;

use super::small::{Fleet, close, control, gpu, id, of, request};

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
fn a_preempted_session_goes_back_to_the_queue_with_its_snapshot() {
    let mut fleet = Fleet::new(2, 1);
    let mut low = request("low", Mode::Training, 2);
    low.priority = Priority::Low;
    fleet.does(Command::Open(low));
    let mut high = request("high", Mode::Training, 2);
    high.priority = Priority::High;
    high.owner = "bob".to_owned();
    fleet.does(Command::Open(high));
    assert_eq!(fleet.ledger.tables().victims_for(&id("high"), &BTreeSet::new()), Some(vec![id("low")]));
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
    assert_eq!(fleet.ledger.tables().victims_for(&id("normal"), &BTreeSet::new()), Some(vec![id("low")]));
    fleet.does(control("low", fleet.members("low")[0].instance, Controller::Human, None));
    assert_eq!(fleet.ledger.tables().victims_for(&id("normal"), &BTreeSet::new()), None);
}

#[test]
fn another_session_makes_way_for_the_one_that_is_spared_and_none_when_the_others_are_not_enough() {
    let mut fleet = Fleet::new(2, 0);
    for name in ["older", "watched"] {
        fleet.later(1);
        let mut low = request(name, Mode::Manual, 1);
        low.priority = Priority::Low;
        fleet.does(Command::Open(low));
    }
    fleet.does(of("bob", "one", 1));
    fleet.does(of("bob", "both", 2));
    let victims = |name: &str, spared: &[&str]| {
        let spared = spared.iter().map(|name| id(name)).collect();
        fleet.ledger.tables().victims_for(&id(name), &spared)
    };
    assert_eq!(victims("one", &[]), Some(vec![id("watched")]), "the youngest");
    assert_eq!(victims("one", &["watched"]), Some(vec![id("older")]));
    assert_eq!(victims("both", &["watched"]), None);
    assert_eq!(victims("one", &["watched", "older"]), None);
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
