//! Restarts, logs, and what a store refuses.

use std::time::{Duration, Instant};

use neuro::fleet::books::Books;
use neuro::fleet::ids::SessionId;
use neuro::fleet::ledger::{Command, LedgerOptions, Outcome};
use neuro::fleet::rows::Phase;
use neuro::fleet::store::{SqliteStore, StoreError};
use neuro::proto::neuro::ext::{Progress, session_event::Kind};

use super::fleet::{attach_all, instance, open_books, request};

fn progress(episode: i32) -> Kind {
    Kind::Progress(Progress { episode, ..Progress::default() })
}

#[tokio::test]
async fn a_thousand_sessions_with_logs_are_there_again_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    let (books, mut notices) = open_books(&path);
    let drain = tokio::spawn(async move { while notices.recv().await.is_some() {} });
    for number in 0..1000 {
        books.apply(Command::Register(instance(neuro::fleet::rows::Role::Simulator, number))).await.unwrap();
    }
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let books = books.clone();
        asked.spawn(async move {
            let id: SessionId = format!("s-{number}").parse().unwrap();
            let mut open = request(&id, 1, true);
            open.gang.trainers = 0;
            books.apply(Command::Open(open)).await.unwrap();
            let events = (0..100).map(progress).collect();
            books.apply(Command::Record { session: id, events }).await.unwrap();
        });
    }
    asked.join_all().await;
    let before = books.read(|tables| (tables.instances.clone(), tables.sessions.clone()));
    books.close().await;
    drain.await.unwrap();
    let started = Instant::now();
    let (books, _notices) = open_books(&path);
    let took = started.elapsed();
    let after = books.read(|tables| (tables.instances.clone(), tables.sessions.clone()));
    assert!(before == after, "the rows differ after a restart");
    assert!(took < Duration::from_secs(1), "reopened in {took:?}");
    let id: SessionId = "s-7".parse().unwrap();
    let events = books.events(&id, 0, 1000).await.unwrap();
    let seqs: Vec<i64> = events.iter().map(|row| row.seq).collect();
    assert_eq!(seqs, (1..=102).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_log_keeps_its_newest_events_and_names_the_gap_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("fleet.db")).unwrap();
    let options = LedgerOptions { events_kept: 200, ..LedgerOptions::default() };
    let (books, _notices) = Books::open(Box::new(store), options).unwrap();
    attach_all(&books).await;
    let id: SessionId = "long".parse().unwrap();
    books.apply(Command::Open(request(&id, 1, true))).await.unwrap();
    for round in 0..100 {
        let events = (0..10).map(|number| progress(round * 10 + number)).collect();
        books.apply(Command::Record { session: id.clone(), events }).await.unwrap();
    }
    assert_eq!(books.read(|tables| tables.sessions[&id].last_seq), 1003);
    let events = books.events(&id, 0, 10_000).await.unwrap();
    let Kind::Gap(gap) = &events[0].kind else { panic!("{:?}", events[0]) };
    assert_eq!(events[0].seq, 1);
    assert_eq!(events[1].seq, gap.upto + 1);
    let kept = events.len() - 1;
    assert!((200..=225).contains(&kept), "{kept} of 200 events are kept");
    assert_eq!(events.last().unwrap().seq, 1003);
    let newest = books.events(&id, 1000, 10).await.unwrap();
    assert_eq!(newest.iter().map(|row| row.seq).collect::<Vec<_>>(), [1001, 1002, 1003]);
    let page = books.events(&id, gap.upto, 10).await.unwrap();
    assert_eq!(
        page.iter().map(|row| row.seq).collect::<Vec<_>>(),
        (gap.upto + 1..gap.upto + 11).collect::<Vec<_>>()
    );
    assert!(books.events(&id, 1003, 10).await.unwrap().is_empty());
    let unknown = books.events(&"nobody".parse().unwrap(), 0, 10).await.unwrap_err();
    assert_eq!(unknown.to_string(), "no session \"nobody\"");
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    drop(SqliteStore::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("written by a newer neuro"), "{error}");
}

#[test]
fn another_programs_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "dear diary, this is no database at all".repeat(100)).unwrap();
    let error = SqliteStore::open(&text).unwrap_err();
    assert!(error.to_string().contains("notes.txt"), "{error}");
    let other = folder.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    let error = SqliteStore::open(&other).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
}

#[tokio::test]
async fn a_second_orchestrator_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    let (books, _notices) = open_books(&path);
    let second = path.clone();
    let error = tokio::task::spawn_blocking(move || SqliteStore::open(&second).unwrap_err()).await.unwrap();
    assert!(error.to_string().ends_with("is in use by another orchestrator"), "{error}");
    books.close().await;
    SqliteStore::open(&path).unwrap();
}

#[tokio::test]
async fn what_was_asked_before_a_restart_is_found_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    let (books, _notices) = open_books(&path);
    attach_all(&books).await;
    let (id, waits): (SessionId, SessionId) = ("runs".parse().unwrap(), "waits".parse().unwrap());
    let first = books.apply(Command::Open(request(&id, 8, true))).await.unwrap();
    let Outcome::Granted { members, fresh: true } = first else { panic!("{first:?}") };
    let queued = books.apply(Command::Open(request(&waits, 5, true))).await.unwrap();
    assert_eq!(queued, Outcome::Queued { position: 1, waiting_for: "1 simulator".to_owned() });
    books.close().await;
    assert!(books.apply(Command::Tick).await.is_err(), "closed books still write");
    let (books, _notices) = open_books(&path);
    let again = books.apply(Command::Open(request(&id, 8, true))).await.unwrap();
    assert_eq!(again, Outcome::Granted { members, fresh: false });
    assert_eq!(books.apply(Command::Open(request(&waits, 5, true))).await.unwrap(), queued);
    let close =
        Command::Close { session: id, to: Phase::Completed, reason: "done".to_owned(), requeue_from: None };
    books.apply(close).await.unwrap();
    let granted = books.read(|tables| tables.members(&waits).len());
    assert_eq!(granted, 6, "the one that waited is served after the restart");
}
