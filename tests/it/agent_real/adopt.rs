//! The agent is killed; what it started goes on, and is found again.

use std::time::{Duration, Instant};

use neuro::proto::hypervisor::v1::{InstanceState, InstanceType};

use super::harness::{BOOT, Node, SOON, annotated, container, guest_of};

/// The host's process ids of an instance, from what bears its name.
fn pids_of(node: &Node, id: &str) -> Vec<u32> {
    let mark = node.mark();
    let mut found: Vec<u32> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            *pid != node.pid()
                && (line.split([' ', ',']).any(|word| word.ends_with(&format!("{mark}-{id}")))
                    || (line.contains(&mark) && line.split(' ').any(|word| word == id))
                    || groups.contains(&format!("neuro-{mark}/{id}")))
        })
        .collect();
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, runc and QEMU: make test-agent"]
async fn a_killed_agent_finds_a_vm_a_microvm_and_three_containers_with_the_same_processes() {
    let mut node = Node::start();
    let client = node.client().await;
    client.run(guest_of("vm-1", InstanceType::Vm, "")).await;
    client.run(guest_of("micro-1", InstanceType::Microvm, "")).await;
    client.run(container("tty", "echo before-the-crash; exec sh")).await;
    client.run(annotated(container("plain", "echo tick; exec sleep 1000"), &[("tty", "false")])).await;
    client.run(container("later", "read line; exit 7")).await;
    for guest in ["vm-1", "micro-1"] {
        client.console(guest).await.shows("neuro-guest ready", BOOT).await;
    }
    client.console("tty").await.shows("before-the-crash", SOON).await;
    let ids = ["vm-1", "micro-1", "tty", "plain", "later"];
    let before: Vec<_> = ids.iter().map(|id| pids_of(&node, id)).collect();
    assert!(before.iter().all(|pids| !pids.is_empty()), "{before:?}");

    node.kill_9();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let took = node.start_again();
    assert!(took < Duration::from_secs(2), "ready after {took:?}");
    let client = node.client().await;
    let listed = client.list().await;
    assert_eq!(listed.len(), ids.len());
    for one in &listed {
        assert_eq!(one.state(), InstanceState::Running, "{one:?}");
    }
    let after: Vec<_> = ids.iter().map(|id| pids_of(&node, id)).collect();
    assert_eq!(before, after);

    let mut tty = client.console("tty").await;
    tty.shows("before-the-crash", SOON).await;
    tty.type_in("echo again-$((40 + 2))\n").await;
    tty.shows("again-42", SOON).await;
    for guest in ["vm-1", "micro-1"] {
        let mut console = client.console(guest).await;
        console.shows("neuro-guest ready", SOON).await;
        console.type_in("echo again-$((40 + 2))\n").await;
        console.shows("again-42", SOON).await;
    }
    client.console("plain").await.shows("tick", SOON).await;
    // A stream that is dropped takes back what it has not handed over yet.
    let later = client.console("later").await;
    later.type_in("go\n").await;
    let ended = client.until("later", InstanceState::Failed, SOON).await;
    drop(later);
    assert_eq!(ended.exit_code, Some(7), "{ended:?}");
    for id in ids {
        client.delete(id, true).await.unwrap();
    }
    assert_eq!(node.left_over(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, runc and QEMU: make test-agent"]
async fn what_ended_while_the_agent_was_down_is_told_with_its_code() {
    let mut node = Node::start();
    let client = node.client().await;
    client.run(container("five", "sleep 3; exit 5")).await;
    client.run(annotated(container("zero", "sleep 3"), &[("tty", "false")])).await;
    client.run(guest_of("off", InstanceType::Microvm, "poweroff_s=4")).await;
    client.console("off").await.shows("neuro-guest ready", BOOT).await;
    client.run(annotated(container("again", "sleep 3; exit 1"), &[("restart", "on-failure:1")])).await;
    client.run(annotated(container("stays", "sleep 1000"), &[("restart", "always")])).await;
    client.stop("stays", true, 0).await.unwrap();
    node.kill_9();
    tokio::time::sleep(Duration::from_secs(12)).await;
    node.start_again();
    let client = node.client().await;
    let five = client.get("five").await.unwrap();
    assert_eq!((five.state(), five.exit_code), (InstanceState::Failed, Some(5)), "{five:?}");
    assert!(five.error_message.contains("exit 5"), "{five:?}");
    let zero = client.get("zero").await.unwrap();
    assert_eq!((zero.state(), zero.exit_code), (InstanceState::Stopped, Some(0)), "{zero:?}");
    let off = client.until("off", InstanceState::Stopped, BOOT).await;
    assert_eq!(off.exit_code, Some(0), "{off:?}");
    let end = Instant::now() + SOON;
    while client.get("again").await.unwrap().restarts < 1 {
        assert!(Instant::now() < end, "{:?}", client.get("again").await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stays = client.get("stays").await.unwrap();
    assert_eq!(stays.state(), InstanceState::Stopped, "a stop by hand is not undone: {stays:?}");
}
