//! Who runs inside: numbers, or names that the image's own files explain.

use std::io::Read as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

use crate::agent::error::AgentError;

/// User and group.
pub(super) type User = (u32, u32);

/// Reads `UID[:GID]` or names. A user without a group has the one that the image's /etc/passwd gives it.
pub(super) fn resolve(text: &str, root: &Path) -> Result<User, AgentError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let unknown = |what: &str, name: &str| {
        AgentError::Precondition(format!(
            "{what} {name:?}: no number, and the image's /etc/{what} has no such name"
        ))
    };
    let passwd = inside(root, "etc/passwd");
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(
        |fields| matches!(fields.as_slice(), [name, _, number, ..] if *name == user || *number == user),
    );
    let field = |place: usize| entry.as_ref()?.get(place)?.parse::<u32>().ok();
    let uid = match user {
        "" => 0,
        _ => user.parse().ok().or_else(|| field(2)).ok_or_else(|| unknown("passwd", user))?,
    };
    let gid = match group {
        None => field(3).unwrap_or_default(),
        Some(group) => group
            .parse()
            .ok()
            .or_else(|| {
                inside(root, "etc/group").lines().find_map(|line| {
                    let fields: Vec<&str> = line.split(':').collect();
                    (fields.first() == Some(&group)).then(|| fields.get(2)?.parse().ok())?
                })
            })
            .ok_or_else(|| unknown("group", group))?,
    };
    Ok((uid, gid))
}

/// A small file of the image. Links in it lead nowhere but into the image.
fn inside(root: &Path, path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = open(root, flags | OFlags::DIRECTORY, Mode::empty()).and_then(|root| {
        openat2(
            root,
            path,
            flags | OFlags::NONBLOCK,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    });
    let mut text = String::new();
    if let Ok(file) = opened {
        std::fs::File::from(file).take(1 << 20).read_to_string(&mut text).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_are_explained_by_the_image_and_links_do_not_lead_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nsim:x:1000:1001::/home:/bin/sh\n")
            .unwrap();
        fs::write(root.path().join("etc/group"), "video:x:44:\n").unwrap();
        let of = |text| resolve(text, root.path());
        assert_eq!(of("").unwrap(), (0, 0));
        assert_eq!(of("sim").unwrap(), (1000, 1001));
        assert_eq!(of("1000").unwrap(), (1000, 1001));
        assert_eq!(of("7").unwrap(), (7, 0));
        assert_eq!(of("sim:video").unwrap(), (1000, 44));
        assert_eq!(of("5:6").unwrap(), (5, 6));
        assert!(matches!(of("nobody"), Err(AgentError::Precondition(text)) if text.contains("nobody")));
        assert!(of("0:nogroup").is_err());
        fs::remove_file(root.path().join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("/../../../etc/passwd", root.path().join("etc/passwd")).unwrap();
        assert!(of("root").is_err(), "the host's file was read");
    }
}
