//! Instances that attach, over the real books.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::fleet::books::Books;
use crate::fleet::ids::SessionId;
use crate::fleet::ledger::{Command, LedgerOptions, Notice, OpenSession, Outcome};
use crate::fleet::rows::Condition;
use crate::fleet::settings::Leases;
use crate::fleet::spec::{Gang, Mode, Priority};
use crate::fleet::store::SqliteStore;
use crate::proto::neuro::ext::instance_message::M;

const LEASE: Duration = Duration::from_millis(400);
const SOON: Duration = Duration::from_secs(5);

pub(in crate::fleet) struct House {
    pub(in crate::fleet) folder: tempfile::TempDir,
    pub(in crate::fleet) books: Books,
    pub(in crate::fleet) links: Links,
    pub(in crate::fleet) reports: mpsc::Receiver<Report>,
    _notices: mpsc::Receiver<Notice>,
}

pub(in crate::fleet) fn leases() -> Leases {
    Leases { interval_ms: 100, lease_ms: 400 }
}

impl House {
    pub(in crate::fleet) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::in_folder(folder)
    }

    /// As a server that starts over the books of one that was killed: nothing is told, and what was written is there.
    pub(in crate::fleet) fn after_a_kill(self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (self.folder.path(), folder.path());
        std::fs::create_dir(new.join("processes")).unwrap();
        for part in ["", "processes"] {
            for entry in std::fs::read_dir(old.join(part)).into_iter().flatten() {
                let from = entry.unwrap().path();
                let to = new.join(part).join(from.file_name().unwrap());
                // The killed one's lock dies with its process; here the process lives on.
                if from.is_file() && from.extension().is_none_or(|extension| extension != "lock") {
                    std::fs::copy(&from, to).unwrap();
                }
            }
        }
        std::mem::forget(self);
        Self::in_folder(folder)
    }

    fn in_folder(folder: tempfile::TempDir) -> Self {
        let store = SqliteStore::open(&folder.path().join("fleet.db")).unwrap();
        let (books, notices) = Books::open(Box::new(store), LedgerOptions::default()).unwrap();
        let (links, reports) = Links::new(books.clone(), leases());
        Self { folder, books, links, reports, _notices: notices }
    }

    pub(in crate::fleet) fn condition(&self, id: InstanceId) -> Option<Condition> {
        self.books.read(|tables| tables.instances.get(&id).map(|row| row.condition))
    }

    pub(in crate::fleet) async fn until(&self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !so(self) {
            assert!(began.elapsed() < SOON, "{what} did not come about");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// A session with one simulator.
    pub(in crate::fleet) async fn open(&self, session: &str) -> (SessionId, Outcome) {
        let id: SessionId = session.parse().unwrap();
        let open = OpenSession {
            id: id.clone(),
            owner: "anna".to_owned(),
            mode: Mode::Manual,
            priority: Priority::Normal,
            gang: Gang { simulators: 1, ..Gang::default() },
            requires: BTreeMap::new(),
            spec: Vec::new(),
            request_hash: [7; 32],
            may_queue: true,
            restore_from: String::new(),
        };
        let outcome = self.books.apply(Command::Open(open)).await.unwrap();
        (id, outcome)
    }
}

pub(in crate::fleet) fn hello(id: InstanceId, role: ext::Role) -> ext::Hello {
    ext::Hello {
        instance_id: id.to_string(),
        name: "isaac-sim-1".to_owned(),
        role: role.into(),
        ..ext::Hello::default()
    }
}

fn simulator() -> (InstanceId, ext::Hello) {
    let id = InstanceId::new();
    (id, hello(id, ext::Role::Simulator))
}

async fn next(attachment: &mut Attachment) -> Option<ext::Order> {
    timeout(SOON, attachment.orders.recv()).await.expect("an order or the end of the stream")
}

/// Past `Accepted` and the `Stop` that a free instance gets.
async fn past_greeting(attachment: &mut Attachment) {
    assert!(matches!(next(attachment).await.unwrap().o, Some(Ask::Accepted(_))));
    let stop = next(attachment).await.unwrap();
    assert!(matches!(stop.o, Some(Ask::Stop(ext::Stop { cleanup: true, .. }))), "{stop:?}");
}

fn beat(session: &str) -> ext::InstanceMessage {
    let heartbeat = ext::Heartbeat { fps: 60.0, session_id: session.to_owned(), ..ext::Heartbeat::default() };
    ext::InstanceMessage { m: Some(M::Heartbeat(heartbeat)) }
}

fn result(order_id: i64, ok: bool, error: &str) -> ext::InstanceMessage {
    let data = [("prim_paths".to_owned(), "[]".to_owned())].into();
    let result = ext::OrderResult { order_id, ok, error: error.to_owned(), data };
    ext::InstanceMessage { m: Some(M::Result(result)) }
}

fn pause() -> Ask {
    Ask::Pause(ext::Pause {})
}

fn ask(
    links: &Links,
    id: InstanceId,
    fence: u64,
    what: Ask,
    limit: Duration,
) -> tokio::task::JoinHandle<Result<Answer, FleetError>> {
    let links = links.clone();
    tokio::spawn(async move { links.order(id, Fence(fence), what, limit).await })
}

#[tokio::test]
async fn an_instance_is_accepted_first_and_a_free_one_told_to_drop_what_it_runs() {
    let house = House::new();
    let (id, hello) = simulator();
    let mut attachment = house.links.attach(hello).await.unwrap();
    assert_eq!(house.condition(id), Some(Condition::Present));
    let accepted = next(&mut attachment).await.unwrap();
    assert_eq!(accepted.o, Some(Ask::Accepted(ext::Accepted { interval_ms: 100, lease_ms: 400 })));
    let stop = next(&mut attachment).await.unwrap();
    assert_eq!(stop.o, Some(Ask::Stop(ext::Stop { cleanup: true, grace_ms: 0 })));
    let fence = house.books.read(|tables| tables.instances[&id].fence);
    assert_eq!(stop.fence, i64::try_from(fence.0).unwrap());
}

#[tokio::test]
async fn an_order_is_answered_by_its_result_and_by_no_other() {
    let house = House::new();
    let (id, hello) = simulator();
    let mut attachment = house.links.attach(hello).await.unwrap();
    past_greeting(&mut attachment).await;
    let first = ask(&house.links, id, 5, pause(), SOON);
    let one = next(&mut attachment).await.unwrap();
    let second = ask(&house.links, id, 6, pause(), SOON);
    let two = next(&mut attachment).await.unwrap();
    assert_eq!((one.fence, two.fence), (5, 6));
    attachment.inbox.deliver(result(9999, true, "")).await.unwrap();
    attachment.inbox.deliver(result(two.order_id, false, "the arm is stuck")).await.unwrap();
    attachment.inbox.deliver(result(one.order_id, true, "")).await.unwrap();
    assert_eq!(first.await.unwrap().unwrap()["prim_paths"], "[]");
    let refused = second.await.unwrap().unwrap_err();
    assert_eq!(refused, FleetError::Precondition("isaac-sim-1 refused pause: the arm is stuck".to_owned()));
}

#[tokio::test]
async fn an_order_without_an_answer_fails_when_its_time_is_over() {
    let house = House::new();
    let (id, hello) = simulator();
    let mut attachment = house.links.attach(hello).await.unwrap();
    past_greeting(&mut attachment).await;
    let asked = ask(&house.links, id, 1, pause(), Duration::from_millis(60));
    let order = next(&mut attachment).await.unwrap();
    let error = asked.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, FleetError::Unavailable { message, .. } if message.contains("did not answer for 60 ms")),
        "{error}"
    );
    attachment.inbox.deliver(result(order.order_id, true, "")).await.unwrap();
}

