//! Four callers race for gangs of 1 trainer and 1 to 8 of 12 simulators.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use neuro::fleet::books::Books;
use neuro::fleet::ids::{InstanceId, SessionId};
use neuro::fleet::ledger::{Command, Notice, Outcome};
use neuro::fleet::rows::Role;
use tokio::sync::mpsc;

use super::fleet::{SIMULATORS, TRAINERS, attach_all, check_whole, open_books, request, stop};

const ROUNDS: u64 = 150;
const CALLERS: u64 = 4;

/// Who uses an instance, as its users see it; 0 for nobody.
type Users = Arc<BTreeMap<InstanceId, (AtomicU64, AtomicU64)>>;

#[derive(Default)]
struct Counts {
    granted: u64,
    refused: u64,
}

async fn call(books: Books, users: Users, caller: u64) -> Counts {
    let mut counts = Counts::default();
    for round in 0..ROUNDS {
        let user = caller * ROUNDS + round + 1;
        let id: SessionId = format!("race-{user}").parse().unwrap();
        let simulators = 1 + (user * 7 % 8) as u32;
        match books.apply(Command::Open(request(&id, simulators, false))).await {
            Ok(Outcome::Granted { members, fresh }) => {
                assert!(fresh);
                assert_eq!(members.len(), simulators as usize + 1, "a part of a gang");
                for member in &members {
                    let (holder, fence) = &users[&member.instance];
                    let before = holder.swap(user, Ordering::SeqCst);
                    assert_eq!(before, 0, "{user} was given what {before} has");
                    let old = fence.swap(member.fence.0, Ordering::SeqCst);
                    assert!(old < member.fence.0, "the fence went from {old} to {}", member.fence);
                }
                tokio::task::yield_now().await;
                for member in &members {
                    assert_eq!(users[&member.instance].0.swap(0, Ordering::SeqCst), user);
                }
                counts.granted += 1;
            }
            Err(neuro::fleet::FleetError::Exhausted { .. }) => {
                assert!(books.read(|tables| !tables.sessions.contains_key(&id)), "a refusal left a session");
                counts.refused += 1;
                continue;
            }
            other => panic!("{other:?}"),
        }
        let Outcome::Released(freed) = books.apply(stop(&id)).await.unwrap() else { panic!() };
        assert_eq!(freed.len(), simulators as usize + 1);
    }
    counts
}

#[test]
fn four_callers_race_and_no_instance_is_ever_shared() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let (books, notices) = open_books(&folder.path().join("fleet.db"));
        let heard = tokio::spawn(listen(notices));
        attach_all(&books).await;
        let all = books.read(|tables| tables.instances.keys().copied().collect::<Vec<_>>());
        let users: Users =
            Arc::new(all.into_iter().map(|id| (id, (AtomicU64::new(0), AtomicU64::new(0)))).collect());
        let callers =
            (0..CALLERS).map(|caller| tokio::spawn(call(books.clone(), Arc::clone(&users), caller)));
        let mut counts = Counts::default();
        for caller in callers.collect::<Vec<_>>() {
            let each = caller.await.unwrap();
            counts.granted += each.granted;
            counts.refused += each.refused;
        }
        assert_eq!(counts.granted + counts.refused, CALLERS * ROUNDS);
        assert!(counts.granted >= CALLERS, "only {} of {} were granted", counts.granted, CALLERS * ROUNDS);
        books.read(|tables| {
            check_whole(tables);
            assert_eq!(tables.idle(Role::Simulator), SIMULATORS as usize);
            assert_eq!(tables.idle(Role::Trainer), TRAINERS as usize);
        });
        books.close().await;
        drop(books);
        let (granted, freed) = heard.await.unwrap();
        assert_eq!(granted, counts.granted);
        assert!(freed > granted);
    });
}

/// Gangs granted and instances freed, as the rest of the house hears of them.
async fn listen(mut notices: mpsc::Receiver<Notice>) -> (u64, u64) {
    let mut counts = (0, 0);
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Granted { .. } => counts.0 += 1,
            Notice::Freed { .. } => counts.1 += 1,
            _ => {}
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_wait_are_all_served() {
    let folder = tempfile::tempdir().unwrap();
    let (books, mut notices) = open_books(&folder.path().join("fleet.db"));
    attach_all(&books).await;
    let ids: Vec<SessionId> = (0..60).map(|number| format!("waits-{number}").parse().unwrap()).collect();
    let mut asked = tokio::task::JoinSet::new();
    for (number, id) in ids.iter().enumerate() {
        let (books, open) = (books.clone(), request(id, 1 + number as u32 % 8, true));
        asked.spawn(async move { books.apply(Command::Open(open)).await.unwrap() });
    }
    asked.join_all().await;
    let mut served = 0;
    while served < ids.len() {
        // Whoever hears of its gang is done with it at once.
        if let Some(Notice::Granted { session, .. }) = notices.recv().await {
            books.read(check_whole);
            books.apply(stop(&session)).await.unwrap();
            served += 1;
        }
    }
    books.read(|tables| {
        assert!(tables.queue().is_empty());
        assert_eq!(tables.idle(Role::Simulator), SIMULATORS as usize);
    });
}
