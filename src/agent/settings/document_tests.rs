//! `docs/agent.toml` is what it says: every key, with its default.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::AgentSettings;

fn document() -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/agent.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

/// With the keys that have no default.
fn all_keys(text: &str) -> String {
    let shown = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') && !key.is_empty() => key.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(shown).collect::<Vec<_>>().join("\n")
}

fn paths(value: &toml::Value, path: &str, into: &mut BTreeSet<String>) {
    let toml::Value::Table(table) = value else {
        into.insert(path.to_owned());
        return;
    };
    for (key, value) in table {
        let key = if ["volumes", "node.labels"].contains(&path) { "*" } else { key };
        paths(value, &if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }, into);
    }
}

#[test]
fn the_example_file_holds_the_defaults() {
    let (path, text) = document();
    assert_eq!(AgentSettings::parse(&path, &text).unwrap(), AgentSettings::default());
}

#[test]
fn the_example_file_has_every_key() {
    let (path, text) = document();
    let whole = all_keys(&text);
    AgentSettings::parse(&path, &whole).unwrap();
    let mut every = AgentSettings::default();
    every.volumes.insert("a".into(), "/a".into());
    every.node.labels.insert("a".into(), "b".into());
    let mut known = BTreeSet::new();
    paths(&toml::from_str(&every.to_toml().unwrap()).unwrap(), "", &mut known);
    let mut shown = BTreeSet::new();
    paths(&toml::from_str(&whole).unwrap(), "", &mut shown);
    assert_eq!(shown, known);
}
