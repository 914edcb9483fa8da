//! An agent that is killed, and what the next one finds.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{BOOT, Screen, boot, driver, enabled, ground, spec};
use crate::agent::driver::{Driver as _, Ground, Handle, Observed};
use crate::agent::process::Process;
use crate::agent::spec::Kind;

const FOLDER: &str = "NEURO_TEST_LIFE";
const HANDLE: &str = "handle.json";

/// A VM when the folder is called so.
fn the_ground(data: &Path) -> (Kind, Ground) {
    let arguments = std::fs::read_to_string(data.join("arguments")).unwrap();
    let kind = if data.join("vm").exists() { Kind::Vm } else { Kind::MicroVm };
    (kind, ground(data, "adopted", spec(kind, &arguments)))
}

/// Not a test by itself: the agent's life that others kill.
#[tokio::test]
async fn a_life_that_is_killed() {
    let Some(data) = std::env::var_os(FOLDER) else { return };
    let data = Path::new(&data);
    let (kind, ground) = the_ground(data);
    let driver = driver(kind, data);
    let (handle, mut screen) = boot(&driver, &ground).await;
    screen.run("echo $((11*11))", "121").await;
    let bytes = serde_json::to_vec(&handle).unwrap();
    std::fs::write(data.join("draft"), bytes).unwrap();
    std::fs::rename(data.join("draft"), data.join(HANDLE)).unwrap();
    // Watched over, as an agent does.
    driver.ended(&ground, &handle).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
}

/// Starts it, and returns when its machine is ready.
fn live(data: &Path) -> (Child, Handle) {
    let name = concat!(module_path!(), "::a_life_that_is_killed");
    let name = name.split_once("::").expect("a path in a crate").1;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(FOLDER, data)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let limit = Instant::now() + BOOT + BOOT;
    loop {
        if let Ok(bytes) = std::fs::read(data.join(HANDLE)) {
            return (child, serde_json::from_slice(&bytes).unwrap());
        }
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < limit, "no machine came up");
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn adopted(kind: Kind) {
    if !enabled() {
        return;
    }
    super::guest();
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("arguments"), "").unwrap();
    if kind == Kind::Vm {
        std::fs::write(data.path().join("vm"), "").unwrap();
    }
    let (mut child, handle) = live(data.path());
    let process: Process = serde_json::from_value(handle.body["process"].clone()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(process.runs(), "it goes on");

    let started = Instant::now();
    let (_, ground) = the_ground(data.path());
    let driver = driver(kind, data.path());
    let (found, observed) = driver.recover(&ground, Some(&handle)).await.unwrap().expect("a run");
    let took = started.elapsed();
    println!("{}: found again after {took:?}", kind.name());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!((found, observed), (handle.clone(), Observed::Running));

    // What it said before, and what it says now.
    let mut screen = Screen::attach(&driver, &ground, &handle).await;
    assert_eq!(screen.console.first, 0);
    screen.until("121", 0).await;
    screen.run("echo $((12*12))", "144").await;
    assert!(driver.usage(&ground, &handle).await.unwrap().cpu_time_ns > 0);

    // The record may have been lost: its name is enough.
    let (by_name, _) = driver.recover(&ground, None).await.unwrap().expect("the same run");
    assert_eq!(by_name.body["process"], handle.body["process"]);

    // Known, it is nobody's orphan; unknown, it is one and goes.
    let known = BTreeSet::from([ground.id.clone()]);
    assert_eq!(driver.orphans(&known).await.unwrap(), []);
    let orphans = driver.orphans(&BTreeSet::new()).await.unwrap();
    let mine: Vec<_> = orphans.iter().filter(|orphan| orphan.name.ends_with("-adopted")).collect();
    assert_eq!(mine.len(), 1, "{orphans:?}");
    driver.sweep(mine[0]).await.unwrap();
    assert!(!process.runs());
    let exit = driver.ended(&ground, &handle).await.unwrap();
    assert_eq!((exit.code, exit.unseen), (255, true), "nobody saw how");
    driver.settle(&ground, &handle).await.unwrap();
}

#[tokio::test]
async fn a_microvm_outlives_its_agent_and_is_found_again_with_its_console() {
    adopted(Kind::MicroVm).await;
}

#[tokio::test]
async fn a_vm_outlives_its_agent_and_is_found_again_with_its_console() {
    adopted(Kind::Vm).await;
}

#[tokio::test]
async fn a_guest_that_switched_itself_off_while_nobody_looked_ended_well() {
    if !enabled() {
        return;
    }
    super::guest();
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("arguments"), "poweroff_s=15").unwrap();
    let (mut child, handle) = live(data.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let (kind, ground) = the_ground(data.path());
    // Nobody looks.
    let limit = Instant::now() + BOOT;
    let ended = |log: &str| log.contains("Power down") || log.contains("power down");
    while !std::fs::read_to_string(ground.folder.join("console.log")).is_ok_and(|log| ended(&log)) {
        if Instant::now() > limit {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        if probe_status(&ground).await {
            break;
        }
    }
    let driver = driver(kind, data.path());
    let (_, observed) = driver.recover(&ground, Some(&handle)).await.unwrap().expect("a run");
    let Observed::Ended(exit) = observed else { panic!("{observed:?}") };
    assert_eq!((exit.code, exit.unseen), (0, false));
    assert_eq!(driver.ended(&ground, &handle).await.unwrap().code, 0);
    driver.settle(&ground, &handle).await.unwrap();
    assert!(driver.recover(&ground, None).await.unwrap().is_none());
}

/// Has it ended, asked through the other monitor, which no agent of this test uses.
async fn probe_status(ground: &Ground) -> bool {
    let socket = ground.sockets.join("rescue.sock");
    let Ok(monitor) = super::super::qmp::Qmp::connect(&socket, Duration::from_secs(1)).await else {
        return false;
    };
    let answer = monitor.execute("query-status", serde_json::Value::Null).await.unwrap_or_default();
    answer["status"] == "shutdown"
}
