//! What a container may not, and the devices and volumes it may.

use super::*;
use crate::agent::settings::CdiSettings;
use crate::agent::spec::Mount;

#[tokio::test(flavor = "multi_thread")]
async fn it_has_few_capabilities_no_new_ones_and_no_way_to_mount_or_to_look_around() {
    let Some(yard) = yard() else { return };
    let line = "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; mount -t tmpfs x /tmp 2>&1; \
                unshare -n true 2>&1; mknod /tmp/d b 254 0 2>&1; cat /proc/kcore | wc -c; ls /sys/firmware | wc -l; \
                echo 1 > /proc/sys/vm/drop_caches; ls /sys/class/net; ip route | wc -l";
    let (text, _) = yard.transcript("confined", shell(line)).await;
    println!("{text}");
    // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, KILL 5, SETGID 6, SETUID 7, NET_BIND_SERVICE 10, SYS_CHROOT 18.
    assert!(text.contains("CapEff:\t00000000000404fb"), "{text}");
    assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"), "{text}");
    assert!(
        text.contains("mount: permission denied") && text.contains("unshare(0x40000000): Operation not"),
        "{text}"
    );
    assert!(text.contains("mknod: /tmp/d: Operation not permitted"), "{text}");
    assert!(text.contains("Read-only file system"), "{text}");
    assert!(text.ends_with("lo\n0\n") && text.contains("\n0\n0\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_volumes_environment_and_shared_memory_are_as_asked() {
    let Some(yard) = yard() else { return };
    let line = "id; echo $A $B; touch /v/x /r/x 2>&1; df /dev/shm | tail -1; touch /nope 2>&1; \
                grep -E CapEff /proc/self/status; hostname";
    let mut spec = shell(line);
    spec.options.user = "1000:44".to_owned();
    spec.options.shm_bytes = 128 << 20;
    spec.env.insert("A".to_owned(), "a b".to_owned());
    for (volume, path, read_only) in [("data", "/v", false), ("ro", "/r", true)] {
        spec.mounts.push(Mount { volume: volume.to_owned(), path: path.to_owned(), read_only });
    }
    fs::create_dir_all(yard.data.join("volumes/data")).unwrap();
    std::os::unix::fs::chown(yard.data.join("volumes/data"), Some(1000), None).unwrap();
    let (text, _) = yard.transcript("asked", spec).await;
    println!("{text}");
    assert!(text.contains("uid=1000(sim) gid=44") && text.contains("a b \n".trim_end()), "{text}");
    assert!(
        text.contains("touch: /r/x: Read-only file system")
            && text.contains("touch: /nope: Permission denied")
    );
    assert!(
        text.contains("131072") && text.contains("CapEff:\t0000000000000000") && text.ends_with("asked\n"),
        "{text}"
    );
    assert!(yard.data.join("volumes/data/x").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cdi_device_can_be_opened_and_another_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let document = r#"{"cdiVersion":"0.6.0","kind":"neuro.test/gpu","devices":[{"name":"0","containerEdits":{
        "env":["FAKE_GPU=0"],
        "deviceNodes":[{"path":"/dev/fake0","hostPath":"/dev/loop-control","permissions":"r"}],
        "mounts":[{"hostPath":"/etc/debian_version","containerPath":"/driver/version"}],
        "hooks":[{"hookName":"createContainer","path":"/bin/sh","args":["sh","-c","echo hooked > /tmp/hooked"]}]}}]}"#;
    fs::write(folder.path().join("fake.json"), document.replace("/tmp/hooked", "HOOKED")).unwrap();
    let settings = AgentSettings {
        cdi: CdiSettings { folders: vec![folder.path().to_owned()], ..CdiSettings::default() },
        ..AgentSettings::default()
    };
    let Some(yard) = yard_with(settings) else { return };
    let hooked = folder.path().join("hooked");
    let text = fs::read_to_string(folder.path().join("fake.json")).unwrap();
    fs::write(folder.path().join("fake.json"), text.replace("HOOKED", hooked.to_str().unwrap())).unwrap();
    let line = "echo $FAKE_GPU; cat /driver/version; ls -l /dev/fake0; (: < /dev/fake0) && echo opened; \
                (: > /dev/fake0) 2>&1; ls /dev/loop-control 2>&1";
    let mut ground = yard.ground("cdi", shell(line));
    ground.devices = vec!["neuro.test/gpu=0".to_owned()];
    yard.driver.prepare(&ground).await.unwrap();
    let handle = yard.driver.start(&ground).await.unwrap();
    let mut console = yard.driver.console(&ground, &handle).await.unwrap();
    let text = said(&mut console, "/dev/loop-control: No such file").await;
    println!("{text}");
    assert!(
        text.starts_with("0\n") && text.contains(fs::read_to_string("/etc/debian_version").unwrap().trim())
    );
    assert!(
        text.contains("10, 237") && text.contains("\nopened\n") && text.contains("Operation not permitted"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(hooked).unwrap(), "hooked\n");
    yard.end(&ground, &handle).await;
}
