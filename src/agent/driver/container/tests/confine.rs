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

/// Something of the host's, mounted below /sys for a while.
struct Below(&'static str);

impl Below {
    fn mount(folder: &'static str) -> Self {
        let done = Command::new("mount").args(["-t", "tmpfs", "neuro-test", folder]).status().unwrap();
        assert!(done.success());
        fs::write(Path::new(folder).join("switch"), "0").unwrap();
        Self(folder)
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        Command::new("umount").args(["-l", self.0]).status().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_hosts_network_too_nothing_below_sys_can_be_written_and_none_of_the_hosts_mounts_is_there() {
    let Some(yard) = yard() else { return };
    let below = Below::mount("/sys/kernel/debug");
    for network in [Network::Host, Network::None] {
        let line = "echo 1 > /sys/kernel/debug/switch; touch /sys/kernel/debug/x 2>&1; \
                    echo 1 > /sys/kernel/profiling; for tree in /sys/fs/cgroup/*/; do touch ${tree}x 2>&1; done; \
                    grep ' /sys' /proc/self/mountinfo > /tmp/all; cat /tmp/all; \
                    echo writable: $(grep -v -e ' ro,' -e ' /sys/fs/cgroup .* tmpfs ' /tmp/all)";
        let mut spec = shell(line);
        spec.options.network = Some(network);
        let (text, _) = yard.transcript("below", spec).await;
        println!("{text}");
        assert!(
            text.contains("can't create /sys/kernel/debug/switch") && !text.contains("neuro-test"),
            "{text}"
        );
        assert!(text.contains("touch: /sys/kernel/debug/x: "), "{text}");
        assert!(text.contains("can't create /sys/kernel/profiling: Read-only file system"), "{text}");
        assert!(text.contains("/x: Read-only file system") && text.ends_with("\nwritable:\n"), "{text}");
    }
    assert_eq!(fs::read_to_string(Path::new(below.0).join("switch")).unwrap(), "0");
    assert!(fs::metadata("/sys/kernel/profiling").is_ok());
    drop(below);
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let sys = host.lines().find(|line| line.contains(" /sys ")).unwrap();
    assert!(sys.contains(" - sysfs sysfs rw"), "the host's own stays as it is: {sys}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mounted_in_a_volume_is_as_read_only_as_the_volume() {
    let Some(yard) = yard() else { return };
    let inner = yard.data.join("volumes/ro/inner");
    fs::create_dir_all(&inner).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "neuro-test"]).arg(&inner).status().unwrap();
    let mut spec = shell("touch /r/x /r/inner/x 2>&1; ls /r");
    spec.mounts.push(Mount { volume: "ro".to_owned(), path: "/r".to_owned(), read_only: true });
    let (ground, handle) = yard.started("inner", spec).await;
    let mut console = yard.driver.console(&ground, &handle).await.unwrap();
    let text = said(&mut console, "inner\n").await;
    yard.end(&ground, &handle).await;
    let gone = Command::new("umount").arg(&inner).status().unwrap();
    assert!(mounted.success() && gone.success());
    assert!(text.contains("/r/x: Read-only") && text.contains("/r/inner/x: Read-only"), "{text}");
}

/// A program of a few system calls: makes a socket of a family, and ends with 253 when it could or with the error's number.
#[cfg(target_arch = "x86_64")]
fn socket_program(family: u8) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let code: Vec<u8> = [
        &[0xb8, 41, 0, 0, 0][..],         // mov eax, socket
        &[0xbf, family, 0, 0, 0],         // mov edi, family
        &[0xbe, 1, 0, 0, 0],              // mov esi, SOCK_STREAM
        &[0x31, 0xd2],                    // xor edx, edx
        &[0x0f, 0x05],                    // syscall
        &[0xf7, 0xd8, 0x89, 0xc7],        // neg eax; mov edi, eax
        &[0xb8, 60, 0, 0, 0, 0x0f, 0x05], // exit
    ]
    .concat();
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(16, 0);
    let size = HEADERS + code.len() as u64;
    for (value, bytes) in [
        (2, 2),
        (62, 2),
        (1, 4),
        (BASE + HEADERS, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (1, 2),
        (0, 2),
        (0, 2),
        (0, 2), // one segment, to be read and executed, whole:
        (1, 4),
        (5, 4),
        (0, 8),
        (BASE, 8),
        (BASE, 8),
        (size, 8),
        (size, 8),
        (4096, 8),
    ] {
        program.extend(&u64::to_le_bytes(value)[..bytes]);
    }
    program.extend(code);
    program
}

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_of_every_family_but_the_one_that_reaches_past_the_network_namespace() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(yard) = yard() else { return };
    let bin = yard.data.join("images/busybox/bin");
    for family in [1, 2, 10, 40] {
        let program = bin.join(format!("socket-{family}"));
        fs::write(&program, socket_program(family)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let line = "for family in 1 2 10 40; do socket-$family; echo $family: $?; done";
    let (text, _) = yard.transcript("sockets", shell(line)).await;
    // EPERM is 1; what a kernel does not have is EAFNOSUPPORT, 97.
    assert_eq!(text, "1: 253\n2: 253\n10: 253\n40: 1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_the_image_has_not_is_the_callers_fault_in_the_runtimes_words() {
    let Some(yard) = yard() else { return };
    for (program, said) in [
        ("nope", "nope"),
        ("/no/such", "no such file"),
        ("/etc", "permission denied"),
        ("/etc/passwd", "permission denied"),
    ] {
        let mut spec = shell("");
        (spec.command, spec.args) = (vec![program.to_owned()], Vec::new());
        let ground = yard.ground("absent", spec);
        yard.driver.prepare(&ground).await.unwrap();
        let error = yard.driver.start(&ground).await.unwrap_err();
        println!("{error}");
        assert!(matches!(&error, AgentError::Precondition(text) if text.contains(said)), "{error:?}");
        yard.driver.destroy(&ground).await.unwrap();
    }
}
