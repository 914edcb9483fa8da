//! What a file or folder is, where nobody says: by its first bytes, and an archive by what lies in its top folder.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use flate2::read::MultiGzDecoder;
use tar::Archive;

use super::archive::plain;
use super::file::{is_kernel, is_qcow2};
use super::store::What;
use crate::agent::error::AgentError;

/// Files of which an OCI layout, or what `docker save` writes, has at least one.
const OF_AN_IMAGE: [&str; 3] = ["index.json", "manifest.json", "oci-layout"];

/// Bytes that are looked at.
const START: u64 = 1024;

/// Looks at what is to be imported.
///
/// # Errors
/// `Invalid` when it may be several things or none; what the disk says.
pub fn detect(path: &Path) -> Result<What, AgentError> {
    let failed = |error: std::io::Error| AgentError::internal(format!("reading {}", path.display()), error);
    if path.is_dir() {
        let image = OF_AN_IMAGE.iter().any(|name| path.join(name).is_file());
        return Ok(if image { What::Oci(None) } else { What::Rootfs });
    }
    let start = start(File::open(path).map_err(failed)?).map_err(failed)?;
    if is_qcow2(&start) {
        return Ok(What::Disk { raw: false });
    }
    if is_kernel(&start) {
        return Ok(What::Kernel);
    }
    let inside = if start.starts_with(b"\x1f\x8b") {
        self::start(MultiGzDecoder::new(File::open(path).map_err(failed)?)).map_err(failed)?
    } else {
        start
    };
    if inside.starts_with(b"07070") {
        return Ok(What::Initrd);
    }
    if is_tar(&inside) {
        let shown = path.display().to_string();
        let archive = plain(File::open(path).map_err(failed)?, &shown)?;
        return Ok(if holds_an_image(archive).map_err(failed)? { What::Oci(None) } else { What::Rootfs });
    }
    let at = |place: usize, what: &[u8]| inside.get(place..).is_some_and(|rest| rest.starts_with(what));
    if at(510, b"\x55\xaa") || at(512, b"EFI PART") {
        return Ok(What::Disk { raw: true });
    }
    let problem = "is nothing that can be told by its first bytes; expected to be told its format";
    Err(AgentError::invalid(path.display().to_string(), problem))
}

fn start(file: impl Read) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(START).read_to_end(&mut start)?;
    Ok(start)
}

/// The mark of every archive since 1988, or the checksum of an older one.
fn is_tar(start: &[u8]) -> bool {
    let Some(header) = start.get(..512) else { return false };
    if header.get(257..262) == Some(b"ustar") {
        return true;
    }
    let Some(field) = header.get(148..156) else { return false };
    let text = String::from_utf8_lossy(field);
    let told = u32::from_str_radix(text.trim_matches([' ', '\0']), 8);
    // The field itself counts as blanks.
    let sum = header.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let own = field.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    told.is_ok_and(|told| told == sum - own + 8 * u32::from(b' '))
}

fn holds_an_image(archive: impl Read) -> std::io::Result<bool> {
    for entry in Archive::new(archive).entries()? {
        let entry = entry?;
        let path = entry.path()?;
        let mut parts = path.components().filter(|part| *part != Component::CurDir);
        let (first, second) = (parts.next(), parts.next());
        if let (Some(Component::Normal(name)), None) = (first, second)
            && OF_AN_IMAGE.iter().any(|known| name == *known)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn archive(names: &[&str]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            archive.append_data(&mut header, name, &b"abc"[..]).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn everything_that_can_be_imported_is_known_by_its_looks() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("x");
        let of = |bytes: &[u8]| {
            fs::write(&at, bytes).unwrap();
            detect(&at)
        };
        let image = archive(&["blobs/sha256/1", "./index.json"]);
        let root = archive(&["bin/sh", "etc/index.json"]);
        let mut kernel = vec![0; 1024];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        let mut old = root.clone();
        old[257..265].fill(0);
        let sum: u32 = old[..512].iter().map(|byte| u32::from(*byte)).sum();
        let own: u32 = old[148..156].iter().map(|byte| u32::from(*byte)).sum();
        old[148..156].copy_from_slice(format!("{:06o}\0 ", sum - own + 256).as_bytes());
        let mut disk = vec![0; 1024];
        disk[510..512].copy_from_slice(b"\x55\xaa");
        let cases: [(&str, Vec<u8>, What); 11] = [
            ("image", image.clone(), What::Oci(None)),
            ("packed image", gzip(&image), What::Oci(None)),
            ("saved", archive(&["manifest.json"]), What::Oci(None)),
            ("root", root.clone(), What::Rootfs),
            ("packed root", gzip(&root), What::Rootfs),
            ("root of long ago", old, What::Rootfs),
            ("cpio", b"070701000".to_vec(), What::Initrd),
            ("packed cpio", gzip(b"070701000"), What::Initrd),
            ("kernel", kernel, What::Kernel),
            ("qcow2", b"QFI\xfb\0\0\0\x03".to_vec(), What::Disk { raw: false }),
            ("disk with partitions", disk, What::Disk { raw: true }),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(of(&bytes).unwrap(), expected, "{name}");
        }
        for nothing in [&b""[..], b"hello", &[0; 1024], &gzip(b"hello")] {
            assert!(matches!(of(nothing), Err(AgentError::Invalid { .. })), "{nothing:?}");
        }
        assert_eq!(detect(folder.path()).unwrap(), What::Rootfs);
        fs::write(folder.path().join("oci-layout"), "{}").unwrap();
        assert_eq!(detect(folder.path()).unwrap(), What::Oci(None));
    }
}
