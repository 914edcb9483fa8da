//! Consoles: many readers, none that holds up others, nothing lost or doubled over a restart.

use bytes::Bytes;

use super::*;
use crate::agent::console::{Attached, Output};
use crate::agent::driver::ConsoleInput;
use crate::agent::driver::fake::DriverFault;

/// Everything that was read, up to and with a text.
pub(super) async fn read_until(console: &mut Attached, text: &str) -> Vec<u8> {
    let mut read = console.scrollback.to_vec();
    let has = |read: &[u8]| read.windows(text.len()).any(|part| part == text.as_bytes());
    while !has(&read) {
        match tokio::time::timeout(Duration::from_secs(10), console.output.recv()).await.unwrap() {
            Some(Output::Data(data)) => read.extend_from_slice(&data),
            Some(Output::Skipped { bytes }) => panic!("{bytes} bytes are gone"),
            None => panic!("it ended after {:?}", String::from_utf8_lossy(&read)),
        }
    }
    read
}

#[tokio::test]
async fn ten_readers_read_the_same_and_a_late_one_what_was_before() {
    let house = House::new();
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    let mut readers: Vec<Attached> = (0..10).map(|_| agent.console("a").unwrap()).collect();
    readers[3].input.send(ConsoleInput::Data(Bytes::from_static(b"echo me "))).await.unwrap();
    readers[7].input.send(ConsoleInput::Resize { width: 123, height: 41 }).await.unwrap();
    let mut read = Vec::new();
    for reader in &mut readers {
        read.push(read_until(reader, "[123x41]").await);
    }
    assert!(read.iter().all(|one| *one == read[0]) && read[0].ends_with(b"echo me [123x41]"));
    let late = agent.console("a").unwrap();
    assert_eq!(late.scrollback, read[0]);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody_and_is_told_what_it_missed() {
    let mut house = House::new();
    house.settings.limits.scrollback_bytes = 64 << 10;
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    let mut slow = agent.console("a").unwrap();
    let mut quick = agent.console("a").unwrap();
    let mut had = quick.scrollback.len();
    for number in 0..200_usize {
        house.world.says(&id("a"), &[b'x'; 8 << 10]);
        while had < (number + 1) * (8 << 10) {
            match quick.output.recv().await.unwrap() {
                Output::Data(data) => had += data.len(),
                Output::Skipped { bytes } => had += bytes as usize,
            }
        }
    }
    let Some(Output::Skipped { bytes }) = slow.output.recv().await else {
        panic!("it must have missed some")
    };
    assert!(bytes > 1 << 20, "{bytes}");
    let Some(Output::Data(data)) = slow.output.recv().await else { panic!("it goes on") };
    assert!(data.iter().all(|byte| *byte == b'x'));
    let written = || -> u64 {
        let files = std::fs::read_dir(house.folder.path().join("instances/a/console")).unwrap();
        files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    // Readers first, the file after.
    for _ in 0..1000 {
        if written() >= 200 * (8 << 10) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the file has all: {}", written());
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_over_restarts_of_the_agent() {
    let house = House::new();
    let mut expected = Vec::new();
    for life in 0..4 {
        let agent = house.open().await;
        if life == 0 {
            agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
            expected = read_until(&mut agent.console("a").unwrap(), "\r\n").await;
        }
        for piece in 0..20 {
            let said = format!("life {life} piece {piece}\r\n");
            house.world.says(&id("a"), said.as_bytes());
            expected.extend_from_slice(said.as_bytes());
        }
        let read = read_until(&mut agent.console("a").unwrap(), &format!("life {life} piece 19\r\n")).await;
        assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(&expected));
        agent.shutdown().await;
        drop(agent);
        let between = format!("between {life}\r\n");
        house.world.says(&id("a"), between.as_bytes());
        expected.extend_from_slice(between.as_bytes());
    }
}

#[tokio::test]
async fn a_reader_reaches_its_end_when_the_run_does_and_the_last_words_are_read() {
    let house = House::new();
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    let mut console = agent.console("a").unwrap();
    house.world.says(&id("a"), b"last words");
    house.world.exits(&id("a"), 0);
    read_until(&mut console, "last words").await;
    let end = tokio::time::timeout(Duration::from_secs(5), console.output.recv()).await.unwrap();
    assert_eq!(end, None);
    agent.start("a", "me").await.unwrap();
    let mut second = agent.console("a").unwrap();
    let read = read_until(&mut second, "run 2").await;
    assert!(String::from_utf8_lossy(&read).contains("last words"), "the scrollback is of all runs");
}

#[tokio::test]
async fn a_console_that_breaks_is_found_again() {
    let house = House::new();
    let agent = house.open().await;
    house.world.plan("console", DriverFault::Fail);
    house.world.plan("console", DriverFault::Fail);
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    let mut console = agent.console("a").unwrap();
    read_until(&mut console, "says hello").await;
}

#[tokio::test]
async fn a_late_reader_reads_its_run_to_the_end_and_nothing_of_the_next() {
    let house = House::new();
    let agent = house.open().await;
    agent.create(with("a", &[("autostart", "true")]), "me").await.unwrap();
    let mut late = agent.console("a").unwrap();
    house.world.says(&id("a"), b"the end of the first run");
    agent.restart("a", false, "me").await.unwrap();
    read_until(&mut agent.console("a").unwrap(), "run 2").await;
    let mut read = late.scrollback.to_vec();
    while let Some(output) = late.output.recv().await {
        let Output::Data(data) = output else { panic!("{output:?}") };
        read.extend_from_slice(&data);
    }
    let read = String::from_utf8_lossy(&read).into_owned();
    assert!(read.ends_with("the end of the first run"), "{read:?}");
}
