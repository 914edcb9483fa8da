//! All documents of some folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tracing::warn;

use super::document::{Document, Edits};
use crate::agent::error::AgentError;
use crate::agent::gpu::Inventory;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    documents: Vec<Document>,
    /// Which document, which of its devices.
    devices: BTreeMap<String, (usize, usize)>,
    /// Files that could not be read, a sentence each.
    pub problems: Vec<String>,
}

impl Registry {
    /// Reads `*.json`, `*.yaml` and `*.yml` of the folders. A device that a later folder names again is the later one's. A
    /// folder that is not there holds nothing; a file that is wrong is a problem, and others are read all the same.
    #[must_use]
    pub fn read(folders: &[PathBuf]) -> Self {
        let mut found = Self::default();
        for folder in folders {
            let mut files: Vec<PathBuf> =
                std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()).collect();
            files.sort();
            let endings = ["json", "yaml", "yml"];
            files.retain(|file| {
                file.extension().and_then(|text| text.to_str()).is_some_and(|text| endings.contains(&text))
            });
            for file in files {
                match Document::read(&file) {
                    Ok(document) => found.add(document),
                    Err(problem) => found.problems.push(problem),
                }
            }
        }
        found
    }

    /// Names of all devices, and the device nodes behind each. What could not be read is told in the log.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        for problem in &self.problems {
            warn!(problem, "no CDI document");
        }
        let behind = |&(document, device): &(usize, usize)| {
            let device = self.documents.get(document).and_then(|document| document.devices.get(device));
            let nodes = device.into_iter().flat_map(|device| &device.container_edits.device_nodes);
            nodes.map(|node| node.path.display().to_string()).collect()
        };
        self.devices.iter().map(|(name, place)| (name.clone(), behind(place))).collect()
    }

    /// Full names of all devices: `vendor/class=name`.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.devices.keys().map(String::as_str)
    }

    /// Full names of the devices of a kind, `all` left out: it stands for the others.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.devices().filter(move |name| {
            name.split_once('=').is_some_and(|(its, device)| its == kind && device != "all")
        })
    }

    /// There is such a device.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.devices.contains_key(name)
    }

    /// What goes into a container that gets these devices: what their documents need, once each, then each device's.
    ///
    /// # Errors
    /// `NotFound` for a device that no document names.
    pub fn edits(&self, names: &[String]) -> Result<Vec<&Edits>, AgentError> {
        let mut documents = BTreeSet::new();
        let mut edits = Vec::new();
        for name in names {
            let missing = || AgentError::not_found("CDI device", name);
            let (document, device) = self.devices.get(name).ok_or_else(missing)?;
            let found = self.documents.get(*document).ok_or_else(missing)?;
            if documents.insert(*document) {
                edits.push(&found.container_edits);
            }
            edits.push(&found.devices.get(*device).ok_or_else(missing)?.container_edits);
        }
        Ok(edits)
    }

    fn add(&mut self, document: Document) {
        let place = self.documents.len();
        for (device, name) in document.names().enumerate() {
            self.devices.insert(name, (place, device));
        }
        self.documents.push(document);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const JSON: &str = r#"{"cdiVersion":"0.6.0","kind":"nvidia.com/gpu",
        "devices":[{"name":"0","containerEdits":{"deviceNodes":[{"path":"/dev/nvidia0","hostPath":"/dev/null"}]}},
                   {"name":"all","containerEdits":{}}],
        "containerEdits":{"env":["NVIDIA_VISIBLE_DEVICES=void"],
            "mounts":[{"hostPath":"/etc/hostname","containerPath":"/x","options":["ro","bind"]}],
            "hooks":[{"hookName":"createContainer","path":"/usr/bin/true","args":["true"]}]}}"#;
    const YAML: &str = "cdiVersion: \"0.6.0\"
kind: nvidia.com/gpu
devices:
- name: \"0\"
  containerEdits:
    env: [LATER=yes]
- name: \"1\"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia1
      hostPath: /dev/zero
      permissions: rw
";

    #[test]
    fn documents_of_both_notations_are_read_and_the_later_folder_wins() {
        let [first, second] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        fs::write(first.path().join("a.json"), JSON).unwrap();
        fs::write(first.path().join("broken.json"), "{\"cdiVersion\":1}").unwrap();
        fs::write(first.path().join("note.txt"), "not one").unwrap();
        fs::write(second.path().join("b.yaml"), YAML).unwrap();
        let registry =
            Registry::read(&[first.path().into(), second.path().into(), first.path().join("missing")]);
        assert_eq!(
            registry.of_kind("nvidia.com/gpu").collect::<Vec<_>>(),
            ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]
        );
        assert!(registry.holds("nvidia.com/gpu=all"));
        let inventory = registry.inventory();
        assert!(inventory["nvidia.com/gpu=1"].contains("/dev/nvidia1"), "{inventory:?}");
        assert!(inventory.len() == 3 && inventory["nvidia.com/gpu=all"].is_empty(), "{inventory:?}");
        assert!(registry.problems.len() == 1 && registry.problems[0].contains("broken.json: cdiVersion"));
        let edits = registry.edits(&["nvidia.com/gpu=0".to_owned(), "nvidia.com/gpu=1".to_owned()]).unwrap();
        assert_eq!(edits[1].env, ["LATER=yes"]);
        assert_eq!(edits[2].device_nodes[0].permissions.as_deref(), Some("rw"));
        let first = Registry::read(&[first.path().into()]);
        let edits = first.edits(&["nvidia.com/gpu=0".to_owned(), "nvidia.com/gpu=all".to_owned()]).unwrap();
        assert_eq!(edits.len(), 3, "the document's own once, then two devices'");
        assert_eq!(edits[0].hooks[0].hook_name, "createContainer");
        let missing = first.edits(&["nvidia.com/gpu=7".to_owned()]).unwrap_err();
        assert_eq!(missing.to_string(), "no CDI device \"nvidia.com/gpu=7\"");
    }

    #[test]
    fn a_document_that_is_wrong_says_where() {
        let folder = tempfile::tempdir().unwrap();
        for (text, word) in [
            (r#"{"cdiVersion":"9.0","kind":"a/b"}"#, "cdiVersion"),
            (r#"{"cdiVersion":"0.6.0","kind":"ab"}"#, "vendor/class"),
            (r#"{"cdiVersion":"0.6.0","kind":"a/b","devices":[{"name":"../x"}]}"#, "../x"),
            (
                r#"{"cdiVersion":"0.6.0","kind":"a/b","containerEdits":{"hooks":[{"hookName":"no","path":"/x"}]}}"#,
                "hookName",
            ),
            (r#"{"cdiVersion":"0.6.0","kind":"a/b","containerEdits":{"env":["no"]}}"#, "NAME=value"),
            (
                r#"{"cdiVersion":"0.6.0","kind":"a/b","devices":[{"name":"0","containerEdits":{"deviceNodes":[{"path":"rel"}]}}]}"#,
                "absolute",
            ),
        ] {
            fs::write(folder.path().join("x.json"), text).unwrap();
            let registry = Registry::read(&[folder.path().into()]);
            assert!(registry.problems[0].contains(word), "{word}: {:?}", registry.problems);
        }
    }
}
