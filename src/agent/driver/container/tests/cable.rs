//! A cable to the host: exact, and leading nowhere else.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_count_the_same_bytes_and_there_is_no_way_further() {
    let Some(yard) = yard() else { return };
    let mut spec = shell(
        "echo up; ip route; ip addr show eth0 | grep inet; nc -l -p 7000 -e cat; sleep 0.5; \
         cd /sys/class/net/eth0/statistics; echo rx $(cat rx_bytes) tx $(cat tx_bytes).; \
         ping -c 1 -W 1 192.0.2.1 2>&1; sleep 1000",
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
    text += &said(&mut console, ".\n").await;
    text += &said(&mut console, "nreachable").await;
    println!("{text}");
    assert!(!text.contains("default"), "{text}");
    let usage = yard.driver.usage(&ground, &handle).await.unwrap();
    println!("host: received {} sent {}", usage.network_received_bytes, usage.network_sent_bytes);
    let inside = format!("rx {} tx {}.", usage.network_received_bytes, usage.network_sent_bytes);
    assert!(text.contains(&inside) && usage.network_sent_bytes > 100_000, "{inside}: {text}");
    let device = crate::agent::net::device(&ground.id);
    assert!(fs::exists(format!("/sys/class/net/{device}")).unwrap());
    yard.end(&ground, &handle).await;
    assert!(!fs::exists(format!("/sys/class/net/{device}")).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_network_is_the_hosts() {
    let Some(yard) = yard() else { return };
    let mut spec = shell("ip link | grep -c .");
    spec.options.network = Some(Network::Host);
    let (text, exit) = yard.transcript("host", spec).await;
    assert_eq!(exit.code, 0, "{text}");
    let here = Command::new("ip").arg("link").output().unwrap();
    assert_eq!(text.trim(), String::from_utf8_lossy(&here.stdout).lines().count().to_string());
}
