//! Networks: what both ends of a cable count is the same, and neither network leads anywhere else.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use super::yard::Yard;
use super::{Screen, boot, process, spec};
use crate::agent::driver::Driver as _;
use crate::agent::options::Network;
use crate::agent::spec::Kind;

/// Bytes that the guest's own device received and sent.
async fn counted(screen: &mut Screen) -> (u64, u64) {
    let said = screen.run("counters", "memory ").await;
    let line = said.lines().find_map(|line| line.strip_prefix("net rx ")).unwrap_or_else(|| panic!("{said}"));
    let (received, sent) = line.trim().split_once(" tx ").unwrap_or_else(|| panic!("{said}"));
    (received.parse().unwrap(), sent.parse().unwrap())
}

async fn cabled(kind: Kind) {
    let Some(yard) = Yard::open() else { return };
    let driver = yard.driver(kind);
    let mut wished = spec(kind, "");
    wished.options.network = Some(Network::Cable);
    let ground = yard.ground("cabled", wished);
    let (handle, mut screen) = boot(&driver, &ground).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process(&handle).pid)).unwrap();
    assert!(status.contains("CapEff:\t0000000000001000\n"), "only the network's administration: {status}");
    let guest: Ipv4Addr = driver.address(&ground, &handle).parse().unwrap();
    let host = Ipv4Addr::from(u32::from(guest) - 1);
    let pinged = screen.run(&format!("ping -c 3 -W 5 {host}; echo done"), "\ndone").await;
    assert!(pinged.contains("3 packets received"), "{pinged}");
    let routes = screen.run("route -n | grep -c ^0.0.0.0; echo done", "\ndone").await;
    assert!(routes.contains("\n0"), "no default route: {routes}");

    // A packet of the guest's own may pass between two readings.
    let mut same = false;
    for _ in 0..10 {
        let inside = counted(&mut screen).await;
        let usage = driver.usage(&ground, &handle).await.unwrap();
        let outside = (usage.network_received_bytes, usage.network_sent_bytes);
        println!("{}: in the guest {inside:?}, on the host {outside:?}", kind.name());
        same = inside == outside && outside.1 > 3 * 84;
        if same {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(same, "both ends count the same");
    driver.kill(&ground, &handle).await.unwrap();
    driver.settle(&ground, &handle).await.unwrap();
    let device = crate::agent::net::device(&ground.id);
    assert!(!std::path::Path::new("/sys/class/net").join(device).exists(), "it goes with its machine");
    driver.destroy(&ground).await.unwrap();
    assert_eq!(std::fs::read_dir(yard.data().join("cables")).unwrap().count(), 0, "no lease stays");
}

#[tokio::test]
async fn both_ends_of_a_microvms_cable_count_the_same_bytes_and_it_leads_no_further_than_the_host() {
    cabled(Kind::MicroVm).await;
}

#[tokio::test]
async fn both_ends_of_a_vms_cable_count_the_same_bytes_and_it_leads_no_further_than_the_host() {
    cabled(Kind::Vm).await;
}

#[tokio::test]
async fn a_guest_on_the_user_network_reaches_qemu_and_nothing_behind_it() {
    let Some(yard) = Yard::open() else { return };
    let driver = yard.driver(Kind::MicroVm);
    let mut wished = spec(Kind::MicroVm, "");
    wished.options.network = Some(Network::User);
    let ground = yard.ground("user", wished);
    let (handle, mut screen) = boot(&driver, &ground).await;
    // QEMU's own address stands for the host's loopback, where somebody listens.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    listener.accept().unwrap();
    listener.set_nonblocking(true).unwrap();

    let net = "device=$(ls /sys/class/net | grep ^e); ifconfig $device 10.0.2.15 netmask 255.255.255.0 up";
    screen.run(&format!("{net}; route add default gw 10.0.2.2; echo $((5*5))"), "25").await;
    let pinged = screen.run("ping -c 3 -W 5 10.0.2.2; echo done", "\ndone").await;
    assert!(pinged.contains("3 packets received"), "the device works: {pinged}");
    let called = screen.run(&format!("nc -w 3 10.0.2.2 {port} < /dev/null; echo code $?"), "\ncode ").await;
    assert!(!called.contains("code 0"), "{called}");
    let error = listener.accept().expect_err("the guest came through");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    driver.kill(&ground, &handle).await.unwrap();
    driver.settle(&ground, &handle).await.unwrap();
}
