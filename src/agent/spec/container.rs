//! What only containers have: words, environment, volumes.

use std::collections::BTreeMap;

use super::check::wrong;
use super::text::{is_component, no_controls, no_nul, shown};
use super::{Kind, Mount};
use crate::agent::error::AgentError;
use crate::proto::hypervisor::v1::VolumeMount;

/// Most words of a command, and most variables.
const MOST_WORDS: usize = 1024;
/// Longest word, and longest variable with its name: half of what a request may have, a quarter of what the kernel takes.
const LONGEST_WORD: usize = 32 << 10;
/// Longest name of a variable.
const LONGEST_VARIABLE: usize = 255;
/// Most volumes.
const MOST_MOUNTS: usize = 64;
/// Longest path inside.
const LONGEST_PATH: usize = 1024;
/// Where nothing is mounted: what is there is the kernel's.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

fn for_containers(field: &str, kind: Kind, set: bool) -> Result<(), AgentError> {
    if set && kind != Kind::Container {
        return Err(AgentError::invalid(
            field,
            format!("is set; it is for containers, this is a {}", kind.name()),
        ));
    }
    Ok(())
}

fn at_most(field: &str, count: usize, most: usize) -> Result<(), AgentError> {
    if count > most {
        return Err(AgentError::invalid(field, format!("has {count} entries; expected at most {most}")));
    }
    Ok(())
}

pub(super) fn words(field: &str, words: &[String], kind: Kind) -> Result<Vec<String>, AgentError> {
    for_containers(field, kind, !words.is_empty())?;
    at_most(field, words.len(), MOST_WORDS)?;
    for (place, word) in words.iter().enumerate() {
        no_nul(word, LONGEST_WORD).map_err(wrong(format!("{field}[{place}]")))?;
    }
    Ok(words.to_vec())
}

pub(super) fn env(
    env: &BTreeMap<String, String>,
    kind: Kind,
) -> Result<BTreeMap<String, String>, AgentError> {
    let field = "spec.env";
    for_containers(field, kind, !env.is_empty())?;
    at_most(field, env.len(), MOST_WORDS)?;
    for (name, value) in env {
        let named = format!("{field}[{}]", shown(name));
        let first = name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
        let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if !first || !rest || name.len() > LONGEST_VARIABLE {
            let problem = "is no name of a variable; expected a letter or _ and then letters, digits, _ . -";
            return Err(AgentError::invalid(named, problem));
        }
        no_nul(value, LONGEST_WORD - 1 - name.len()).map_err(wrong(named))?;
    }
    Ok(env.clone())
}

pub(super) fn mounts(mounts: &[VolumeMount], kind: Kind) -> Result<Vec<Mount>, AgentError> {
    let field = "spec.volume_mounts";
    for_containers(field, kind, !mounts.is_empty())?;
    at_most(field, mounts.len(), MOST_MOUNTS)?;
    let mut checked: Vec<Mount> = Vec::new();
    for (place, mount) in mounts.iter().enumerate() {
        let field = format!("{field}[{place}]");
        if !is_component(&mount.name) {
            let problem = format!(
                "is {}; expected a letter or digit and then up to 62 of A-Za-z0-9_.-",
                shown(&mount.name)
            );
            return Err(AgentError::invalid(format!("{field}.name"), problem));
        }
        let named = format!("{field}.mount_path");
        let path = path_inside(&mount.mount_path).map_err(wrong(named.clone()))?;
        if let Some(before) = checked.iter().position(|other| other.path == path) {
            return Err(AgentError::invalid(
                named,
                format!("is {}, as that of entry {before}", shown(&path)),
            ));
        }
        checked.push(Mount { volume: mount.name.clone(), path, read_only: mount.read_only });
    }
    Ok(checked)
}

/// An absolute path without detours, without a slash at its end.
fn path_inside(path: &str) -> Result<String, String> {
    no_controls(path, LONGEST_PATH)?;
    let clean = path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path);
    let parts = clean.strip_prefix('/').map(|rest| rest.split('/'));
    let plain = parts.is_some_and(|mut parts| parts.all(|part| !["", ".", ".."].contains(&part)));
    if !plain {
        return Err(format!(
            "is {}; expected an absolute path other than /, without . and .. and double slashes",
            shown(path)
        ));
    }
    let under =
        |root: &str| clean.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match KERNELS.iter().find(|root| under(root)) {
        Some(root) => Err(format!("is {}; expected a path outside {root}", shown(path))),
        None => Ok(clean.to_owned()),
    }
}
