//! A CDI document, in JSON or YAML.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Of the format; `0.3.0` to `1.x` are read.
    pub cdi_version: String,
    /// `vendor/class`.
    pub kind: String,
    /// What every device of it needs too.
    #[serde(default)]
    pub container_edits: Edits,
    /// Each unique in its document.
    #[serde(default)]
    pub devices: Vec<Device>,
}

/// A device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// What follows `kind=`.
    pub name: String,
    /// Free.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// What goes into the container.
    #[serde(default)]
    pub container_edits: Edits,
}

/// What goes into a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Edits {
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Files below /dev.
    pub device_nodes: Vec<DeviceNode>,
    /// Of files and folders of the host.
    pub mounts: Vec<Mount>,
    /// Programs of the host.
    pub hooks: Vec<Hook>,
    /// Groups of the first process.
    #[serde(rename = "additionalGids")]
    pub additional_gids: Vec<u32>,
}

/// A device file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceNode {
    /// Inside.
    pub path: PathBuf,
    /// On the host; `path` when it is not given.
    pub host_path: Option<PathBuf>,
    /// `c`, `b`, `p` or `u`; the host's when it is not given.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The host's when it is not given.
    pub major: Option<i64>,
    /// The host's when it is not given.
    pub minor: Option<i64>,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// Of `rwm`; all when it is not given.
    pub permissions: Option<String>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// On the host.
    pub host_path: String,
    /// Inside.
    pub container_path: String,
    /// `bind` when it is not given.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// As the runtime takes them.
    pub options: Vec<String>,
}

/// A program of the host that the runtime calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hook {
    /// `prestart`, `createRuntime`, `createContainer`, `startContainer`, `poststart`, `poststop`.
    pub hook_name: String,
    /// Absolute.
    pub path: String,
    /// With the name it is called by.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<i64>,
}

/// Longest document that is read.
const LONGEST_BYTES: u64 = 8 << 20;
const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

impl Document {
    /// Out of a file, by its ending: `json`, `yaml` or `yml`.
    ///
    /// # Errors
    /// A sentence with the file, and what in it is not as CDI has it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let at = |problem: String| format!("{}: {problem}", path.display());
        let length = std::fs::metadata(path).map_err(|error| at(error.to_string()))?.len();
        if length > LONGEST_BYTES {
            return Err(at(format!("{length} bytes; expected at most {LONGEST_BYTES}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
        let document: Self = if path.extension().is_some_and(|ending| ending == "json") {
            serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(&text))
                .map_err(|error| at(error.to_string()))?
        } else {
            serde_saphyr::from_str(&text).map_err(|error| at(error.to_string()))?
        };
        document.check().map_err(at)?;
        Ok(document)
    }

    /// Full names of its devices.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.devices.iter().map(|device| format!("{}={}", self.kind, device.name))
    }

    fn check(&self) -> Result<(), String> {
        let version = self.cdi_version.split('.').next().unwrap_or_default();
        if !matches!(version, "0" | "1") {
            return Err(format!("cdiVersion is {:?}; expected 0.x or 1.x", self.cdi_version));
        }
        if !self.kind.split_once('/').is_some_and(|(vendor, class)| word(vendor) && word(class)) {
            return Err(format!("kind is {:?}; expected vendor/class", self.kind));
        }
        for device in &self.devices {
            if !word(&device.name) {
                return Err(format!("devices: name is {:?}; expected letters, digits and _-.:", device.name));
            }
        }
        self.devices
            .iter()
            .map(|device| &device.container_edits)
            .chain([&self.container_edits])
            .try_for_each(Edits::check)
    }
}

impl Edits {
    fn check(&self) -> Result<(), String> {
        for node in &self.device_nodes {
            if !node.path.is_absolute() {
                return Err(format!("deviceNodes: path is {:?}; expected an absolute one", node.path));
            }
        }
        for mount in &self.mounts {
            if !mount.container_path.starts_with('/') {
                return Err(format!(
                    "mounts: containerPath is {:?}; expected an absolute one",
                    mount.container_path
                ));
            }
        }
        for hook in &self.hooks {
            if !HOOKS.contains(&hook.hook_name.as_str()) {
                return Err(format!("hooks: hookName is {:?}; expected one of {HOOKS:?}", hook.hook_name));
            }
            if !hook.path.starts_with('/') {
                return Err(format!("hooks: path is {:?}; expected an absolute one", hook.path));
            }
        }
        match self.env.iter().find(|text| !text.contains('=')) {
            Some(bad) => Err(format!("env: {bad:?}; expected NAME=value")),
            None => Ok(()),
        }
    }
}

fn word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
}
