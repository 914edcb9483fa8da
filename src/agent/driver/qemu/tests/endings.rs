//! Runs that end otherwise than by the power button.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::timeout;

use super::{boot, driver, enabled, ground, spec};
use crate::agent::driver::Driver as _;
use crate::agent::driver::qemu::outcome;
use crate::agent::process::Process;
use crate::agent::spec::Kind;

#[tokio::test]
async fn a_deaf_guest_goes_on_until_it_is_killed() {
    if !enabled() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let driver = driver(Kind::MicroVm, data.path());
    let ground = ground(data.path(), "deaf", spec(Kind::MicroVm, "deaf"));
    let (handle, _screen) = boot(&driver, &ground).await;
    let (asked, grace) = (Instant::now(), Duration::from_secs(3));
    driver.ask_to_stop(&ground, &handle).await.unwrap();
    assert!(timeout(grace, driver.ended(&ground, &handle)).await.is_err(), "it heard");
    driver.kill(&ground, &handle).await.unwrap();
    let exit = driver.ended(&ground, &handle).await.unwrap();
    let took = asked.elapsed();
    println!("deaf: killed after {took:?}");
    assert!(took >= grace && took < grace + Duration::from_millis(500), "{took:?}");
    assert_eq!((exit.code, exit.signal, exit.unseen), (137, Some(9), false));
    driver.settle(&ground, &handle).await.unwrap();
}

#[tokio::test]
async fn a_panic_in_a_guest_is_a_failure_and_so_is_a_qemu_that_was_killed() {
    if !enabled() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    for kind in [Kind::Vm, Kind::MicroVm] {
        let driver = driver(kind, data.path());
        let ground = ground(data.path(), &format!("{}-panic", kind.name()), spec(kind, ""));
        let (handle, screen) = boot(&driver, &ground).await;
        screen.type_in("echo c > /proc/sysrq-trigger\n").await;
        let exit = timeout(Duration::from_secs(60), driver.ended(&ground, &handle)).await;
        assert_eq!(exit.expect("an end in time").unwrap().code, outcome::PANIC, "{}", kind.name());
        driver.settle(&ground, &handle).await.unwrap();

        // Somebody else, and not the agent.
        let handle = driver.start(&ground).await.unwrap();
        let process: Process = serde_json::from_value(handle.body["process"].clone()).unwrap();
        process.signal(Signal::KILL).unwrap();
        let exit = driver.ended(&ground, &handle).await.unwrap();
        assert_eq!((exit.code, exit.signal, exit.unseen), (137, Some(9), false));
        driver.settle(&ground, &handle).await.unwrap();

        let handle = driver.start(&ground).await.unwrap();
        let process: Process = serde_json::from_value(handle.body["process"].clone()).unwrap();
        process.signal(Signal::TERM).unwrap();
        let exit = driver.ended(&ground, &handle).await.unwrap();
        assert_eq!((exit.code, exit.signal), (143, Some(15)));
        driver.settle(&ground, &handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_machine_that_cannot_start_says_why_and_leaves_nothing() {
    if !enabled() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let driver = driver(Kind::Vm, data.path());
    let mut wished = spec(Kind::Vm, "");
    wished.memory_bytes = 1 << 60;
    let ground = ground(data.path(), "greedy", wished);
    driver.prepare(&ground).await.unwrap();
    let error = driver.start(&ground).await.unwrap_err().to_string();
    assert!(error.contains("qemu-system") && error.contains("cannot set up guest memory"), "{error}");
    assert!(driver.recover(&ground, None).await.unwrap().is_none(), "nothing runs");
}
