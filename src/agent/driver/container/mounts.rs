//! Mounts of this machine, and taking them away.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

/// Something is mounted at a folder: it lies on another device than the folder it is in.
pub(super) fn is_mounted(folder: &Path) -> bool {
    let device = |path: &Path| fs::symlink_metadata(path).map(|found| found.dev()).ok();
    match (device(folder), folder.parent().and_then(device)) {
        (Some(here), Some(above)) => here != above,
        _ => false,
    }
}

/// Takes away whatever is mounted at a folder, one above the other; nothing there is no error. What somebody still uses goes
/// out of sight now and away when it is let go of.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    for _ in 0..16 {
        let outcome = match unmount(folder, UnmountFlags::NOFOLLOW) {
            Err(rustix::io::Errno::BUSY) => unmount(folder, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH),
            other => other,
        };
        match outcome {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => return Ok(()),
            Err(error) => {
                return Err(io::Error::new(
                    io::Error::from(error).kind(),
                    format!("unmounting {}: {error}", folder.display()),
                ));
            }
        }
    }
    Ok(())
}

/// Where something is mounted below a folder, the innermost first.
pub(super) fn below(folder: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = points(&text).filter(|point| point.starts_with(folder)).collect();
    found.reverse();
    found
}

fn points(mountinfo: &str) -> impl Iterator<Item = PathBuf> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(|text| PathBuf::from(plain(text)))
}

/// Spaces and the like are written as `\040` there.
fn plain(text: &str) -> String {
    let mut pieces = text.split('\\');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(piece.get(3..).unwrap_or_default());
            }
            None => out.push_str(piece),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_they_are_named() {
        let text =
            "98 27 0:60 / /data/a\\040b/rootfs rw - overlay neuro rw\n27 1 254:0 / / rw - ext4 /dev/vda rw";
        assert_eq!(points(text).collect::<Vec<_>>(), [PathBuf::from("/data/a b/rootfs"), PathBuf::from("/")]);
    }

    #[test]
    fn what_is_mounted_is_told_from_what_is_not() {
        assert!(
            is_mounted(Path::new("/proc")) && !is_mounted(Path::new("/etc")) && !is_mounted(Path::new("/no"))
        );
        let folder = tempfile::tempdir().unwrap();
        assert!(below(folder.path()).is_empty());
    }
}
