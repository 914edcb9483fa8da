//! Against a real gRPC server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tonic::Status;

use super::office::{LIMIT, open, order};
use super::{AttachError, AttachOptions, Attachment, Presence, attach};
use crate::proto::neuro::ext::instance_message::M;
use crate::proto::neuro::ext::{self, order};

fn options(address: SocketAddr) -> AttachOptions {
    AttachOptions {
        orchestrator: format!("http://{address}"),
        key: Some("secret\n".to_owned()),
        ca_pem: None,
        hello: ext::Hello { name: "isaac-sim-1".to_owned(), ..Default::default() },
        pulse: Arc::new(|| ext::Heartbeat { fps: 60.0, ..Default::default() }),
    }
}

async fn here(attachment: &Attachment) {
    timeout(LIMIT, attachment.presence().wait_for(|now| *now == Presence::Here)).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_instance_registers_beats_obeys_and_answers() {
    let mut office = open("127.0.0.1:0").await;
    let mut attachment = attach(options(office.address)).unwrap();
    let mut visit = office.visit().await;
    assert_eq!(visit.key.as_deref(), Some("Bearer secret"));
    assert_eq!(visit.hello.name, "isaac-sim-1");
    here(&attachment).await;
    attachment.voice.hold("s-1", 3);
    for least in [1, 2] {
        let M::Heartbeat(beat) = visit.next(|m| matches!(m, M::Heartbeat(b) if b.session_id == "s-1")).await
        else {
            panic!()
        };
        assert!(beat.seq >= least && beat.fps == 60.0, "{beat:?}");
    }
    visit.orders.send(Ok(order(9, order::O::Pause(ext::Pause {})))).await.unwrap();
    let got = timeout(LIMIT, attachment.orders.recv()).await.unwrap().unwrap();
    assert_eq!((got.order_id, got.fence), (9, 3));
    attachment.voice.answer(9, Err("not now".to_owned())).await;
    let M::Result(result) = visit.next(|m| matches!(m, M::Result(_))).await else { panic!() };
    assert_eq!((result.order_id, result.ok, result.error.as_str()), (9, false, "not now"));
}

#[tokio::test]
async fn after_a_restart_it_says_what_it_holds_and_what_was_not_heard() {
    let mut office = open("127.0.0.1:0").await;
    let attachment = attach(options(office.address)).unwrap();
    let visit = office.visit().await;
    here(&attachment).await;
    attachment.voice.hold("s-1", 7);
    let address = office.address.to_string();
    office.task.abort();
    drop((visit, office));
    let gone = attachment.presence().wait_for(|now| *now != Presence::Here).await.is_ok();
    assert!(gone);
    for episode in 1..=3 {
        attachment.voice.progress(ext::Progress { episode, ..Default::default() });
    }
    attachment.voice.answer(4, Ok(Default::default())).await;
    attachment.voice.training_end(ext::TrainingEnd { success: true, ..Default::default() }).await;
    let mut office = open(&address).await;
    let mut visit = office.visit().await;
    assert_eq!((visit.hello.holding_session.as_str(), visit.hello.holding_fence), ("s-1", 7));
    let M::Progress(progress) = visit.next(|m| matches!(m, M::Progress(_))).await else { panic!() };
    assert_eq!(progress.episode, 3, "of progress only the newest");
    visit.next(|m| matches!(m, M::Result(result) if result.order_id == 4)).await;
}

#[tokio::test]
async fn the_end_of_training_is_said_on_every_stream_while_its_session_is_held() {
    let mut office = open("127.0.0.1:0").await;
    let attachment = attach(options(office.address)).unwrap();
    let mut visit = office.visit().await;
    attachment.voice.hold("s-1", 7);
    attachment.voice.training_end(ext::TrainingEnd { success: true, ..Default::default() }).await;
    visit.next(|m| matches!(m, M::TrainingEnd(_))).await;
    visit.orders.send(Err(Status::unavailable("restarting"))).await.unwrap();
    drop(visit);
    let mut visit = office.visit().await;
    visit.next(|m| matches!(m, M::TrainingEnd(_))).await;
    attachment.voice.release();
    drop(visit);
    let mut visit = office.visit().await;
    assert_eq!((visit.hello.holding_session.as_str(), visit.hello.holding_fence), ("", 7));
    for _ in 0..3 {
        visit
            .next(|m| {
                assert!(!matches!(m, M::TrainingEnd(_)), "of a session that is not held");
                matches!(m, M::Heartbeat(_))
            })
            .await;
    }
}

#[tokio::test]
async fn without_an_orchestrator_the_orphan_limit_runs_out_and_with_one_it_does_not() {
    let mut office = open("127.0.0.1:0").await;
    let attachment = attach(options(office.address)).unwrap();
    let visit = office.visit().await;
    here(&attachment).await;
    let limit = Duration::from_millis(300);
    let orphaned = attachment.orphaned(limit);
    tokio::pin!(orphaned);
    assert!(timeout(limit * 2, &mut orphaned).await.is_err());
    office.task.abort();
    drop((visit, office));
    timeout(LIMIT, orphaned).await.unwrap();
}

#[tokio::test]
async fn a_half_open_connection_is_noticed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut attachment = options(listener.local_addr().unwrap());
    attachment.key = None;
    let attachment = attach(attachment).unwrap();
    let presence = attachment.presence();
    // Takes connections and never says a word: the second try shows that the first was given up.
    let first = timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    timeout(LIMIT * 2, listener.accept()).await.unwrap().unwrap();
    drop(first);
    assert!(matches!(*presence.borrow(), Presence::AwaySince(_)));
}

#[tokio::test]
async fn a_url_or_key_that_cannot_be_used_is_refused_at_once() {
    let address = "127.0.0.1:1".parse().unwrap();
    for url in ["127.0.0.1:50051", "ftp://h:1", "http://", ""] {
        let wrong = AttachOptions { orchestrator: url.to_owned(), ..options(address) };
        assert!(matches!(attach(wrong), Err(AttachError::Url { .. })), "{url:?}");
    }
    let wrong = AttachOptions { key: Some("a\nb".to_owned()), ..options(address) };
    assert!(matches!(attach(wrong), Err(AttachError::Key)));
}
