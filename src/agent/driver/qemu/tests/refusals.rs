//! What a machine cannot be asked for.

use super::spec;
use crate::agent::driver::qemu::check::check;
use crate::agent::options::Network;
use crate::agent::settings::QemuSettings;
use crate::agent::spec::{Disk, Kind, Mount, Spec};

type Change = Box<dyn Fn(&mut Spec)>;

#[test]
fn what_a_machine_cannot_do_is_refused_by_name() {
    let settings = QemuSettings::default();
    let refused = |kind: Kind, change: &dyn Fn(&mut Spec)| {
        let mut wished = spec(kind, "");
        change(&mut wished);
        check(kind, &settings, &wished).map_err(|error| error.to_string())
    };
    assert_eq!(refused(Kind::Vm, &|_| {}), Ok(()));
    let disk = |name: &str, size_bytes, boot| Disk { name: name.to_owned(), size_bytes, boot };
    let cases: [(Kind, &str, Change); 12] = [
        (Kind::MicroVm, "spec.kernel is empty", Box::new(|spec| spec.kernel = None)),
        (Kind::Vm, "spec.image is empty", Box::new(|spec| spec.kernel = None)),
        (Kind::Vm, "spec.kernel_args", Box::new(|spec| spec.kernel_args = "a\nb".to_owned())),
        (Kind::Vm, "spec.kernel_args", Box::new(|spec| spec.kernel_args = "x".repeat(4000))),
        (Kind::Vm, "spec.cpu_cores is 300", Box::new(|spec| spec.cpu_cores = 300)),
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