#[tokio::test]
async fn an_order_that_a_broken_stream_swallowed_is_sent_once_more_and_then_given_up() {
    let house = House::new();
    let (id, hello) = simulator();
    let mut attachment = house.links.attach(hello.clone()).await.unwrap();
    past_greeting(&mut attachment).await;
    let asked = ask(&house.links, id, 100, pause(), SOON);
    let lost = next(&mut attachment).await.unwrap();
    drop(attachment);
    house.until("away", |house| house.condition(id) == Some(Condition::Away)).await;
    let mut attachment = house.links.attach(hello.clone()).await.unwrap();
    past_greeting(&mut attachment).await;
    let again = next(&mut attachment).await.unwrap();
    assert_eq!(again, lost);
    drop(attachment);
    let error = asked.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, FleetError::Unavailable { message, .. } if message.contains("away twice")),
        "{error}"
    );
}

#[tokio::test]
async fn an_order_given_while_the_instance_is_away_reaches_it_when_it_comes_back() {
    let house = House::new();
    let (id, hello) = simulator();
    drop(house.links.attach(hello.clone()).await.unwrap());
    house.until("away", |house| house.condition(id) == Some(Condition::Away)).await;
    let asked = ask(&house.links, id, 100, pause(), SOON);
    sleep(Duration::from_millis(30)).await;
    let mut attachment = house.links.attach(hello).await.unwrap();
    past_greeting(&mut attachment).await;
    let order = next(&mut attachment).await.unwrap();
    attachment.inbox.deliver(result(order.order_id, true, "")).await.unwrap();
    assert!(asked.await.unwrap().is_ok());
}

