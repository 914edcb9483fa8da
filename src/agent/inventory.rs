//! Which CDI devices this machine has: the names in the documents of the configured folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tracing::warn;

use super::gpu::Inventory;
use super::settings::CdiSettings;

/// Longest document that is read.
const LONGEST_BYTES: u64 = 8 << 20;

#[derive(Deserialize)]
struct Document {
    kind: String,
    #[serde(default)]
    devices: Vec<Device>,
}

#[derive(Deserialize)]
struct Device {
    name: String,
    #[serde(default, rename = "containerEdits")]
    edits: Edits,
}

#[derive(Default, Deserialize)]
struct Edits {
    #[serde(default, rename = "deviceNodes")]
    nodes: Vec<DeviceNode>,
}

#[derive(Deserialize)]
struct DeviceNode {
    path: String,
}

/// What there is now. A document that cannot be read is left out, with a line in the log. Blocks.
#[must_use]
pub fn read(settings: &CdiSettings) -> Inventory {
    let mut found = Inventory::new();
    for folder in &settings.folders {
        let mut paths: Vec<_> =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
        paths.sort();
        for path in paths {
            match document(&path) {
                Ok(Some(document)) => found.extend(document.devices.into_iter().map(|device| {
                    let nodes: BTreeSet<String> =
                        device.edits.nodes.into_iter().map(|node| node.path).collect();
                    (format!("{}={}", document.kind, device.name), nodes)
                })),
                Ok(None) => {}
                Err(error) => warn!(document = %path.display(), error, "no CDI document"),
            }
        }
    }
    found
}

fn document(path: &Path) -> Result<Option<Document>, String> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !["json", "yaml", "yml"].contains(&extension) {
        return Ok(None);
    }
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > LONGEST_BYTES {
        return Err(format!("{length} bytes; expected at most {LONGEST_BYTES}"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let parsed = match extension {
        "json" => serde_json::from_str(&text).map_err(|error| error.to_string()),
        _ => serde_saphyr::from_str(&text).map_err(|error| error.to_string()),
    };
    parsed.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_all_documents_are_found_and_a_broken_one_hides_none() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put(
            "gpu.yaml",
            "cdiVersion: 0.6.0\nkind: nvidia.com/gpu\ndevices:\n- name: \"0\"\n  containerEdits:\n    \
             deviceNodes:\n    - path: /dev/nvidia0\n      hostPath: /dev/null\n- name: all\n",
        );
        put("port.json", r#"{"kind": "acme.com/port", "devices": [{"name": "x"}]}"#);
        put("broken.json", "{");
        put("notes.txt", "kind: no.body/cares");
        let settings = CdiSettings {
            folders: vec![folder.path().to_owned(), "/nowhere".into()],
            ..CdiSettings::default()
        };
        let found = read(&settings);
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["acme.com/port=x", "nvidia.com/gpu=0", "nvidia.com/gpu=all"]);
        assert!(found["nvidia.com/gpu=0"].contains("/dev/nvidia0"));
    }
}
