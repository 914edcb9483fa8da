//! Nothing is left, from whatever state.

use std::collections::BTreeSet;

use super::*;
use crate::agent::process;

impl Yard {
    /// What of this yard is on the machine.
    async fn left(&self) -> Vec<String> {
        let orphans = self.driver.orphans(&BTreeSet::new()).await.unwrap();
        let mut left: Vec<String> =
            orphans.into_iter().map(|orphan| format!("{} {}", orphan.what, orphan.name)).collect();
        let loops = Command::new("losetup").args(["-l", "-n", "-O", "BACK-FILE"]).output().unwrap();
        let files = String::from_utf8_lossy(&loops.stdout).into_owned();
        left.extend(
            files.lines().filter(|line| line.contains(self.data.to_str().unwrap())).map(str::to_owned),
        );
        // Every tree there is, whether the driver knows of it or not.
        for tree in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let groups = fs::read_dir(tree.path().join(format!("neuro-{}", self.mark)))
                .into_iter()
                .flatten()
                .flatten();
            let folders = groups.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            left.extend(folders.map(|group| group.path().display().to_string()));
        }
        left
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn destroy_takes_away_every_half_made_state_and_can_be_called_twice() {
    let Some(yard) = yard() else { return };
    let made = || {
        let mut spec = disk(terminal("sleep 1000"), 32 << 20);
        spec.options.network = Some(Network::Cable);
        spec
    };
    let nothing = yard.ground("nothing", made());
    yard.driver.destroy(&nothing).await.unwrap();

    let prepared = yard.ground("prepared", made());
    yard.driver.prepare(&prepared).await.unwrap();
    yard.driver.prepare(&prepared).await.unwrap();
    yard.driver.destroy(&prepared).await.unwrap();

    let mounted = yard.ground("mounted", made());
    yard.driver.prepare(&mounted).await.unwrap();
    ContainerDriver::rootfs(&mounted).mount(&[yard.data.join("images/busybox")], "x").unwrap();
    yard.driver.cables.lease(&mounted.id).unwrap();
    yard.driver.destroy(&mounted).await.unwrap();

    let (running, _) = yard.started("running", made()).await;
    yard.driver.destroy(&running).await.unwrap();
    yard.driver.destroy(&running).await.unwrap();

    let (keeperless, handle) = yard.started("keeperless", made()).await;
    super::super::run::Run::of(&handle).unwrap().file.shim.signal(rustix::process::Signal::KILL).unwrap();
    yard.driver.destroy(&keeperless).await.unwrap();

    let (unwritten, _) = yard.started("unwritten", made()).await;
    for name in ["run.json", "plan.json"] {
        fs::remove_file(unwritten.folder.join(name)).unwrap();
    }
    yard.driver.destroy(&unwritten).await.unwrap();

    for ground in [&nothing, &prepared, &mounted, &running, &keeperless, &unwritten] {
        let left: Vec<_> =
            fs::read_dir(&ground.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty() && !ground.sockets.exists(), "{}: {left:?}", ground.id);
    }
    assert_eq!(yard.left().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_found_by_the_mark_and_swept_and_what_is_known_is_left_alone() {
    let Some(yard) = yard() else { return };
    let mut spec = disk(terminal("sleep 1000"), 32 << 20);
    spec.options.network = Some(Network::Cable);
    let (lost, _) = yard.started("lost", spec).await;
    let (kept, handle) = yard.started("kept", terminal("sleep 1000")).await;
    let known = BTreeSet::from([kept.id.clone()]);
    let orphans = yard.driver.orphans(&known).await.unwrap();
    let kinds: BTreeSet<&str> = orphans.iter().map(|orphan| orphan.what).collect();
    println!("{orphans:?}");
    assert_eq!(kinds, BTreeSet::from(["process", "cgroup", "mount", "network device", "cable lease"]));
    for orphan in &orphans {
        yard.driver.sweep(orphan).await.unwrap();
        yard.driver.sweep(orphan).await.unwrap();
    }
    assert_eq!(yard.driver.orphans(&known).await.unwrap(), []);
    assert!(super::super::run::Run::of(&handle).unwrap().file.init.runs());
    fs::remove_dir_all(&lost.folder).unwrap();
    yard.end(&kept, &handle).await;
    assert_eq!(yard.left().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_dies_between_making_and_starting_leaves_a_shim_that_cleans_up() {
    let Some(yard) = yard() else { return };
    let mut spec = terminal("sleep 1000");
    spec.options.network = Some(Network::Cable);
    let (ground, handle) = yard.started("once", spec).await;
    yard.driver.kill(&ground, &handle).await.unwrap();
    yard.driver.settle(&ground, &handle).await.unwrap();
    ContainerDriver::rootfs(&ground).mount(&[yard.data.join("images/busybox")], "x").unwrap();
    let run = super::super::run::Run::of(&handle).unwrap();
    let shim = crate::agent::shim::ShimOptions {
        mark: yard.mark.clone(),
        id: ground.id.to_string(),
        folder: ground.folder.clone(),
        socket: ground.sockets.join("shim"),
        runtime: run.plan.runtime,
        tty: true,
        hold: true,
    };
    let mut child = Command::new(program())
        .args(shim.arguments())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !ground.folder.join("init.pid").exists() || !yard.driver.group(&ground.id).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(!yard.driver.group(&ground.id).exists(), "the half-made container's group is there");
    assert_eq!(yard.driver.recover(&ground, None).await.unwrap(), None);
    yard.driver.destroy(&ground).await.unwrap();
    assert_eq!(yard.left().await, Vec::<String>::new());
    assert!(process::with_arguments(&["shim", "--mark", &yard.mark]).is_empty());
    yard.driver.close();
    let parent = format!("neuro-{}", yard.mark);
    let trees = crate::agent::cgroup::Hierarchy::of_this_machine().unwrap();
    assert!(trees.trees().iter().all(|tree| !tree.join(&parent).exists()), "{parent} stays");
}
