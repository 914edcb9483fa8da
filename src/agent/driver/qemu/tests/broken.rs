//! A processor that cannot go on.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::spec;
use super::yard::Yard;
use crate::agent::driver::qemu::qmp::Qmp;
use crate::agent::driver::qemu::{canary, outcome, write};
use crate::agent::driver::{Driver as _, Observed};
use crate::agent::process::Process;
use crate::agent::spec::Kind;

/// How long a KVM has to break.
const BREAKS: Duration = Duration::from_secs(10);

/// Firmware whose first instruction is `xrstor`: a KVM that emulates every instruction does not know it.
fn firmware() -> Vec<u8> {
    let mut image = canary::firmware();
    image[..3].copy_from_slice(&[0x0f, 0xae, 0x2f]);
    image
}

/// A QEMU on KVM that listens where an agent looks for it.
fn start(sockets: &Path, name: &str) -> Child {
    std::fs::create_dir_all(sockets).unwrap();
    std::fs::write(sockets.join("firmware"), firmware()).unwrap();
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-no-user-config", "-nodefaults", "-no-shutdown", "-display", "none", "-m", "16"]);
    command.args(["-machine", "pc", "-accel", "kvm", "-cpu", "kvm64", "-bios", "firmware", "-name", name]);
    for monitor in ["qmp", "rescue"] {
        command.args(["-qmp", &format!("unix:{monitor}.sock,server=on,wait=off")]);
    }
    command.current_dir(sockets).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().unwrap()
}

/// Does it stand still for an internal error? No where KVM can do what it was told.
async fn broke(rescue: &Path) -> bool {
    let limit = Instant::now() + BREAKS;
    while Instant::now() < limit {
        if let Ok(monitor) = Qmp::connect(rescue, BREAKS).await
            && let Ok(answer) = monitor.execute("query-status", Value::Null).await
            && answer["status"] == "internal-error"
        {
            return true;
        }
        sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn a_machine_that_stands_still_for_an_internal_error_has_failed() {
    let Some(yard) = Yard::open() else { return };
    if !Path::new("/dev/kvm").exists() {
        println!("skipped: there is no /dev/kvm, and nothing else has internal errors");
        return;
    }
    let driver = yard.driver(Kind::Vm);
    let ground = yard.ground("broken", spec(Kind::Vm, ""));
    let mut child = start(&ground.sockets, &driver.run_name(&ground.id));
    if !broke(&ground.sockets.join("rescue.sock")).await {
        println!("skipped: KVM does here what it was told");
        child.kill().await.unwrap();
        return;
    }
    let process = Process::of(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    let handle = write(process).unwrap();
    let (_, observed) = driver.recover(&ground, Some(&handle)).await.unwrap().expect("a run");
    let Observed::Ended(exit) = observed else { panic!("{observed:?}") };
    assert_eq!((exit.code, exit.unseen), (outcome::INTERNAL, false));
    assert!(outcome::words(exit.code).unwrap().contains("internal error"));
    assert_eq!(driver.ended(&ground, &handle).await.unwrap().code, outcome::INTERNAL);
    driver.settle(&ground, &handle).await.unwrap();
    assert!(!process.runs());
    child.wait().await.unwrap();
}
