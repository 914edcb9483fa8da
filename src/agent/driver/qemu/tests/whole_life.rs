//! A machine from its making to its removal.

use std::time::{Duration, Instant};

use super::yard::Yard;
use super::{Screen, boot, process, spec};
use crate::agent::cgroup::Hierarchy;
use crate::agent::driver::Driver as _;
use crate::agent::driver::qemu::outcome;
use crate::agent::spec::{Disk, Kind};

const WRITTEN: u64 = 4 << 20;
/// The guest writes so much at a time.
const PIECE: u64 = 1 << 20;
/// What QEMU would take for four options if it ever looked.
const ARGUMENTS: &str = r#"-S -monitor,stdio x=a,b,,c,id="e f" --machine=none"#;
/// A name that would be three options anywhere but in JSON.
const NAME: &str = r#"a,id="x"}{b='c"#;

/// The time between a key and its echo, in the middle of twenty.
async fn echo(screen: &mut Screen) -> Duration {
    let mut took = Vec::new();
    for key in 'a'..='t' {
        let from = screen.text.len();
        let typed = Instant::now();
        screen.type_in(&key.to_string()).await;
        screen.until(&key.to_string(), from).await;
        took.push(typed.elapsed());
    }
    // Takes the line back.
    screen.type_in("\u{15}").await;
    took.sort();
    took[took.len() / 2]
}

async fn whole_life(kind: Kind, write_bps: u64) {
    let Some(yard) = Yard::open() else { return };
    let driver = yard.driver(kind);
    let mut wished = spec(kind, ARGUMENTS);
    wished.cpu_cores = 2;
    wished.disks = vec![Disk { name: NAME.to_owned(), size_bytes: 64 << 20, boot: true }];
    wished.limits.io_write_bps = write_bps;
    let ground = yard.ground("whole", wished);
    let (handle, mut screen) = boot(&driver, &ground).await;
    assert!(process(&handle).runs());
    let status = std::fs::read_to_string(format!("/proc/{}/status", process(&handle).pid)).unwrap();
    for line in ["CapPrm:", "CapEff:", "CapBnd:", "CapInh:", "CapAmb:"] {
        assert!(status.contains(&format!("{line}\t0000000000000000\n")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1\n") && status.contains("Seccomp:\t2\n"), "{status}");
    let group = format!("neuro-{}/whole", yard.mark());
    let group = Hierarchy::of_this_machine().unwrap().group(&group);
    assert!(group.processes().contains(&process(&handle).pid));
    let used = group.readings();
    println!("{}: {used:?} in its control group", kind.name());
    assert!(used.processes >= 2 && used.memory_used_bytes > 8 << 20, "{used:?}");

    let said =
        screen.run("cat /proc/cmdline /sys/block/vda/serial /sys/block/vda/size; echo end", "\nend").await;
    assert!(said.contains(ARGUMENTS) && said.contains(NAME) && said.contains("131072"), "{said}");
    let said = screen.run("nproc; counters", "memory ").await;
    assert!(said.contains("\n2\r"), "cores: {said}");
    let memory = screen.run("free -k | grep Mem:; echo end", "\nend").await;
    let (_, figures) = memory.rsplit_once("Mem:").unwrap();
    let total_kib: u64 = figures.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!((90 << 10..=128 << 10).contains(&total_kib), "{memory}");
    println!("{}: echo of a key after {:?}", kind.name(), echo(&mut screen).await);

    let before = driver.usage(&ground, &handle).await.unwrap();
    let writes = Instant::now();
    screen.run("write-4m", "wrote 4194304").await;
    // A tenth of a second's worth goes at once, and nobody waits for what follows the last piece.
    if let Some(least_s) = (WRITTEN - PIECE).checked_div(write_bps) {
        let least = Duration::from_secs(least_s) - Duration::from_millis(200);
        println!("{}: 4 MiB written in {:?}", kind.name(), writes.elapsed());
        assert!(writes.elapsed() >= least, "{:?}", writes.elapsed());
    }
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
    println!("{}: switched itself off after {:?}", kind.name(), asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(exit, outcome::code(0, exit.at_ms));
    driver.settle(&ground, &handle).await.unwrap();
    assert!(!process(&handle).runs() && !group.exists(), "nothing stays");
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
    whole_life(Kind::Vm, 1 << 20).await;
}

#[tokio::test]
async fn a_microvm_boots_talks_counts_and_switches_itself_off_when_asked() {
    whole_life(Kind::MicroVm, 0).await;
}
