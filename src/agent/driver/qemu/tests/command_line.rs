//! The command line of a machine.

use std::path::PathBuf;

use crate::agent::driver::qemu::plan::{Accelerator, DiskPlan, Link, Plan, Sockets, mac};
use crate::agent::spec::{Kind, Limits};

pub(super) fn plan(kind: Kind) -> Plan {
    Plan {
        kind,
        name: "neuro-0badcafe-a".to_owned(),
        accelerator: Accelerator::Tcg,
        cpu_cores: 2,
        memory_bytes: (128 << 20) + 1,
        kernel: None,
        initrd: None,
        kernel_args: String::new(),
        disks: Vec::new(),
        limits: Limits::default(),
        link: Link::None,
        address: None,
        mac: "52:54:00:01:02:03".to_owned(),
        sockets: Sockets::in_folder(&PathBuf::from("/d/run/a")),
        console_log: "/d/i/a/console.log".into(),
    }
}

pub(super) fn words(plan: &Plan) -> Vec<String> {
    plan.arguments().into_iter().map(|word| word.into_string().unwrap()).collect()
}

#[test]
fn a_vm_with_a_disk_and_a_cable_is_this_command() {
    let mut plan = plan(Kind::Vm);
    plan.disks = vec![DiskPlan {
        overlay: "/d/i/a/disk0.qcow2".into(),
        base: Some(("/d/images/x".into(), "qcow2".to_owned())),
        serial: "root".to_owned(),
    }];
    plan.limits.io_write_bps = 8 << 20;
    plan.link = Link::Tap("nv01234567890".to_owned());
    let expected = [
        "-no-user-config",
        "-nodefaults",
        "-no-shutdown",
        "-display",
        "none",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-name",
        "neuro-0badcafe-a",
        "-machine",
        "q35,graphics=off",
        "-accel",
        "tcg,thread=multi,tb-size=64",
        "-cpu",
        "max",
        "-smp",
        "cpus=2",
        "-m",
        "size=129M",
        "-rtc",
        "base=utc",
        "-chardev",
        "socket,id=monitor,server=on,wait=off,path=/d/run/a/qmp.sock",
        "-mon",
        "chardev=monitor,mode=control",
        "-chardev",
        "socket,id=rescue,server=on,wait=off,path=/d/run/a/rescue.sock",
        "-mon",
        "chardev=rescue,mode=control",
        "-chardev",
        "socket,id=console,server=on,wait=off,logappend=on,path=/d/run/a/console.sock,logfile=/d/i/a/console.log",
        "-serial",
        "chardev:console",
        "-netdev",
        "tap,id=network,ifname=nv01234567890,script=no,downscript=no,vhost=off",
        "-object",
        r#"{"qom-type":"rng-random","id":"entropy","filename":"/dev/urandom"}"#,
        "-device",
        r#"{"driver":"virtio-rng-pci","rng":"entropy"}"#,
        "-device",
        r#"{"driver":"virtio-balloon-pci","id":"balloon"}"#,
        "-device",
        r#"{"driver":"pvpanic"}"#,
        "-object",
        r#"{"qom-type":"throttle-group","id":"limits","limits":{"bps-read":0,"bps-write":8388608}}"#,
        "-blockdev",
        r#"{"driver":"qcow2","node-name":"image0","discard":"unmap","file":{"driver":"file","filename":"/d/i/a/disk0.qcow2","discard":"unmap"},"backing":{"driver":"qcow2","read-only":true,"file":{"driver":"file","filename":"/d/images/x"},"backing":null}}"#,
        "-blockdev",
        r#"{"driver":"throttle","node-name":"disk0","throttle-group":"limits","file":"image0"}"#,
        "-device",
        r#"{"driver":"virtio-blk-pci","id":"block0","drive":"disk0","serial":"root","bootindex":1}"#,
        "-device",
        r#"{"driver":"virtio-net-pci","id":"nic","netdev":"network","mac":"52:54:00:01:02:03"}"#,
    ];
    assert_eq!(words(&plan), expected);
}

#[test]
fn a_microvm_under_emulation_is_told_its_clock_and_one_on_a_processor_is_not() {
    let mut plan = plan(Kind::MicroVm);
    plan.kernel = Some("/d/images/k".into());
    plan.kernel_args = "quiet  init=/x".to_owned();
    plan.address = Some(([10, 213, 0, 2].into(), 30));
    let line = |plan: &Plan| {
        let words = words(plan);
        words[words.iter().position(|word| word == "-append").unwrap() + 1].clone()
    };
    let ip = "ip=10.213.0.2:::255.255.255.252::eth0:off";
    assert_eq!(line(&plan), format!("console=ttyS0 tsc_early_khz=1000000 {ip} quiet init=/x"));
    plan.accelerator = Accelerator::Kvm;
    assert_eq!(line(&plan), format!("console=ttyS0 {ip} quiet init=/x"));
    let all = words(&plan).join(" ");
    assert!(
        all.contains("-accel kvm -cpu host") && all.contains("virtio-rng-device") && !all.contains("-pci")
    );
}

#[test]
fn addresses_of_devices_are_local_and_stay() {
    let id = "a".parse().unwrap();
    assert!(mac(&id).starts_with("52:54:00:") && mac(&id).len() == 17 && mac(&id) == mac(&id));
}