#[tokio::test]
async fn an_order_of_an_older_grant_is_not_sent_again() {
    let house = House::new();
    let (id, hello) = simulator();
    let mut attachment = house.links.attach(hello.clone()).await.unwrap();
    past_greeting(&mut attachment).await;
    let (session, _) = house.open("s").await;
    let asked = ask(&house.links, id, 1, pause(), SOON);
    next(&mut attachment).await.unwrap();
    drop(attachment);
    // It comes back without the session it was given: that raises its fence.
    let _again = house.links.attach(hello).await.unwrap();
    let error = asked.await.unwrap().unwrap_err();
    assert!(
        matches!(error, FleetError::Stale { given: Fence(1), current, .. } if current > Fence(1)),
        "{error}"
    );
    drop(session);
}

#[tokio::test]
async fn a_second_attach_replaces_the_first_and_the_books_see_no_gap() {
    let house = House::new();
    let (id, hello) = simulator();
    let mut first = house.links.attach(hello.clone()).await.unwrap();
    past_greeting(&mut first).await;
    let mut second = house.links.attach(hello).await.unwrap();
    assert_eq!(next(&mut first).await, None);
    assert!(first.inbox.deliver(beat("")).await.is_err());
    past_greeting(&mut second).await;
    drop(first);
    sleep(LEASE / 4).await;
    assert_eq!(house.condition(id), Some(Condition::Present));
    second.inbox.deliver(beat("")).await.unwrap();
    house.until("a pulse", |house| house.links.pulse(id).is_some()).await;
}

#[tokio::test]
async fn a_broken_stream_is_away_at_once_and_lost_after_the_lease() {
    let house = House::new();
    let (id, hello) = simulator();
    let attachment = house.links.attach(hello).await.unwrap();
    let began = Instant::now();
    drop(attachment);
    house.until("away", |house| house.condition(id) == Some(Condition::Away)).await;
    assert!(began.elapsed() < LEASE / 2);
    house.until("lost", |house| house.condition(id) == Some(Condition::Lost)).await;
    assert!(began.elapsed() >= LEASE, "{:?}", began.elapsed());
    house.until("no line", |house| !house.links.knows(id)).await;
    let error = house.links.order(id, Fence(1), pause(), SOON).await.unwrap_err();
    assert!(matches!(error, FleetError::Unavailable { .. }));
}

#[tokio::test]
async fn only_half_of_a_stream_left_counts_as_broken() {
    let house = House::new();
    let (id, hello) = simulator();
    let Attachment { orders, inbox, .. } = house.links.attach(hello).await.unwrap();
    drop(orders);
    house.until("away", |house| house.condition(id) == Some(Condition::Away)).await;
    assert!(inbox.deliver(beat("")).await.is_err());
}

