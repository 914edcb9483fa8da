//! Consoles: many readers, late readers, readers that stand still, sizes.

use std::time::{Duration, Instant};

use super::harness::{Node, SOON, container};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn ten_readers_see_the_same_and_a_late_one_sees_what_was_before() {
    let node = Node::start();
    let client = node.client().await;
    client.run(container("talk", "echo first; read line; seq 1 2000; echo last; exec sh")).await;
    let mut readers = Vec::new();
    for _ in 0..10 {
        readers.push(client.console("talk").await);
    }
    for reader in &mut readers {
        reader.shows("first", SOON).await;
    }
    readers[0].type_in("go\n").await;
    for reader in &mut readers {
        reader.shows("last", SOON).await;
    }
    let whole = readers[0].text.clone();
    assert!(readers.iter().all(|reader| reader.text == whole));
    let mut late = client.console("talk").await;
    late.shows("last", SOON).await;
    assert!(late.text.starts_with(&whole), "a late reader sees all of it");

    late.resize(123, 41).await;
    late.type_in("stty size\n").await;
    late.shows("41 123", SOON).await;

    let mut times = Vec::new();
    for number in 0..50 {
        let begun = Instant::now();
        late.type_in(&format!("echo n-$(({number} + 1000))\n")).await;
        late.shows(&format!("n-{}", number + 1000), SOON).await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("a line typed, run and shown: p50 {:?}, slowest {:?}", times[25], times[49]);
    let mut echoes = Vec::new();
    late.type_in("cat\n").await;
    for number in 0..50 {
        let begun = Instant::now();
        late.type_in(&format!("<{number:04}>")).await;
        late.shows(&format!("<{number:04}>"), SOON).await;
        echoes.push(begun.elapsed());
    }
    echoes.sort_unstable();
    println!("console echo: p50 {:?}, slowest {:?}", echoes[25], echoes[49]);
    assert!(echoes[25] < Duration::from_millis(20), "{:?}", echoes[25]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn a_reader_that_stands_still_holds_up_nobody() {
    let node = Node::start();
    let client = node.client().await;
    client
        .run(container(
            "flood",
            "read line; dd if=/dev/zero bs=1M count=100 | tr '\\0' x; echo; echo over; sleep 100",
        ))
        .await;
    let stalled = client.console("flood").await;
    let mut reader = client.console("flood").await;
    reader.type_in("go\n").await;
    reader.shows("over", Duration::from_secs(60)).await;
    let stats = client.stats("flood").await;
    assert!(stats.cpu_time_ns > 0);
    drop(stalled);
}
