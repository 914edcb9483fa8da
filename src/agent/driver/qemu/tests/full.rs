//! A host's disk that is full for a while.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::adoption::status;
use super::yard::Yard;
use super::{BOOT, boot, spec};
use crate::agent::driver::Driver as _;
use crate::agent::spec::{Disk, Kind};

/// A file system in memory.
struct Small(PathBuf);

impl Small {
    fn mount(folder: &Path, size: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let small = Self(folder.to_owned());
        small.run("mount", &["-t", "tmpfs", "-o", size, "none"]);
        small
    }

    fn grow(&self, size: &str) {
        self.run("mount", &["-o", &format!("remount,{size}")]);
    }

    fn run(&self, program: &str, words: &[&str]) {
        assert!(Command::new(program).args(words).arg(&self.0).status().unwrap().success(), "{program}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A test that failed has said why.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[tokio::test]
async fn a_machine_that_finds_the_disk_full_waits_and_goes_on_when_there_is_room() {
    let Some(yard) = Yard::open() else { return };
    let driver = yard.driver(Kind::MicroVm);
    let mut wished = spec(Kind::MicroVm, "");
    wished.disks = vec![Disk { name: "root".to_owned(), size_bytes: 64 << 20, boot: true }];
    let ground = yard.ground("full", wished);
    let small = Small::mount(&ground.folder, "size=8m");
    let (handle, mut screen) = boot(&driver, &ground).await;
    screen.type_in("dd if=/dev/zero of=/dev/vda bs=1M count=12 oflag=direct && echo $((6*7)) pieces\n").await;
    let limit = Instant::now() + BOOT;
    while status(&ground).await != "io-error" {
        assert!(Instant::now() < limit, "there is room");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let watched = async {
        small.grow("size=64m");
        screen.until("42 pieces", 0).await;
    };
    // Somebody watches over it, as an agent does.
    tokio::select! {
        exit = driver.ended(&ground, &handle) => panic!("{exit:?}"),
        () = watched => {}
    }
    assert_eq!(status(&ground).await, "running");
    driver.kill(&ground, &handle).await.unwrap();
    driver.settle(&ground, &handle).await.unwrap();
}
