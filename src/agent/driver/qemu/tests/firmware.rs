//! What runs without a kernel: the canary, and a VM that boots its disk.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::yard::Yard;
use super::{Screen, spec};
use crate::agent::driver::Driver as _;
use crate::agent::driver::qemu::canary;
use crate::agent::driver::qemu::plan::Accelerator;
use crate::agent::driver::qemu::qcow2::Head;
use crate::agent::spec::Kind;

#[tokio::test]
async fn a_canary_that_nobody_listens_to_ends_by_itself() {
    let Some(yard) = Yard::open() else { return };
    std::fs::write(yard.data().join("firmware"), canary::firmware()).unwrap();
    let mut command = canary::perch("qemu-system-x86_64", Accelerator::Tcg, yard.data());
    let status = timeout(Duration::from_secs(60), command.status()).await.expect("it goes on").unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(std::fs::read(yard.data().join("song")).unwrap(), b"neuro-canary sings\n");
}

#[tokio::test]
async fn the_canary_sings_where_guests_run_and_the_finding_is_kept() {
    let Some(yard) = Yard::open() else { return };
    let data = yard.data();
    let started = Instant::now();
    canary::sing("qemu-system-x86_64", Accelerator::Tcg, data).await.unwrap();
    println!("tcg sings after {:?}", started.elapsed());
    let started = Instant::now();
    let finding = canary::find("qemu-system-x86_64", "auto", data).await;
    println!("{finding:?} after {:?}", started.elapsed());
    assert!(finding.microvm && !finding.version.is_empty());
    match finding.accelerator {
        Some(Accelerator::Kvm) => assert_eq!(finding.reason, ""),
        other => {
            assert_eq!(other, Some(Accelerator::Tcg));
            let reason = finding.reason.strip_prefix("kvm is not usable: ").expect("why KVM is not used");
            assert!(reason.len() > 10, "{reason}");
        }
    }
    let started = Instant::now();
    assert_eq!(canary::find("qemu-system-x86_64", "auto", data).await, finding);
    assert!(started.elapsed() < Duration::from_millis(100), "not tried again");
    let ability = yard.driver(Kind::MicroVm).probe().await;
    assert!(ability.usable && ability.labels[0].1 == "tcg", "{ability:?}");
}

/// A boot sector that says a line on the serial port and halts.
fn boot_sector() -> Vec<u8> {
    let program = [
        0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x20, 0x7c, 0xba, 0xf8, 0x03, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb,
        0xf8, 0xf4, 0xeb, 0xfd,
    ];
    let mut sector = vec![0; 512];
    sector[..program.len()].copy_from_slice(&program);
    let line = b"boot sector speaks\n\0";
    sector[0x20..0x20 + line.len()].copy_from_slice(line);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// A start from a disk in the store, of which nothing is changed.
async fn boots_its_disk(image: &str, make: impl FnOnce(&Path, &Path)) {
    let Some(yard) = Yard::open() else { return };
    let (plain, stored) = (yard.data().join("plain"), yard.data().join(image));
    let mut disk = boot_sector();
    disk.resize(1 << 20, 0);
    std::fs::write(&plain, &disk).unwrap();
    make(&plain, &stored);
    let before = std::fs::read(&stored).unwrap();
    let driver = yard.driver(Kind::Vm);
    let mut wished = spec(Kind::Vm, "");
    (wished.kernel, wished.initrd, wished.image) = (None, None, image.to_owned());
    wished.limits.io_read_bps = 50 << 20;
    let ground = yard.ground("disk-boot", wished);
    driver.check(&ground.spec).unwrap();
    driver.prepare(&ground).await.unwrap();
    driver.prepare(&ground).await.unwrap();
    let handle = driver.start(&ground).await.unwrap();
    let mut screen = Screen::attach(&driver, &ground, &handle).await;
    screen.until("boot sector speaks", 0).await;
    assert!(driver.usage(&ground, &handle).await.unwrap().disk_read_bytes >= 512);
    driver.kill(&ground, &handle).await.unwrap();
    driver.settle(&ground, &handle).await.unwrap();
    driver.destroy(&ground).await.unwrap();
    assert_eq!(std::fs::read(&stored).unwrap(), before, "the store's file is as it was");
}

#[tokio::test]
async fn a_vm_without_a_kernel_boots_an_overlay_of_a_raw_disk() {
    // A comma and a colon in a path of the store.
    boots_its_disk("a, b: c.img", |plain, stored| std::fs::rename(plain, stored).unwrap()).await;
}

#[tokio::test]
async fn a_vm_without_a_kernel_boots_an_overlay_of_a_qcow2_disk() {
    boots_its_disk("disk.qcow2", |plain, stored| {
        let mut convert = Command::new("qemu-img");
        convert.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(plain).arg(stored);
        assert!(convert.status().unwrap().success());
        assert_eq!(Head::read(stored).unwrap().size_bytes, 1 << 20);
    })
    .await;
}