#[tokio::test]
async fn silence_on_an_open_stream_is_a_loss_and_heartbeats_prevent_it() {
    let house = House::new();
    let (id, hello) = simulator();
    let mut attachment = house.links.attach(hello).await.unwrap();
    past_greeting(&mut attachment).await;
    for _ in 0..12 {
        attachment.inbox.deliver(beat("")).await.unwrap();
        sleep(LEASE / 6).await;
    }
    assert_eq!(house.condition(id), Some(Condition::Present));
    assert_eq!(next(&mut attachment).await, None);
    house.until("lost", |house| house.condition(id) == Some(Condition::Lost)).await;
}

#[tokio::test]
async fn a_lost_instance_that_attaches_again_is_present() {
    let house = House::new();
    let (id, hello) = simulator();
    drop(house.links.attach(hello.clone()).await.unwrap());
    house.until("lost", |house| house.condition(id) == Some(Condition::Lost)).await;
    let _attachment = house.links.attach(hello).await.unwrap();
    assert_eq!(house.condition(id), Some(Condition::Present));
}

#[tokio::test]
async fn after_a_restart_instances_have_one_lease_to_come_back() {
    let house = House::new();
    let ((back, hello), (gone, other)) = (simulator(), simulator());
    let first = house.links.attach(hello.clone()).await.unwrap();
    let second = house.links.attach(other).await.unwrap();
    std::mem::forget((first, second));
    let house = house.after_a_kill();
    house.until("away", |house| house.condition(gone) == Some(Condition::Away)).await;
    let _attachment = house.links.attach(hello).await.unwrap();
    assert_eq!(house.condition(back), Some(Condition::Present));
    house.until("lost", |house| house.condition(gone) == Some(Condition::Lost)).await;
}

#[tokio::test]
async fn a_session_goes_on_when_its_simulator_comes_back_with_it() {
    let house = House::new();
    let (id, mut hello) = simulator();
    let mut attachment = house.links.attach(hello.clone()).await.unwrap();
    past_greeting(&mut attachment).await;
    let (session, outcome) = house.open("s").await;
    let Outcome::Granted { members, .. } = outcome else { panic!("{outcome:?}") };
    hello.holding_session = session.to_string();
    hello.holding_fence = i64::try_from(members[0].fence.0).unwrap();
    let mut attachment = house.links.attach(hello).await.unwrap();
    assert!(matches!(next(&mut attachment).await.unwrap().o, Some(Ask::Accepted(_))));
    attachment.inbox.deliver(beat("s")).await.unwrap();
    house.until("a pulse", |house| house.links.pulse(id).is_some()).await;
    // Nothing else was sent: no `Stop` for what it rightly runs.
    assert!(attachment.orders.try_recv().is_err());
}

#[tokio::test]
async fn one_that_runs_a_session_although_it_is_free_is_told_again_to_drop_it() {
    let house = House::new();
    let (_, hello) = simulator();
    let mut attachment = house.links.attach(hello).await.unwrap();
    past_greeting(&mut attachment).await;
    attachment.inbox.deliver(beat("ghost")).await.unwrap();
    let stop = next(&mut attachment).await.unwrap();
    assert!(matches!(stop.o, Some(Ask::Stop(ext::Stop { cleanup: true, .. }))), "{stop:?}");
}

#[tokio::test]
async fn a_freed_instance_is_told_to_drop_what_it_ran_under_its_new_fence() {
    let house = House::new();
    let (id, hello) = simulator();
    let mut attachment = house.links.attach(hello).await.unwrap();
    past_greeting(&mut attachment).await;
    house.links.freed(id, Fence(12));
    let stop = next(&mut attachment).await.unwrap();
    assert_eq!((stop.fence, stop.o), (12, Some(Ask::Stop(ext::Stop { cleanup: true, grace_ms: 0 }))));
}

#[tokio::test]
async fn an_instance_that_does_not_read_its_orders_loses_its_stream() {
    let house = House::new();
    let (id, hello) = simulator();
    let attachment = house.links.attach(hello).await.unwrap();
    let asks: Vec<_> = (0..70).map(|_| ask(&house.links, id, 1, pause(), SOON)).collect();
    house.until("away", |house| house.condition(id) == Some(Condition::Away)).await;
    drop(attachment);
    for asked in asks {
        assert!(asked.await.unwrap().is_err());
    }
}

