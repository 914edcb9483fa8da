//! A cable: what both ends count is the same, and it leads nowhere else.

use super::{boot, driver, enabled, ground, spec};
use crate::agent::driver::Driver as _;
use crate::agent::options::Network;
use crate::agent::spec::Kind;

#[tokio::test]
async fn both_ends_of_a_cable_count_the_same_bytes_and_it_leads_no_further_than_the_host() {
    if !enabled() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let driver = driver(Kind::MicroVm, data.path());
    let mut wished = spec(Kind::MicroVm, "");
    wished.options.network = Some(Network::Cable);
    let ground = ground(data.path(), "cabled", wished);
    let (handle, mut screen) = boot(&driver, &ground).await;
    let guest = driver.address(&ground, &handle);
    let host: std::net::Ipv4Addr = guest.parse().unwrap();
    let host = std::net::Ipv4Addr::from(u32::from(host) - 1);
    screen.run(&format!("ping -c 3 -W 5 {host}; echo done"), "\ndone").await;
    let routes = screen.run("route -n | grep -c ^0.0.0.0; echo done", "\ndone").await;
    assert!(routes.contains("\n0"), "no default route: {routes}");
    let counters = screen.run("counters", "memory ").await;
    let line =
        counters.lines().find(|line| line.starts_with("net rx ")).unwrap_or_else(|| panic!("{counters}"));
    let words: Vec<u64> = line.split(' ').filter_map(|word| word.trim().parse().ok()).collect();
    let usage = driver.usage(&ground, &handle).await.unwrap();
    println!("{line}; host: {usage:?}");
    assert!(usage.network_sent_bytes > 3 * 84, "{usage:?}");
    assert_eq!(vec![usage.network_received_bytes, usage.network_sent_bytes], words);
    driver.kill(&ground, &handle).await.unwrap();
    driver.settle(&ground, &handle).await.unwrap();
    let device = crate::agent::net::device(&ground.id);
    assert!(!std::path::Path::new("/sys/class/net").join(device).exists(), "it goes with its machine");
    driver.destroy(&ground).await.unwrap();
}
