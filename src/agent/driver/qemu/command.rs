//! The command line of a QEMU.
//!
//! Whatever came from a request stands either in a word of its own (the kernel's arguments) or in JSON, where no comma and
//! no equals sign begins an option. What stands between commas are words of this program, numbers, and paths with their
//! commas doubled.

use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use serde_json::{Value, json};

use super::plan::{Accelerator, DiskPlan, Link, Plan};
use crate::agent::spec::Kind;

/// A path among words that commas separate.
fn doubled(path: &Path) -> OsString {
    let mut bytes = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        bytes.push(*byte);
        if *byte == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}

/// Words, with paths among them.
fn joined(parts: &[&OsStr]) -> OsString {
    parts.iter().fold(OsString::new(), |mut whole, part| {
        whole.push(part);
        whole
    })
}

/// Options of a QEMU that has nothing but what it is told to have.
const BARE: [&str; 5] = ["-no-user-config", "-nodefaults", "-no-shutdown", "-display", "none"];
/// What a QEMU may not do.
pub(super) const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
const MIB: u64 = 1 << 20;

impl Plan {
    /// QEMU's words, without its own name.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = BARE.iter().map(OsString::from).collect();
        words.extend(self.machine());
        words.extend(self.lines());
        let mut word = |option: &str, value: OsString| words.extend([OsString::from(option), value]);
        if let Some(kernel) = &self.kernel {
            word("-kernel", kernel.into());
            if let Some(initrd) = &self.initrd {
                word("-initrd", initrd.into());
            }
            word("-append", self.kernel_line().into());
        }
        let netdev = match &self.link {
            Link::None => None,
            Link::User => Some("user,id=network,restrict=on".to_owned()),
            Link::Tap(device) => {
                Some(format!("tap,id=network,ifname={device},script=no,downscript=no,vhost=off"))
            }
        };
        if let Some(netdev) = netdev {
            word("-netdev", netdev.into());
        }
        for (option, object) in self.objects() {
            word(option, object.to_string().into());
        }
        words
    }

    /// Its board, processor and memory.
    fn machine(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        let mut word = |option: &str, value: OsString| words.extend([OsString::from(option), value]);
        let memory = format!("size={}M", self.memory_bytes.div_ceil(MIB).max(1));
        let microvm = self.kind == Kind::MicroVm;
        word("-sandbox", SANDBOX.into());
        word("-name", self.name.clone().into());
        // Firmware of a VM speaks on the serial line, too.
        let machine = if microvm { "microvm,acpi=on,pit=off,pic=off,rtc=on" } else { "q35,graphics=off" };
        word("-machine", machine.into());
        let (accelerator, processor) = match self.accelerator {
            Accelerator::Kvm => ("kvm", "host"),
            Accelerator::Tcg => ("tcg,thread=multi,tb-size=64", "max"),
        };
        word("-accel", accelerator.into());
        word("-cpu", processor.into());
        word("-smp", format!("cpus={}", self.cpu_cores.max(1)).into());
        word("-m", memory.into());
        word("-rtc", "base=utc".into());
        words
    }

    /// Its monitors and its serial line.
    fn lines(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        let mut word = |option: &str, value: OsString| words.extend([OsString::from(option), value]);
        for (id, socket) in [("monitor", &self.sockets.monitor), ("rescue", &self.sockets.rescue)] {
            let parts = [OsStr::new("socket,id="), id.as_ref(), ",server=on,wait=off,path=".as_ref()];
            word("-chardev", joined(&[&joined(&parts), &doubled(socket)]));
            word("-mon", format!("chardev={id},mode=control").into());
        }
        let console = [
            OsStr::new("socket,id=console,server=on,wait=off,logappend=on,path="),
            &doubled(&self.sockets.console),
            ",logfile=".as_ref(),
            &doubled(&self.console_log),
        ];
        word("-chardev", joined(&console));
        word("-serial", "chardev:console".into());
        words
    }

    /// The agent's own arguments first: of two, Linux takes the later one.
    fn kernel_line(&self) -> String {
        let mut line = "console=ttyS0".to_owned();
        if self.kind == Kind::MicroVm && self.accelerator == Accelerator::Tcg {
            // Without a timer to calibrate against, the kernel must be told how fast its counter is, or it never starts.
            // QEMU's is the host's own: where that is not 1 GHz, the guest's time runs so many times faster, unless
            // the request's arguments say it again, and rightly.
            line.push_str(" tsc_early_khz=1000000");
        }
        if let Some((address, prefix)) = self.address {
            // No gateway: a cable leads to the host and no further.
            let mask = Ipv4Addr::from(u32::MAX.checked_shl(u32::from(32 - prefix.min(32))).unwrap_or(0));
            line.push_str(&format!(" ip={address}:::{mask}::eth0:off"));
        }
        for word in self.kernel_args.split_ascii_whitespace() {
            line.push(' ');
            line.push_str(word);
        }
        line
    }

    /// Everything that is said in JSON.
    fn objects(&self) -> Vec<(&'static str, Value)> {
        let suffix = if self.kind == Kind::MicroVm { "device" } else { "pci" };
        let device = |name: &str| format!("{name}-{suffix}");
        let mut objects = vec![
            ("-object", json!({"qom-type": "rng-random", "id": "entropy", "filename": "/dev/urandom"})),
            ("-device", json!({"driver": device("virtio-rng"), "rng": "entropy"})),
            ("-device", json!({"driver": device("virtio-balloon"), "id": "balloon"})),
            ("-device", json!({"driver": "pvpanic"})),
        ];
        let (read, write) = (self.limits.io_read_bps, self.limits.io_write_bps);
        let limited = !self.disks.is_empty() && (read, write) != (0, 0);
        if limited {
            let limits = json!({"bps-read": read, "bps-write": write});
            objects
                .push(("-object", json!({"qom-type": "throttle-group", "id": "limits", "limits": limits})));
        }
        for (number, disk) in self.disks.iter().enumerate() {
            let (node, image) = (format!("disk{number}"), format!("image{number}"));
            let mut drive = disk.drive(if limited { &image } else { &node });
            if limited {
                objects.push(("-blockdev", drive));
                drive = json!({"driver": "throttle", "node-name": node, "throttle-group": "limits", "file": image});
            }
            objects.push(("-blockdev", drive));
            let mut block = json!({
                "driver": device("virtio-blk"), "id": format!("block{number}"), "drive": node, "serial": disk.serial,
            });
            if let (Kind::Vm, Some(block)) = (self.kind, block.as_object_mut()) {
                block.insert("bootindex".to_owned(), (number + 1).into());
            }
            objects.push(("-device", block));
        }
        if self.link != Link::None {
            objects.push((
                "-device",
                json!({"driver": device("virtio-net"), "id": "nic", "netdev": "network", "mac": self.mac}),
            ));
        }
        objects
    }
}

impl DiskPlan {
    /// What lies under it is said here, so that a header of a file of the store names nothing.
    fn drive(&self, node: &str) -> Value {
        let file = |path: &Path| json!({"driver": "file", "filename": path.to_string_lossy()});
        let backing = self.base.as_ref().map(|(path, format)| {
            let mut base = json!({"driver": format, "read-only": true, "file": file(path)});
            if let (true, Some(base)) = (format == "qcow2", base.as_object_mut()) {
                base.insert("backing".to_owned(), Value::Null);
            }
            base
        });
        let mut overlay = file(&self.overlay);
        if let Some(overlay) = overlay.as_object_mut() {
            overlay.insert("discard".to_owned(), "unmap".into());
        }
        json!({
            "driver": "qcow2", "node-name": node, "discard": "unmap", "file": overlay, "backing": backing,
        })
    }
}
