//! An agent that is killed, and what the next one finds.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::yard::{Yard, driver, ground};
use super::{BOOT, Screen, boot, guest, process, spec};
use crate::agent::driver::qemu::qmp::Qmp;
use crate::agent::driver::{Driver as _, Ground, Handle, Observed};
use crate::agent::spec::Kind;

const FOLDER: &str = "NEURO_TEST_LIFE";
const KIND: &str = "kind";
const LAST_WORDS: &str = "last-words";
const HANDLE: &str = "handle.json";

fn the_ground(data: &Path) -> (Kind, Ground) {
    let vm = std::fs::read_to_string(data.join(KIND)).unwrap() == Kind::Vm.name();
    let kind = if vm { Kind::Vm } else { Kind::MicroVm };
    (kind, ground(data, "adopted", spec(kind, "")))
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
    let last_words = std::fs::read_to_string(data.join(LAST_WORDS)).unwrap();
    screen.run(&format!("{last_words} echo $((13*13))"), "169").await;
    let bytes = serde_json::to_vec(&handle).unwrap();
    std::fs::write(data.join("draft"), bytes).unwrap();
    std::fs::rename(data.join("draft"), data.join(HANDLE)).unwrap();
    // Watched over, as an agent does.
    driver.ended(&ground, &handle).await.unwrap();
    std::future::pending::<()>().await;
}

/// A process that does not outlive its test.
struct Life(Child);

impl Drop for Life {
    fn drop(&mut self) {
        // Either fails only when it has ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An agent's life that starts a machine, types `last_words` into it, and is killed.
fn life(data: &Path, kind: Kind, last_words: &str) -> Handle {
    guest();
    std::fs::write(data.join(KIND), kind.name()).unwrap();
    std::fs::write(data.join(LAST_WORDS), last_words).unwrap();
    let name = concat!(module_path!(), "::a_life_that_is_killed");
    let name = name.split_once("::").expect("a path in a crate").1;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name]).env(FOLDER, data).stdout(Stdio::null());
    let mut life = Life(command.spawn().unwrap());
    let limit = Instant::now() + BOOT + BOOT;
    loop {
        if let Ok(bytes) = std::fs::read(data.join(HANDLE)) {
            return serde_json::from_slice(&bytes).unwrap();
        }
        assert!(life.0.try_wait().unwrap().is_none() && Instant::now() < limit, "no machine came up");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `query-status`, asked through the monitor that no agent of these tests uses.
pub(super) async fn status(ground: &Ground) -> String {
    let monitor = Qmp::connect(&ground.sockets.join("rescue.sock"), BOOT).await.unwrap();
    let answer = monitor.execute("query-status", serde_json::Value::Null).await.unwrap();
    answer["status"].as_str().unwrap().to_owned()
}

async fn adopted(kind: Kind) {
    let Some(yard) = Yard::open() else { return };
    let handle = life(yard.data(), kind, "(sleep 2; echo $((17*17))) &");
    assert!(process(&handle).runs(), "it goes on");
    let (_, ground) = the_ground(yard.data());
    let (log, limit) = (ground.folder.join("console.log"), Instant::now() + BOOT);
    while !std::fs::read_to_string(&log).unwrap().contains("289") {
        assert!(Instant::now() < limit, "nothing was said while no agent was there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let started = Instant::now();
    let driver = yard.driver(kind);
    let (found, observed) = driver.recover(&ground, Some(&handle)).await.unwrap().expect("a run");
    let took = started.elapsed();
    println!("{}: found again after {took:?}", kind.name());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!((found, observed), (handle.clone(), Observed::Running));

    // What it said before, and what it says now.
    let mut screen = Screen::attach(&driver, &ground, &handle).await;
    assert_eq!(screen.console.first, 0);
    screen.until("121", 0).await;
    screen.until("289", 0).await;
    screen.run("echo $((12*12))", "144").await;
    assert!(driver.usage(&ground, &handle).await.unwrap().cpu_time_ns > 0);

    // The record may have been lost: its name is enough.
    let (by_name, _) = driver.recover(&ground, None).await.unwrap().expect("the same run");
    assert_eq!(process(&by_name), process(&handle));

    // How it ends is known, though this agent is not its parent.
    driver.ask_to_stop(&ground, &handle).await.unwrap();
    let exit = driver.ended(&ground, &handle).await.unwrap();
    assert_eq!((exit.code, exit.signal, exit.unseen), (0, None, false));
    driver.settle(&ground, &handle).await.unwrap();
    driver.destroy(&ground).await.unwrap();
}

#[tokio::test]
async fn a_microvm_outlives_its_agent_and_is_found_again_with_its_console_and_its_end() {
    adopted(Kind::MicroVm).await;
}

#[tokio::test]
async fn a_vm_outlives_its_agent_and_is_found_again_with_its_console_and_its_end() {
    adopted(Kind::Vm).await;
}

async fn switched_off(kind: Kind) {
    let Some(yard) = Yard::open() else { return };
    let handle = life(yard.data(), kind, "(sleep 3; poweroff -f) &");
    let (_, ground) = the_ground(yard.data());
    assert_eq!(status(&ground).await, "running", "its agent ended first");
    let limit = Instant::now() + BOOT;
    while status(&ground).await != "shutdown" {
        assert!(Instant::now() < limit, "it goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let driver = yard.driver(kind);
    let (_, observed) = driver.recover(&ground, Some(&handle)).await.unwrap().expect("a run");
    let Observed::Ended(exit) = observed else { panic!("{observed:?}") };
    assert_eq!((exit.code, exit.unseen), (0, false));
    assert_eq!(driver.ended(&ground, &handle).await.unwrap().code, 0);
    driver.settle(&ground, &handle).await.unwrap();
    assert!(driver.recover(&ground, None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_microvm_that_switched_itself_off_while_nobody_looked_ended_well() {
    switched_off(Kind::MicroVm).await;
}

#[tokio::test]
async fn a_vm_that_switched_itself_off_while_nobody_looked_ended_well() {
    switched_off(Kind::Vm).await;
}

#[tokio::test]
async fn a_machine_of_no_known_instance_is_an_orphan_and_is_swept_by_its_own_kind_alone() {
    let Some(yard) = Yard::open() else { return };
    let (vms, microvms) = (yard.driver(Kind::Vm), yard.driver(Kind::MicroVm));
    let ground = yard.ground("lost", spec(Kind::MicroVm, ""));
    microvms.prepare(&ground).await.unwrap();
    let handle = microvms.start(&ground).await.unwrap();
    let known = BTreeSet::from([ground.id.clone()]);
    assert_eq!(microvms.orphans(&known).await.unwrap(), []);
    assert_eq!(vms.orphans(&BTreeSet::new()).await.unwrap(), []);
    let orphans = microvms.orphans(&BTreeSet::new()).await.unwrap();
    assert!(orphans.len() == 1 && orphans[0].name.ends_with("-lost"), "{orphans:?}");
    // An agent that did not start it.
    let another = yard.driver(Kind::MicroVm);
    another.recover(&ground, Some(&handle)).await.unwrap().expect("a run");
    another.sweep(&orphans[0]).await.unwrap();
    assert!(!process(&handle).runs());
    let exit = another.ended(&ground, &handle).await.unwrap();
    assert_eq!((exit.code, exit.unseen), (255, true), "nobody saw how");
}
