//! The command line of a machine, and what a request can make of it: nothing.

use std::path::PathBuf;

use proptest::prelude::*;

use super::spec;
use crate::agent::driver::qemu::check::check;
use crate::agent::driver::qemu::plan::{Accelerator, DiskPlan, Link, Plan, Sockets, mac};
use crate::agent::options::Network;
use crate::agent::settings::QemuSettings;
use crate::agent::spec::{Disk, Kind, Limits, Mount};

fn plan(kind: Kind) -> Plan {
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

fn words(plan: &Plan) -> Vec<String> {
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

proptest! {
    /// The number of words and every option's name are the same, whatever a request says.
    #[test]
    fn what_a_request_names_never_becomes_an_option(text in "[ -~]{0,40}", path in "[a-z,=:\"{} ]{1,30}") {
        let mut hostile = plan(Kind::Vm);
        let mut tame = plan(Kind::Vm);
        for (plan, text, path) in [(&mut hostile, text.as_str(), path.as_str()), (&mut tame, "x", "x")] {
            plan.kernel = Some(PathBuf::from(format!("/d/{path}")));
            plan.kernel_args = text.to_owned();
            plan.sockets = Sockets::in_folder(&PathBuf::from(format!("/d/{path}")));
            plan.disks = vec![DiskPlan {
                overlay: format!("/d/{path}").into(),
                base: Some((format!("/d/{path}").into(), "raw".to_owned())),
                serial: text.to_owned(),
            }];
        }
        let (hostile, tame) = (words(&hostile), words(&tame));
        prop_assert_eq!(hostile.len(), tame.len());
        for (number, (one, other)) in hostile.iter().zip(&tame).enumerate() {
            prop_assert_eq!(one.starts_with('-'), other.starts_with('-'), "word {}", number);
            if other.starts_with('-') {
                prop_assert_eq!(one, other);
            } else if other.starts_with('{') {
                let [one, other]: [serde_json::Value; 2] =
                    [one, other].map(|word| serde_json::from_str(word).unwrap());
                let keys = |value: &serde_json::Value| {
                    value.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
                };
                prop_assert_eq!(keys(&one), keys(&other));
                prop_assert_eq!(&one["driver"], &other["driver"]);
            } else if other.starts_with("socket,") {
                // Doubled commas are none: what is left are as many options as were meant.
                prop_assert_eq!(one.replace(",,", "").matches(',').count(), other.matches(',').count());
            }
        }
    }
}

#[test]
fn what_a_machine_cannot_do_is_refused_by_name() {
    let settings = QemuSettings::default();
    let refused = |kind: Kind, change: &dyn Fn(&mut crate::agent::spec::Spec)| {
        let mut wished = spec(kind, "");
        change(&mut wished);
        check(kind, &settings, &wished).map_err(|error| error.to_string())
    };
    assert_eq!(refused(Kind::Vm, &|_| {}), Ok(()));
    let disk = |name: &str, size_bytes, boot| Disk { name: name.to_owned(), size_bytes, boot };
    type Change = Box<dyn Fn(&mut crate::agent::spec::Spec)>;
    let cases: [(Kind, &str, Change); 13] = [
        (Kind::MicroVm, "spec.kernel is empty", Box::new(|spec| spec.kernel = None)),
        (Kind::Vm, "spec.image is empty", Box::new(|spec| spec.kernel = None)),
        (Kind::Vm, "spec.kernel_args", Box::new(|spec| spec.kernel_args = "a\nb".to_owned())),
        (Kind::Vm, "spec.kernel_args", Box::new(|spec| spec.kernel_args = "x".repeat(4000))),
        (Kind::Vm, "spec.cpu_cores is 300", Box::new(|spec| spec.cpu_cores = 300)),
        (Kind::Vm, "no image under it", Box::new(move |spec| spec.disks = vec![disk("a", 0, true)])),
        (
            Kind::Vm,
            "a name twice",
            Box::new(move |spec| spec.disks = vec![disk("a", 1, true), disk("a", 1, false)]),
        ),
        (
            Kind::Vm,
            "more than one boot",
            Box::new(move |spec| spec.disks = vec![disk("a", 1, true), disk("b", 1, true)]),
        ),
        (
            Kind::MicroVm,
            "at most 5",
            Box::new(move |spec| {
                spec.disks = (0..6).map(|n| disk(&n.to_string(), 1, false)).collect();
            }),
        ),
        (Kind::Vm, "spec.command is for containers", Box::new(|spec| spec.command = vec!["x".to_owned()])),
        (
            Kind::Vm,
            "spec.volume_mounts",
            Box::new(|spec| {
                spec.mounts = vec![Mount { volume: "v".to_owned(), path: "/v".to_owned(), read_only: true }];
            }),
        ),
        (Kind::Vm, "spec.limits", Box::new(|spec| spec.limits.cpu_quota_us = 5)),
        (Kind::Vm, "hypervisor.io/network", Box::new(|spec| spec.options.network = Some(Network::Host))),
    ];
    for (kind, expected, change) in cases {
        let error = refused(kind, &*change).unwrap_err();
        assert!(error.contains(expected), "{error}; expected {expected}");
    }
}
