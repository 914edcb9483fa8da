//! Disks of a VM: an overlay of its own on each, over a file of the store or over nothing.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::plan::DiskPlan;
use super::qcow2::Head;
use crate::agent::error::AgentError;
use crate::agent::image::FileImage;
use crate::agent::spec::Disk;

/// Of a disk that has neither a size nor an image under it: callers that count in GiB say 0 for less than one.
pub const USUAL_DISK_BYTES: u64 = 1 << 30;
/// Bytes of a serial number that virtio has room for.
const SERIAL: usize = 20;

/// The disks a spec asks for. The image is under the one it is started from, or under the first; without disks it is the
/// only one.
#[must_use]
pub fn plan(folder: &Path, image: Option<&FileImage>, disks: &[Disk]) -> Vec<(DiskPlan, u64)> {
    let implied = [Disk { name: "root".to_owned(), size_bytes: 0, boot: true }];
    let disks = if disks.is_empty() && image.is_some() { &implied } else { disks };
    let first = disks.iter().position(|disk| disk.boot).unwrap_or(0);
    let mut order: Vec<usize> = (0..disks.len()).collect();
    order.sort_by_key(|number| (*number != first, *number));
    order
        .into_iter()
        .filter_map(|number| disks.get(number).map(|disk| (number, disk)))
        .map(|(number, disk)| {
            let base = image.filter(|_| number == first);
            let drawn = DiskPlan {
                overlay: folder.join(format!("disk{number}.qcow2")),
                base: base.map(|image| (image.path.clone(), image.format.clone())),
                serial: disk.name.chars().filter(char::is_ascii_graphic).take(SERIAL).collect(),
            };
            let size_bytes = match (disk.size_bytes, base) {
                (0, None) => USUAL_DISK_BYTES,
                (asked, base) => asked.max(base.map_or(0, |image| image.size_bytes)),
            };
            (drawn, size_bytes)
        })
        .collect()
}

/// Looks whether a file of the store is what it is said to be and names no other.
///
/// # Errors
/// `Precondition`, naming the image.
pub fn inspect(image: &FileImage) -> Result<(), AgentError> {
    let refuse = |problem: &str| AgentError::Precondition(format!("image {:?}: {problem}", image.name));
    match image.format.as_str() {
        "raw" => Ok(()),
        "qcow2" => match Head::read(&image.path) {
            Ok(head) => head.trouble().map_or(Ok(()), |trouble| Err(refuse(trouble))),
            Err(error) => Err(refuse(&error.to_string())),
        },
        other => Err(refuse(&format!("is a {other} file; expected a disk, qcow2 or raw"))),
    }
}

/// Makes the overlay unless it is there. One that was begun and not finished bears another name.
///
/// # Errors
/// `Invalid` for a disk without a size, `Internal` with the words of qemu-img.
pub async fn make(img: &str, disk: &DiskPlan, size_bytes: u64) -> Result<(), AgentError> {
    if Head::read(&disk.overlay).is_ok() {
        return Ok(());
    }
    if size_bytes == 0 {
        return Err(AgentError::invalid(
            "spec.disks.size_bytes",
            format!("is 0 for disk {:?}, which has no image; expected its size", disk.serial),
        ));
    }
    let draft = disk.overlay.with_extension("draft");
    let mut command = Command::new(img);
    command.args(["create", "-q", "-f", "qcow2"]);
    if let Some((base, format)) = &disk.base {
        // Its size is known: the file below is not opened.
        command.arg("-u").arg("-F").arg(format).arg("-b").arg(base);
    }
    command.arg(&draft).arg(size_bytes.div_ceil(512).saturating_mul(512).to_string());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let done = command.output().await.map_err(|error| AgentError::internal(img, error))?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        return Err(AgentError::internal(format!("{img} create"), words.trim()));
    }
    tokio::fs::rename(&draft, &disk.overlay)
        .await
        .map_err(|error| AgentError::internal(disk.overlay.display(), error))
}

/// Bytes that the overlays take of the host's disk.
#[must_use]
pub fn used_bytes(folder: &Path) -> u64 {
    overlays(folder)
        .iter()
        .filter_map(|path| path.metadata().ok())
        .map(|data| std::os::unix::fs::MetadataExt::blocks(&data).saturating_mul(512))
        .sum()
}

/// The overlays in a folder, drafts included.
#[must_use]
pub fn overlays(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("disk") && (name.ends_with(".qcow2") || name.ends_with(".draft"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_a_size_has_its_images_or_the_usual_one() {
        let image = FileImage {
            name: "x".to_owned(),
            path: "/images/x".into(),
            format: "qcow2".to_owned(),
            digest: "sha256:0".to_owned(),
            size_bytes: 7 << 30,
        };
        let disk = |size_bytes, boot| Disk { name: "d".to_owned(), size_bytes, boot };
        let sizes = |image: Option<&FileImage>, disks: &[Disk]| -> Vec<u64> {
            plan(Path::new("/i"), image, disks).into_iter().map(|(_, size)| size).collect()
        };
        assert_eq!(sizes(Some(&image), &[]), [7 << 30]);
        assert_eq!(sizes(Some(&image), &[disk(0, false), disk(0, true)]), [7 << 30, USUAL_DISK_BYTES]);
        assert_eq!(sizes(Some(&image), &[disk(9 << 30, true)]), [9 << 30]);
        assert_eq!(sizes(None, &[disk(0, false), disk(5 << 20, false)]), [USUAL_DISK_BYTES, 5 << 20]);
    }
}
