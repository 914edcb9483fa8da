//! What runs without a kernel: the canary, and a VM that boots its disk.

use std::time::{Duration, Instant};

use super::{Screen, driver, enabled, ground, spec};
use crate::agent::driver::Driver as _;
use crate::agent::driver::qemu::canary;
use crate::agent::driver::qemu::plan::Accelerator;
use crate::agent::spec::Kind;

#[tokio::test]
async fn the_canary_sings_where_guests_run_and_the_finding_is_kept() {
    if !enabled() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let started = Instant::now();
    canary::sing("qemu-system-x86_64", Accelerator::Tcg, data.path()).await.unwrap();
    println!("tcg sings after {:?}", started.elapsed());
    let started = Instant::now();
    let finding = canary::find("qemu-system-x86_64", "auto", data.path()).await;
    println!("{finding:?} after {:?}", started.elapsed());
    assert!(finding.accelerator.is_some() && finding.microvm && !finding.version.is_empty());
    assert_eq!(
        finding.accelerator == Some(Accelerator::Kvm),
        finding.reason.is_empty(),
        "a reason for the fallback"
    );
    let started = Instant::now();
    assert_eq!(canary::find("qemu-system-x86_64", "auto", data.path()).await, finding);
    assert!(started.elapsed() < Duration::from_millis(100), "not tried again");
    let ability = driver(Kind::MicroVm, data.path()).probe().await;
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

#[tokio::test]
async fn a_vm_without_a_kernel_boots_its_disk_which_is_an_overlay_of_the_stores_image() {
    if !enabled() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    // A comma and a colon in a path of the store.
    let image = "a, b: c.img";
    let mut disk = boot_sector();
    disk.resize(1 << 20, 0);
    std::fs::write(data.path().join(image), &disk).unwrap();
    let driver = driver(Kind::Vm, data.path());
    let mut wished = spec(Kind::Vm, "");
    (wished.kernel, wished.initrd, wished.image) = (None, None, image.to_owned());
    wished.limits.io_read_bps = 50 << 20;
    let ground = ground(data.path(), "disk-boot", wished);
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
    assert_eq!(std::fs::read(data.path().join(image)).unwrap(), disk, "the store's file is as it was");
}
