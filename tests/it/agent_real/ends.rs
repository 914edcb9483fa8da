//! Stopping: who listens ends by himself, who is deaf is killed when his time is up.

use std::time::{Duration, Instant};

use neuro::proto::hypervisor::v1::{InstanceState, InstanceType};

use super::harness::{BOOT, Node, SOON, container, guest_of};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn a_container_that_traps_term_ends_at_once_and_a_deaf_one_at_its_time() {
    let node = Node::start();
    let client = node.client().await;
    client
        .run(container("polite", "trap 'echo bye; exit 3' TERM; echo up; while sleep 0.05; do :; done"))
        .await;
    client.console("polite").await.shows("up", SOON).await;
    let begun = Instant::now();
    let stopped = client.stop("polite", false, 20).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((stopped.state(), stopped.exit_code), (InstanceState::Stopped, Some(3)), "{stopped:?}");

    client.run(container("deaf", "trap '' TERM; echo up; while sleep 0.05; do :; done")).await;
    client.console("deaf").await.shows("up", SOON).await;
    let begun = Instant::now();
    let stopped = client.stop("deaf", false, 2).await.unwrap();
    let took = begun.elapsed().as_secs_f64();
    assert!((1.5..=2.5).contains(&took), "{took} s");
    assert_eq!((stopped.state(), stopped.exit_code), (InstanceState::Stopped, Some(137)), "{stopped:?}");

    client.start("deaf").await.unwrap();
    let begun = Instant::now();
    client.stop("deaf", true, 0).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(client.stop("deaf", false, 0).await.unwrap().state(), InstanceState::Stopped, "again is fine");
    let wrong = client.stop("deaf", false, -1).await.unwrap_err();
    assert!(
        wrong.code() == tonic::Code::InvalidArgument && wrong.message().contains("timeout_seconds"),
        "{wrong}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and QEMU: make test-agent"]
async fn a_guest_with_a_power_button_ends_at_once_and_a_deaf_one_at_its_time() {
    let node = Node::start();
    let client = node.client().await;
    for (id, kind) in [("vm", InstanceType::Vm), ("micro", InstanceType::Microvm)] {
        client.run(guest_of(id, kind, "")).await;
        client.console(id).await.shows("neuro-guest ready", BOOT).await;
        let begun = Instant::now();
        let stopped = client.stop(id, false, 30).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3), "{id}: {:?}", begun.elapsed());
        assert_eq!(stopped.state(), InstanceState::Stopped, "{stopped:?}");
        client.delete(id, false).await.unwrap();
    }
    client.run(guest_of("deaf", InstanceType::Microvm, "deaf")).await;
    client.console("deaf").await.shows("neuro-guest ready", BOOT).await;
    let begun = Instant::now();
    client.stop("deaf", false, 3).await.unwrap();
    let took = begun.elapsed().as_secs_f64();
    assert!((2.5..=3.5).contains(&took), "{took} s");
    client.delete("deaf", true).await.unwrap();
    assert_eq!(node.left_over(), Vec::<String>::new());
}
