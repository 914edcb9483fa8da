//! Control groups as this machine has them: version 1, version 2, or both beside each other. The runtime writes limits; what
//! has been used is read here, because no two runtimes report it alike.

mod group;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

pub use group::Group;

/// A block device, `major:minor`.
pub type DeviceNumber = (u32, u32);

/// What a group has used. What the machine does not count is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readings {
    /// Of all processors together.
    pub cpu_time_ns: u64,
    /// Periods in which the quota held it back.
    pub cpu_throttled_periods: u64,
    /// Without what could be given back.
    pub memory_used_bytes: u64,
    /// Pages of files, shared memory left out.
    pub memory_cache_bytes: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Bytes read and written, by device.
    pub disks: BTreeMap<DeviceNumber, (u64, u64)>,
}

/// Which versions hold controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Version 1 alone.
    V1,
    /// Controllers in version 1, and a version 2 tree beside them.
    Hybrid,
    /// Version 2 alone.
    V2,
}

/// Where the trees of groups are mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchy {
    controllers: BTreeMap<String, PathBuf>,
    unified: Option<PathBuf>,
    /// Trees of version 1 that control nothing, as systemd's: runtimes make groups there all the same.
    named: Vec<PathBuf>,
}

const CONTROLLERS: [&str; 8] = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"];

impl Hierarchy {
    /// Of this machine.
    ///
    /// # Errors
    /// /proc/self/mountinfo cannot be read.
    pub fn of_this_machine() -> io::Result<Self> {
        std::fs::read_to_string("/proc/self/mountinfo").map(|text| Self::parse(&text))
    }

    /// Out of a mountinfo. The first mount of a controller counts: later ones are views of containers.
    #[must_use]
    pub fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((place, kind)) = line.split_once(" - ") else { continue };
            let Some(folder) = place.split(' ').nth(4) else { continue };
            let mut kind = kind.split(' ');
            match (kind.next(), kind.nth(1)) {
                (Some("cgroup"), Some(options)) => {
                    if options.split(',').any(|option| option.starts_with("name=")) {
                        found.named.push(folder.into());
                    }
                    for option in options.split(',').filter(|option| CONTROLLERS.contains(option)) {
                        found.controllers.entry(option.to_owned()).or_insert_with(|| folder.into());
                    }
                }
                (Some("cgroup2"), _) => {
                    found.unified.get_or_insert_with(|| folder.into());
                }
                _ => {}
            }
        }
        found
    }

    /// Which versions hold controllers here.
    #[must_use]
    pub fn layout(&self) -> Layout {
        match (self.controllers.is_empty(), &self.unified) {
            (true, _) => Layout::V2,
            (false, Some(_)) => Layout::Hybrid,
            (false, None) => Layout::V1,
        }
    }

    /// The folder of a controller of version 1, or the tree of version 2.
    #[must_use]
    pub fn controller(&self, name: &str) -> Option<&PathBuf> {
        self.controllers.get(name).or(self.unified.as_ref())
    }

    /// A group, `parent/child`, that may or may not be there.
    #[must_use]
    pub fn group(&self, name: &str) -> Group {
        Group::new(self, name)
    }

    /// Every tree, each once.
    #[must_use]
    pub fn trees(&self) -> Vec<&PathBuf> {
        let mut trees: Vec<&PathBuf> =
            self.controllers.values().chain(&self.unified).chain(&self.named).collect();
        trees.sort_unstable();
        trees.dedup();
        trees
    }
}

/// `key value` lines.
fn value(text: &str, key: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, number)| number.trim().parse().ok())
        .unwrap_or_default()
}

/// `major:minor`.
fn device(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
90 31 0:38 / /else/unified rw,relatime - cgroup2 cgroup2 rw";
    const V1: &str =
        "33 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
34 24 0:30 / /sys/fs/cgroup/blkio rw,nosuid shared:10 - cgroup cgroup rw,blkio";
    const V2: &str = "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot";

    #[test]
    fn the_three_layouts_are_told_apart_and_found() {
        let [hybrid, one, two] = [HYBRID, V1, V2].map(Hierarchy::parse);
        assert_eq!([&hybrid, &one, &two].map(Hierarchy::layout), [Layout::Hybrid, Layout::V1, Layout::V2]);
        let at = |tree: &Hierarchy, name: &str| tree.controller(name).unwrap().clone();
        assert_eq!(at(&hybrid, "memory"), Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(at(&hybrid, "hugetlb"), Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(at(&one, "cpuacct"), Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(at(&two, "memory"), Path::new("/sys/fs/cgroup"));
        assert_eq!((hybrid.trees().len(), one.trees().len(), two.trees().len()), (4, 2, 1));
        let systemd = Hierarchy::parse(
            "40 31 0:37 / /s rw - cgroup cgroup rw,name=systemd\n35 24 0:30 / /u rw - cgroup2 x rw",
        );
        assert_eq!(
            (systemd.layout(), systemd.trees().len()),
            (Layout::V2, 2),
            "a tree without controllers is no version"
        );
    }

    #[test]
    fn the_machine_at_hand_has_one_of_them() {
        let here = Hierarchy::of_this_machine().unwrap();
        assert!(here.trees().iter().all(|tree| tree.is_dir()), "{here:?}");
    }
}
