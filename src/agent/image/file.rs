//! Images that are one file: disks, kernels, initrds. What they are is read from their first bytes, and a disk that would
//! make QEMU open other files of the host is refused.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::index::ImageKind;
use crate::agent::error::AgentError;

/// First bytes of a qcow2 disk.
const QCOW2: &[u8] = b"QFI\xfb";

/// Feature bits of a qcow2 disk: its data is in another file.
const EXTERNAL_DATA: u64 = 1 << 2;

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    /// `qcow2`, `raw`, `kernel`, `initrd`.
    pub(super) format: &'static str,
    /// As a guest sees it.
    pub(super) size_bytes: u64,
}

/// Looks at a file that is to be an image of this kind.
pub(super) fn about(path: &Path, kind: ImageKind, raw: bool) -> Result<About, AgentError> {
    let failed = |error: std::io::Error| AgentError::internal(format!("reading {}", path.display()), error);
    let mut file = File::open(path).map_err(failed)?;
    let size_bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let mut start = Vec::new();
    file.take(1024).read_to_end(&mut start).map_err(failed)?;
    let refused = |problem: String| AgentError::invalid(path.display().to_string(), problem);
    match kind {
        ImageKind::Disk if raw => Ok(About { format: "raw", size_bytes }),
        ImageKind::Disk if is_qcow2(&start) => {
            let size_bytes = qcow2(&start).map_err(refused)?;
            Ok(About { format: "qcow2", size_bytes })
        }
        ImageKind::Disk => Err(refused("is no qcow2 disk; say that it is a raw one, if it is".to_owned())),
        ImageKind::Kernel if is_kernel(&start) => Ok(About { format: "kernel", size_bytes }),
        ImageKind::Kernel => {
            Err(refused("is no kernel: neither a bzImage nor an ELF file nor an arm64 Image".to_owned()))
        }
        ImageKind::Initrd if is_initrd(&start) => Ok(About { format: "initrd", size_bytes }),
        ImageKind::Initrd => {
            Err(refused("is no initrd: neither cpio nor packed by a known program".to_owned()))
        }
        ImageKind::Root => Err(refused("is one file; expected an archive or a folder".to_owned())),
    }
}

/// The size of the disk, when it stands alone.
fn qcow2(start: &[u8]) -> Result<u64, String> {
    let short = || "is cut off in its header".to_owned();
    let word = |at: usize| -> Result<u32, String> {
        let bytes = start.get(at..at.saturating_add(4)).ok_or_else(short)?;
        Ok(u32::from_be_bytes(bytes.try_into().map_err(|_| short())?))
    };
    let long =
        |at: usize| Ok::<u64, String>((u64::from(word(at)?) << 32) | u64::from(word(at.saturating_add(4))?));
    let version = word(4)?;
    if !(2..=3).contains(&version) {
        return Err(format!("is a qcow2 disk of version {version}; expected 2 or 3"));
    }
    if long(8)? != 0 {
        return Err("is a qcow2 disk over another file; convert it to one that stands alone".to_owned());
    }
    if word(32)? != 0 {
        return Err("is an encrypted qcow2 disk".to_owned());
    }
    if version == 3 && long(72)? & EXTERNAL_DATA != 0 {
        return Err(
            "is a qcow2 disk whose data is in another file; convert it to one that stands alone".to_owned()
        );
    }
    long(24)
}

pub(super) fn is_qcow2(start: &[u8]) -> bool {
    start.starts_with(QCOW2)
}

pub(super) fn is_kernel(start: &[u8]) -> bool {
    let at = |place: usize, what: &[u8]| start.get(place..).is_some_and(|rest| rest.starts_with(what));
    at(0x202, b"HdrS") || at(0, b"\x7fELF") || at(56, b"ARM\x64")
}

fn is_initrd(start: &[u8]) -> bool {
    const KNOWN: [&[u8]; 9] = [
        b"070701",
        b"070702",
        b"\x1f\x8b",
        b"\xfd7zXZ",
        b"\x28\xb5\x2f\xfd",
        b"\x02\x21\x4c\x18",
        b"\x04\x22\x4d\x18",
        b"BZh",
        b"\x5d\x00\x00",
    ];
    KNOWN.iter().any(|known| start.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(change: impl Fn(&mut Vec<u8>)) -> Result<About, AgentError> {
        let mut bytes = vec![0_u8; 512];
        bytes[..4].copy_from_slice(QCOW2);
        bytes[7] = 3;
        bytes[24..32].copy_from_slice(&(5_u64 << 30).to_be_bytes());
        change(&mut bytes);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        about(file.path(), ImageKind::Disk, false)
    }

    #[test]
    fn a_disk_that_stands_alone_is_taken_with_its_size() {
        assert_eq!(disk(|_| {}).unwrap(), About { format: "qcow2", size_bytes: 5 << 30 });
    }

    #[test]
    fn a_disk_that_would_open_other_files_is_refused() {
        for (at, value, said) in [
            (15, 1, "over another file"),
            (35, 1, "encrypted"),
            (79, 4, "in another file"),
            (7, 9, "version 9"),
        ] {
            let error = disk(|bytes| bytes[at] = value).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(disk(|bytes| bytes.truncate(20)).unwrap_err().to_string().contains("cut off"));
    }

    #[test]
    fn kernels_and_initrds_are_known_by_their_first_bytes() {
        let mut kernel = vec![0_u8; 0x210];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        assert!(
            is_kernel(&kernel) && is_kernel(b"\x7fELF\x02") && !is_kernel(b"#!/bin/sh") && !is_kernel(b"")
        );
        assert!(
            is_initrd(b"070701000") && is_initrd(b"\x1f\x8b\x08") && !is_initrd(b"HdrS") && !is_initrd(b"")
        );
    }
}