async fn train(house: &Links, id: InstanceId, attachment: &mut Attachment) {
    let asked = ask(house, id, 100, Ask::Train(ext::Train::default()), SOON);
    let order = next(attachment).await.unwrap();
    attachment.inbox.deliver(result(order.order_id, true, "")).await.unwrap();
    asked.await.unwrap().unwrap();
}

fn progress(episode: i32) -> ext::InstanceMessage {
    let progress = ext::Progress { episode, ..ext::Progress::default() };
    ext::InstanceMessage { m: Some(M::Progress(progress)) }
}

fn training_end(final_reward: f64) -> ext::InstanceMessage {
    let end = ext::TrainingEnd { final_reward, ..ext::TrainingEnd::default() };
    ext::InstanceMessage { m: Some(M::TrainingEnd(end)) }
}

#[tokio::test]
async fn a_flood_of_progress_keeps_the_newest_and_every_training_end() {
    let mut house = House::new();
    let (noisy, quiet) = (InstanceId::new(), InstanceId::new());
    let mut flood = house.links.attach(hello(noisy, ext::Role::Trainer)).await.unwrap();
    past_greeting(&mut flood).await;
    train(&house.links, noisy, &mut flood).await;
    // Nobody takes reports: the channel fills, and the instance is slowed down in the end.
    let sent = tokio::spawn(async move {
        for episode in 1..=20_000 {
            flood.inbox.deliver(progress(episode)).await.unwrap();
        }
        for reward in 0..40 {
            flood.inbox.deliver(training_end(reward.into())).await.unwrap();
        }
        flood
    });
    let mut other = house.links.attach(hello(quiet, ext::Role::Trainer)).await.unwrap();
    past_greeting(&mut other).await;
    let asked = ask(&house.links, quiet, 100, pause(), SOON);
    let order = next(&mut other).await.unwrap();
    other.inbox.deliver(result(order.order_id, true, "")).await.unwrap();
    asked.await.unwrap().unwrap();

    let (mut heard, mut last, mut ends) = (0, 0, Vec::new());
    while ends.len() < 40 {
        match timeout(SOON, house.reports.recv()).await.unwrap().unwrap() {
            Report::Progress(_, progress) => {
                assert!(progress.episode > last && ends.is_empty());
                (heard, last) = (heard + 1, progress.episode);
            }
            Report::TrainingEnd(id, end) => {
                assert_eq!(id, noisy);
                ends.push(end.final_reward);
            }
        }
    }
    assert_eq!(last, 20_000);
    assert!(heard < 20_000, "{heard}");
    assert_eq!(ends, (0..40).map(f64::from).collect::<Vec<_>>());
    drop(sent.await.unwrap());
}

#[tokio::test]
async fn what_a_trainer_says_of_a_session_that_is_over_is_not_taken_for_the_next() {
    let mut house = House::new();
    let id = InstanceId::new();
    let mut trainer = house.links.attach(hello(id, ext::Role::Trainer)).await.unwrap();
    past_greeting(&mut trainer).await;
    train(&house.links, id, &mut trainer).await;
    house.links.freed(id, Fence(100));
    next(&mut trainer).await.unwrap();
    let asked = ask(&house.links, id, 101, Ask::Train(ext::Train::default()), SOON);
    let order = next(&mut trainer).await.unwrap();
    trainer.inbox.deliver(training_end(1.0)).await.unwrap();
    trainer.inbox.deliver(result(order.order_id, true, "")).await.unwrap();
    asked.await.unwrap().unwrap();
    trainer.inbox.deliver(training_end(2.0)).await.unwrap();
    let report = timeout(SOON, house.reports.recv()).await.unwrap().unwrap();
    assert!(matches!(report, Report::TrainingEnd(_, end) if (end.final_reward - 2.0).abs() < 1e-9));
}
