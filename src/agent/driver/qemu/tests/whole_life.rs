//! A machine from its making to its removal.

use std::time::{Duration, Instant};

use super::{Screen, boot, driver, enabled, ground, spec};
use crate::agent::driver::Driver as _;
use crate::agent::driver::qemu::outcome;
use crate::agent::process::Process;
use crate::agent::spec::{Disk, Kind};

const WRITTEN: u64 = 4 << 20;

async fn whole_life(kind: Kind, id: &str) {
    if !enabled() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let driver = driver(kind, data.path());
    let mut wished = spec(kind, "");
    // A name that would be three options anywhere but in JSON.
    let name = r#"a,id="x"}{b='c"#;
    wished.disks = vec![Disk { name: name.to_owned(), size_bytes: 64 << 20, boot: true }];
    let ground = ground(data.path(), id, wished);
    let (handle, mut screen) = boot(&driver, &ground).await;
    let process: Process = serde_json::from_value(handle.body["process"].clone()).unwrap();
    assert!(process.runs());

    let typed = Instant::now();
    screen.run("echo $((6*7))", "42").await;
    println!("{id}: answer on the console after {:?}", typed.elapsed());
    let serial = screen.run("cat /sys/block/vda/serial /sys/block/vda/size; echo end", "\nend").await;
    assert!(serial.contains(&name[..20.min(name.len())]) && serial.contains("131072"), "{serial}");

    let before = driver.usage(&ground, &handle).await.unwrap();
    screen.run("write-4m", "wrote 4194304").await;
    let usage = driver.usage(&ground, &handle).await.unwrap();
    assert_eq!(usage.disk_written_bytes - before.disk_written_bytes, WRITTEN, "to the byte");
    assert!(usage.disk_used_bytes >= WRITTEN, "{usage:?}");
    assert!(usage.cpu_time_ns > before.cpu_time_ns && usage.processes >= 2, "{usage:?}");
    assert!((4 << 20..128 << 20).contains(&usage.memory_used_bytes), "the guest's own figure: {usage:?}");

    // A second console has the same bytes from the run's start.
    drop(screen);
    let mut again = Screen::attach(&driver, &ground, &handle).await;
    assert_eq!(again.console.first, 0);
    again.until("wrote 4194304", 0).await;
    again.run("echo $((7*7))", "49").await;

    let asked = Instant::now();
    driver.ask_to_stop(&ground, &handle).await.unwrap();
    let exit = driver.ended(&ground, &handle).await.unwrap();
    println!("{id}: switched itself off after {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(exit, outcome::code(0, exit.at_ms));
    driver.settle(&ground, &handle).await.unwrap();
    assert!(!process.runs(), "nothing stays");
    assert_eq!(std::fs::read_dir(&ground.sockets).unwrap().count(), 0, "no socket stays");
    while again.console.output.recv().await.is_some() {}

    // Its disk is the same at the next start.
    let handle = driver.start(&ground).await.unwrap();
    let used = driver.usage(&ground, &handle).await.unwrap();
    assert!(used.disk_used_bytes >= WRITTEN && used.disk_written_bytes == 0, "{used:?}");
    driver.kill(&ground, &handle).await.unwrap();
    assert_eq!(driver.ended(&ground, &handle).await.unwrap().signal, Some(9));
    driver.settle(&ground, &handle).await.unwrap();
    driver.destroy(&ground).await.unwrap();
    driver.destroy(&ground).await.unwrap();
    assert_eq!(std::fs::read_dir(&ground.folder).unwrap().count(), 0, "no file stays");
}

#[tokio::test]
async fn a_vm_boots_talks_counts_and_switches_itself_off_when_asked() {
    whole_life(Kind::Vm, "vm-1").await;
}

#[tokio::test]
async fn a_microvm_boots_talks_counts_and_switches_itself_off_when_asked() {
    whole_life(Kind::MicroVm, "microvm-1").await;
}
