//! A cable to the host: exact, and leading nowhere else.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_count_the_same_bytes_and_there_is_no_way_further() {
    let Some(yard) = yard() else { return };
    let mut spec = shell(
        "echo up; ip route; ip addr show eth0 | grep 'inet '; nc -l -p 7000 -e cat; nc -w 1 192.0.2.1 80 2>&1; \
         cd /sys/class/net/eth0/statistics; while read x; do echo rx $(cat rx_bytes) tx $(cat tx_bytes).; done",
    );
    spec.options.network = Some(Network::Cable);
    let since = Instant::now();
    let (ground, handle) = yard.started("cable", spec).await;
    timed("started with a cable", since, ());
    let address = yard.driver.address(&ground, &handle);
    let mut console = yard.driver.console(&ground, &handle).await.unwrap();
    let mut text = said(&mut console, &address).await;
    let target = format!("{address}:7000");
    let echoed = tokio::task::spawn_blocking(move || {
        let mut stream = (0..100)
            .find_map(|_| {
                TcpStream::connect(&target).map_err(|_| std::thread::sleep(Duration::from_millis(50))).ok()
            })
            .expect("nobody answers on the cable");
        stream.write_all(&[7; 100_000]).unwrap();
        let mut back = vec![0; 100_000];
        stream.read_exact(&mut back).unwrap();
        back
    });
    assert_eq!(echoed.await.unwrap(), [7; 100_000]);
    text += &said(&mut console, "nreachable").await;
    println!("{text}");
    assert!(!text.contains("default"), "{text}");
    // A packet of IPv6's own may pass between two readings: they count when the host's does not change around them.
    let mut counted = None;
    for _ in 0..50 {
        let before = yard.driver.usage(&ground, &handle).await.unwrap();
        keys(&console, "\n").await;
        let inside = said(&mut console, ".\n").await;
        let after = yard.driver.usage(&ground, &handle).await.unwrap();
        if before.network_sent_bytes == after.network_sent_bytes
            && before.network_received_bytes == after.network_received_bytes
        {
            counted = Some((inside, after));
            break;
        }
    }
    let (inside, usage) = counted.expect("the cable is never still");
    println!("inside: {inside}host: {} {}", usage.network_received_bytes, usage.network_sent_bytes);
    let expected = format!("rx {} tx {}.\n", usage.network_received_bytes, usage.network_sent_bytes);
    assert!(inside == expected && usage.network_sent_bytes > 100_000, "{inside}");
    let device = crate::agent::net::device(&ground.id);
    assert!(fs::exists(format!("/sys/class/net/{device}")).unwrap());
    yard.end(&ground, &handle).await;
    assert!(!fs::exists(format!("/sys/class/net/{device}")).unwrap());
}

/// The machine forwards, as one with containers of others does, and afterwards what it did before.
struct Forwarding(String);

impl Forwarding {
    const SWITCH: &str = "/proc/sys/net/ipv4/ip_forward";

    fn on() -> Self {
        let before = fs::read_to_string(Self::SWITCH).unwrap();
        fs::write(Self::SWITCH, "1").unwrap();
        Self(before)
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        fs::write(Self::SWITCH, &self.0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cable_leads_no_further_than_the_host_where_the_host_forwards() {
    let Some(yard) = yard() else { return };
    let forwarding = Forwarding::on();
    let mut ends = Vec::new();
    for id in ["one", "two"] {
        let mut spec = shell("sleep 1000");
        spec.options.network = Some(Network::Cable);
        ends.push(yard.started(id, spec).await);
    }
    let address = |at: usize| yard.driver.address(&ends[at].0, &ends[at].1);
    let (one, two) = (address(0), address(1));
    let inside = |at: usize, words: &[&str]| {
        let pid = super::super::run::Run::of(&ends[at].1).unwrap().file.init.pid.to_string();
        let tool = ["-t", &pid, "-n", "busybox"];
        Command::new("nsenter").args(tool).args(words).output().unwrap().status.success()
    };
    let ping = |to: &str| inside(0, &["ping", "-c", "2", "-W", "1", to]);
    let switch = |at: usize, name: &str| {
        let device = crate::agent::net::device(&ends[at].0.id);
        format!("/proc/sys/net/ipv4/conf/{device}/{name}")
    };
    // What no container can set itself.
    for (at, address) in [&one, &two].into_iter().enumerate() {
        let host = std::net::Ipv4Addr::from(u32::from(address.parse::<std::net::Ipv4Addr>().unwrap()) - 1);
        assert!(inside(at, &["ip", "route", "add", "default", "via", &host.to_string()]));
        assert!(at == 1 || ping(&host.to_string()), "the host's end");
        assert_eq!(fs::read_to_string(switch(at, "forwarding")).unwrap().trim(), "0");
        assert_eq!(fs::read_to_string(switch(at, "rp_filter")).unwrap().trim(), "1");
    }
    assert!(!ping(&two), "another's cable");
    // The same without the switch, so that it is known what made the difference.
    for at in [0, 1] {
        fs::write(switch(at, "forwarding"), "1").unwrap();
    }
    assert!(ping(&two), "this test sees nothing");
    drop(forwarding);
    for (ground, handle) in &ends {
        yard.end(ground, handle).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_network_is_the_hosts() {
    let Some(yard) = yard() else { return };
    let mut spec = shell("readlink /proc/self/ns/net");
    spec.options.network = Some(Network::Host);
    let (text, exit) = yard.transcript("host", spec).await;
    assert_eq!(exit.code, 0, "{text}");
    let here = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(text.trim(), here.display().to_string());
}
