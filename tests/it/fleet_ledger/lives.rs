//! The lives of sessions and instances, as sentences.

use neuro::fleet::FleetError;
use neuro::fleet::ids::Fence;
use neuro::fleet::ledger::{Command, Notice, OpenSession, Outcome};
use neuro::fleet::rows::{Phase, Role};
use neuro::fleet::spec::Mode;
use neuro::proto::neuro::ext::{Controller, session_event::Kind};

use super::driver::instance;
use super::small::{Fleet, close, control, id, lost, of, request};

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
