//! Kernels, disks, cores and memory.

use super::*;
use crate::agent::spec::Disk;
use crate::proto::hypervisor::v1::DiskSpec;

fn disk(name: &str, size_bytes: i64, boot: bool) -> DiskSpec {
    DiskSpec { name: name.to_owned(), size_bytes, boot, ..DiskSpec::default() }
}

fn disks(disks: Vec<DiskSpec>) -> Change {
    inside(move |spec| spec.disks.clone_from(&disks))
}

fn sized(size_bytes: i64) -> Change {
    disks(vec![disk("", size_bytes, false)])
}

fn memory(bytes: i64) -> Change {
    inside(move |spec| spec.memory_bytes = bytes)
}

fn cores(cores: i32) -> Change {
    inside(move |spec| spec.cpu_cores = cores)
}

#[test]
fn every_size_out_of_range_is_named() {
    let typed = |kind: &str| DiskSpec { r#type: kind.to_owned(), ..DiskSpec::default() };
    for kind in [InstanceType::Vm, InstanceType::Container, InstanceType::Microvm] {
        refused(
            kind,
            vec![
                ("spec.cpu_cores", "is -1; expected 0 to 1024", cores(-1)),
                ("spec.cpu_cores", "is 1025; expected 0 to 1024", cores(1025)),
                ("spec.cpu_cores", "expected 0 to 1024", cores(i32::MIN)),
                ("spec.cpu_cores", "expected 0 to 1024", cores(i32::MAX)),
                ("spec.memory_bytes", "is -1; expected 0 or more", memory(-1)),
                ("spec.memory_bytes", "expected 0 or more", memory(i64::MIN)),
                (
                    "spec.memory_bytes",
                    "is 4194303; expected 0 or 4194304 to 70368744177664",
                    memory((4 << 20) - 1),
                ),
                ("spec.memory_bytes", "expected 0 or", memory((1 << 46) + 1)),
                ("spec.memory_bytes", "expected 0 or", memory(i64::MAX)),
                ("spec.disks", "has 17 entries; expected at most 16", disks(vec![DiskSpec::default(); 17])),
                ("spec.disks[0].size_bytes", "is -1; expected 0 or more", sized(-1)),
                ("spec.disks[0].size_bytes", "expected 0 or more", sized(i64::MIN)),
                ("spec.disks[0].size_bytes", "is 1; expected 0 or 1048576 to", sized(1)),
                ("spec.disks[0].size_bytes", "expected 0 or", sized((1 << 20) - 1)),
                ("spec.disks[0].size_bytes", "expected 0 or", sized((1 << 50) + 1)),
                ("spec.disks[0].size_bytes", "expected 0 or", sized(i64::MAX)),
                ("spec.disks[0].type", "is \"tape\"; expected ssd, hdd", disks(vec![typed("tape")])),
                ("spec.disks[0].type", "of 9000 bytes; expected ssd", disks(vec![typed(&"x".repeat(9000))])),
                (
                    "spec.disks[0].name",
                    "expected a letter or digit",
                    disks(vec![disk(&"x".repeat(64), 0, false)]),
                ),
                (
                    "spec.disks[1].name",
                    "as that of another",
                    disks(vec![disk("a", 0, false), disk("a", 0, false)]),
                ),
                (
                    "spec.disks[1].name",
                    "as that of another",
                    disks(vec![disk("", 0, false), disk("disk0", 0, false)]),
                ),
                ("spec.disks[1].boot", "expected one", disks(vec![disk("a", 0, true), disk("b", 0, true)])),
            ],
        );
    }
}

#[test]
fn the_smallest_the_largest_and_nothing_at_all_are_taken() {
    for kind in [InstanceType::Vm, InstanceType::Container, InstanceType::Microvm] {
        let specs = taken(
            kind,
            vec![
                whole(|_| {}),
                cores(1024),
                memory(4 << 20),
                memory(1 << 46),
                sized(0),
                sized(1 << 20),
                sized(1 << 50),
                disks((0..16).map(|_| DiskSpec::default()).collect()),
            ],
        );
        let usual = if kind == InstanceType::Container { 0 } else { 512 << 20 };
        assert_eq!((specs[0].cpu_cores, specs[0].memory_bytes, specs[1].cpu_cores), (1, usual, 1024));
        assert_eq!((specs[2].memory_bytes, specs[3].memory_bytes), (4 << 20, 1 << 46));
        assert_eq!(specs[4].disks, [Disk { name: "disk0".to_owned(), size_bytes: 0, boot: true }]);
        assert_eq!(specs[7].disks[15].name, "disk15");
    }
}

#[test]
fn the_boot_disk_comes_first_and_the_others_keep_their_order() {
    let asked = vec![disk("a", 0, false), disk("b", 0, false), disk("c", 0, true)];
    let specs = taken(InstanceType::Vm, vec![disks(asked.clone()), disks(asked[..2].to_vec())]);
    let order = |spec: &Spec| {
        let names = spec.disks.iter().map(|disk| format!("{}{}", disk.name, u8::from(disk.boot)));
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!((order(&specs[0]).as_str(), order(&specs[1]).as_str()), ("c1 a0 b0", "a1 b0"));
}

#[test]
fn kernels_and_what_goes_with_them_are_for_machines_that_start_from_one() {
    let kernel = || inside(|spec| "vmlinux".clone_into(&mut spec.kernel));
    let line = |line: String| {
        inside(move |spec| {
            "vmlinux".clone_into(&mut spec.kernel);
            spec.kernel_args.clone_from(&line);
        })
    };
    let alone = || inside(|spec| "quiet".clone_into(&mut spec.kernel_args));
    refused(
        InstanceType::Container,
        vec![
            ("spec.kernel", "is for VMs and microVMs", kernel()),
            ("spec.initrd", "is for VMs and microVMs", inside(|spec| "i".clone_into(&mut spec.initrd))),
            ("spec.kernel_args", "is for VMs and microVMs", alone()),
        ],
    );
    refused(
        InstanceType::Vm,
        vec![
            (
                "spec.image",
                "there is no spec.kernel; expected one of them",
                inside(|spec| spec.image.clear()),
            ),
            ("spec.kernel_args", "without spec.kernel", alone()),
            ("spec.kernel_args", "expected at most 1536", line("x".repeat(1537))),
            ("spec.kernel_args", "control character at 5", line("quiet\ninit=/bin/sh".to_owned())),
            ("spec.kernel_args", "control character at 0", line("\0".to_owned())),
        ],
    );
    refused(
        InstanceType::Microvm,
        vec![(
            "spec.kernel",
            "have no qemu.kernel; expected the name",
            whole(|request| {
                let spec = request.spec.as_mut().unwrap();
                (spec.kernel, spec.image) = (String::new(), String::new());
            }),
        )],
    );
    let specs = taken(
        InstanceType::Vm,
        vec![
            line("x".repeat(1536)),
            inside(|spec| {
                "vmlinux".clone_into(&mut spec.kernel);
                spec.image.clear();
            }),
        ],
    );
    assert_eq!((specs[1].kernel.as_deref(), specs[1].image.as_str()), (Some("vmlinux"), ""));
}
