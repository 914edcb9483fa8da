//! Runs that end otherwise than by the power button.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::timeout;

use super::yard::Yard;
use super::{boot, process, spec};
use crate::agent::driver::Driver as _;
use crate::agent::driver::qemu::outcome;
use crate::agent::spec::Kind;

async fn deaf(kind: Kind) {
    let Some(yard) = Yard::open() else { return };
    let driver = yard.driver(kind);
    let ground = yard.ground("deaf", spec(kind, "deaf"));
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
async fn a_deaf_microvm_goes_on_until_it_is_killed() {
    deaf(Kind::MicroVm).await;
}

#[tokio::test]
async fn a_deaf_vm_goes_on_until_it_is_killed() {
    deaf(Kind::Vm).await;
}

async fn panics(kind: Kind) {
    let Some(yard) = Yard::open() else { return };
    let driver = yard.driver(kind);
    let ground = yard.ground("panic", spec(kind, ""));
    let (handle, screen) = boot(&driver, &ground).await;
    screen.type_in("echo c > /proc/sysrq-trigger\n").await;
    let exit = timeout(Duration::from_secs(60), driver.ended(&ground, &handle)).await;
    let exit = exit.expect("an end in time").unwrap();
    assert_eq!((exit.code, exit.unseen), (outcome::PANIC, false));
    assert!(outcome::words(exit.code).unwrap().contains("panicked"));
    driver.settle(&ground, &handle).await.unwrap();
    assert!(!process(&handle).runs());
}

#[tokio::test]
async fn a_panic_in_a_microvm_is_a_failure() {
    panics(Kind::MicroVm).await;
}

#[tokio::test]
async fn a_panic_in_a_vm_is_a_failure() {
    panics(Kind::Vm).await;
}

#[tokio::test]
async fn a_qemu_that_somebody_else_killed_is_a_failure_with_the_signal() {
    let Some(yard) = Yard::open() else { return };
    let driver = yard.driver(Kind::MicroVm);
    let ground = yard.ground("killed", spec(Kind::MicroVm, ""));
    driver.prepare(&ground).await.unwrap();
    for (signal, code) in [(Signal::KILL, 137), (Signal::TERM, 143)] {
        let handle = driver.start(&ground).await.unwrap();
        process(&handle).signal(signal).unwrap();
        let exit = driver.ended(&ground, &handle).await.unwrap();
        assert_eq!((exit.code, exit.signal, exit.unseen), (code, Some(signal.as_raw()), false));
        driver.settle(&ground, &handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_machine_that_cannot_start_says_why_and_leaves_nothing() {
    let Some(yard) = Yard::open() else { return };
    let driver = yard.driver(Kind::Vm);
    let mut wished = spec(Kind::Vm, "");
    wished.memory_bytes = 1 << 60;
    let ground = yard.ground("greedy", wished);
    driver.prepare(&ground).await.unwrap();
    let error = driver.start(&ground).await.unwrap_err().to_string();
    assert!(error.contains("qemu-system") && error.contains("cannot set up guest memory"), "{error}");
    assert!(driver.recover(&ground, None).await.unwrap().is_none(), "nothing runs");
}
