//! The console: terminal, keys, size, numbers of bytes.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_back_in_milliseconds_and_a_new_size_is_seen_inside() {
    let Some(yard) = yard() else { return };
    let since = Instant::now();
    let (ground, handle) = yard.started("echo", terminal("stty -echo; echo ready; cat")).await;
    timed("prepared and started, the runtime's canary included", since, ());
    let mut console = yard.driver.console(&ground, &handle).await.unwrap();
    said(&mut console, "ready").await;
    let mut times = Vec::new();
    for turn in 0..200 {
        let since = Instant::now();
        keys(&console, &format!("turn{turn}.\n")).await;
        said(&mut console, &format!("turn{turn}.")).await;
        times.push(since.elapsed());
    }
    times.sort();
    println!("console echo: p50 {:?}, p99 {:?}", times[100], times[198]);
    assert!(times[100] < Duration::from_millis(20), "{:?}", times[100]);
    yard.end(&ground, &handle).await;

    let (ground, handle) = yard.started("size", terminal("while read line; do stty size; done")).await;
    let mut console = yard.driver.console(&ground, &handle).await.unwrap();
    console.input.send(ConsoleInput::Resize { width: 123, height: 41 }).await.unwrap();
    keys(&console, "\n").await;
    said(&mut console, "41 123").await;
    yard.end(&ground, &handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_a_flood_arrives_once_and_in_order() {
    let Some(yard) = yard() else { return };
    let line = "read go; i=0; while [ $i -lt 100000 ]; do echo $i; i=$((i+1)); done";
    let (ground, handle) = yard.started("flood", shell(line)).await;
    let mut console = yard.driver.console(&ground, &handle).await.unwrap();
    keys(&console, "go\n").await;
    let mut text = Vec::new();
    while let Some(piece) = console.output.recv().await {
        text.extend(piece);
    }
    let whole: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    assert!(
        text == whole.as_bytes(),
        "lost, doubled or out of order: {} bytes of {}",
        text.len(),
        whole.len()
    );
    yard.end(&ground, &handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stands_still_does_not_hold_the_container_up() {
    let Some(yard) = yard() else { return };
    let line = "dd if=/dev/zero bs=64k count=1600 2>/dev/null | tr '\\0' x; echo; sleep 0.2; exit 3";
    let (ground, handle) = yard.started("still", shell(line)).await;
    let console = yard.driver.console(&ground, &handle).await.unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(60), yard.driver.ended(&ground, &handle)).await;
    assert_eq!(exit.expect("100 MB with a reader that reads nothing took a minute").unwrap().code, 3);
    drop(console);
    yard.end(&ground, &handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_both_outputs_and_the_input_are_there() {
    let Some(yard) = yard() else { return };
    let (ground, handle) =
        yard.started("pipes", shell("echo out; echo err >&2; read x; echo got $x; exit 7")).await;
    let mut console = yard.driver.console(&ground, &handle).await.unwrap();
    assert_eq!(console.first, 0);
    let mut text = said(&mut console, "err\n").await;
    keys(&console, "keys\n").await;
    if !text.contains("got keys") {
        text += &said(&mut console, "got keys").await;
    }
    assert!(text.contains("out\n"), "{text:?}");
    let exit = yard.driver.ended(&ground, &handle).await.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom, exit.unseen), (7, None, false, false));
    yard.end(&ground, &handle).await;
}
