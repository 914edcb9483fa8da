//! Limits hold, and what breaks one says so.

use std::time::{Duration, Instant};

use neuro::proto::hypervisor::v1::{DiskSpec, InstanceState, ResourceLimits};

use super::harness::{Node, SOON, annotated, container};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn memory_disk_processes_and_disk_speed_end_where_they_were_said_to() {
    let node = Node::start();
    let client = node.client().await;
    let mut hungry = container("hungry", "head -c 200000000 /dev/zero | tail");
    hungry.spec.as_mut().unwrap().memory_bytes = 32 << 20;
    client.run(hungry).await;
    let ended = client.until("hungry", InstanceState::Failed, SOON).await;
    assert!(ended.error_message.contains("OOM"), "{ended:?}");

    let mut full = container("full", "dd if=/dev/zero of=/data/x bs=1M count=200; echo said $?; sleep 100");
    full.spec.as_mut().unwrap().disks =
        vec![DiskSpec { name: "root".into(), size_bytes: 64 << 20, boot: true, ..DiskSpec::default() }];
    client.run(full).await;
    let mut console = client.console("full").await;
    console.shows("No space left on device", SOON).await;
    console.shows("said 1", SOON).await;

    // A shell that cannot fork ends; the one around it stays.
    let forks =
        "sh -c 'i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done; echo all-of-them'; read line";
    client.run(annotated(container("forks", forks), &[("pids-limit", "16")])).await;
    let mut console = client.console("forks").await;
    console.shows("can't fork", SOON).await;

    let mut slow = container(
        "slow",
        "read line; dd if=/dev/zero of=/data/x bs=1M count=16 oflag=direct; echo written; sleep 100",
    );
    slow.spec.as_mut().unwrap().limits =
        Some(ResourceLimits { io_write_bps: 8 << 20, ..ResourceLimits::default() });
    client.run(slow).await;
    let mut console = client.console("slow").await;
    let begun = Instant::now();
    console.type_in("go\n").await;
    console.shows("written", SOON).await;
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(1200)..Duration::from_secs(6)).contains(&took),
        "16 MiB at 8 MiB/s in {took:?}"
    );
    for id in ["hungry", "full", "forks", "slow"] {
        client.delete(id, true).await.unwrap();
    }
    assert_eq!(node.left_over(), Vec::<String>::new());
}
