//! Statistics are those of the kernel and of QEMU.

use std::time::Duration;

use neuro::proto::hypervisor::v1::{InstanceType, ResourceLimits};

use super::harness::{BOOT, Node, SOON, annotated, container, guest_of};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn a_containers_figures_are_what_it_did() {
    let node = Node::start();
    let client = node.client().await;
    let mut busy = container("busy", "while :; do :; done");
    let limits = ResourceLimits { cpu_quota: 20_000, cpu_period: 100_000, ..ResourceLimits::default() };
    busy.spec.as_mut().unwrap().limits = Some(limits);
    client.run(busy).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = client.stats("busy").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let after = client.stats("busy").await;
    let used = (after.cpu_time_ns - before.cpu_time_ns) as f64;
    let passed = after.collected_at.unwrap();
    let passed = (passed.seconds as f64 + f64::from(passed.nanos) / 1e9)
        - before.collected_at.map(|then| then.seconds as f64 + f64::from(then.nanos) / 1e9).unwrap();
    let share = used / 1e9 / passed * 100.0;
    assert!((15.0..=25.0).contains(&share), "{share} % under a quota of 20 %");
    assert!(after.cpu_throttled_periods > 10, "{after:?}");
    assert!((10.0..=30.0).contains(&after.cpu_usage_percent), "{after:?}");
    client.delete("busy", true).await.unwrap();

    client
        .run(container(
            "writer",
            "read line; dd if=/dev/zero of=/data/x bs=1M count=8 oflag=direct && sync; echo done; sleep 100",
        ))
        .await;
    let before = client.stats("writer").await;
    let mut console = client.console("writer").await;
    console.type_in("go\n").await;
    console.shows("done", SOON).await;
    let after = client.stats("writer").await;
    let written = after.disk_write_bytes - before.disk_write_bytes;
    assert!((8 << 20..=9 << 20).contains(&written), "{written} bytes for 8 MiB");
    assert!(after.memory_usage_bytes > 0 && after.processes >= 1, "{after:?}");
    client.delete("writer", true).await.unwrap();

    let talk = "read line; ping -c 5 -i 0.1 $(ip route | sed -n 's/.*via \\([0-9.]*\\).*/\\1/p;s/^\\([0-9.]*\\)\\/30.*/\\1/p' | head -1) >/dev/null; \
        cat /sys/class/net/eth0/statistics/rx_bytes /sys/class/net/eth0/statistics/tx_bytes; echo counted; sleep 100";
    client.run(annotated(container("cable", talk), &[("network", "cable")])).await;
    let mut console = client.console("cable").await;
    console.type_in("go\n").await;
    console.shows("counted", SOON).await;
    let text = String::from_utf8_lossy(&console.text).into_owned();
    let own: Vec<i64> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let seen = client.stats("cable").await;
    let [received, sent] = own[..] else { panic!("{text}") };
    assert!(
        (seen.network_rx_bytes - received).abs() <= 400 && (seen.network_tx_bytes - sent).abs() <= 400,
        "{seen:?} {own:?}"
    );
    client.delete("cable", true).await.unwrap();
    assert_eq!(node.left_over(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and QEMU: make test-agent"]
async fn a_guests_figures_are_what_it_did() {
    let node = Node::start();
    let client = node.client().await;
    let mut guest = guest_of("vm", InstanceType::Vm, "");
    let disk = neuro::proto::hypervisor::v1::DiskSpec {
        name: "data".into(),
        size_bytes: 64 << 20,
        ..Default::default()
    };
    guest.spec.as_mut().unwrap().disks = vec![disk];
    client.run(annotated(guest, &[("network", "cable")])).await;
    let mut console = client.console("vm").await;
    console.shows("neuro-guest ready", BOOT).await;
    let before = client.stats("vm").await;
    console.type_in("write-4m\n").await;
    console.shows("wrote 4194304", BOOT).await;
    let after = client.stats("vm").await;
    assert_eq!(after.disk_write_bytes - before.disk_write_bytes, 4 << 20, "{before:?} {after:?}");
    assert!(after.cpu_time_ns > before.cpu_time_ns && after.memory_usage_bytes > 0, "{after:?}");
    client.delete("vm", true).await.unwrap();
    assert_eq!(node.left_over(), Vec::<String>::new());
}
