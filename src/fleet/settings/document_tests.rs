//! `docs/fleet.toml` is what it says: every key, with its default.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Access, ApiKey, FleetSettings, Omniverse, Pool, QuotaSettings};

fn document() -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet.toml");
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
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = if ["pool.labels", "pool.env", "owners"].contains(&path) { "*" } else { key };
                let inner = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                paths(value, &inner, into);
            }
        }
        toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
            for item in items {
                paths(item, path, into);
            }
        }
        _ => drop(into.insert(path.to_owned())),
    }
}

#[test]
fn the_example_file_holds_the_defaults() {
    let (path, text) = document();
    assert_eq!(FleetSettings::parse(&path, &text).unwrap(), FleetSettings::default());
}

#[test]
fn the_example_file_has_every_key() {
    let (path, text) = document();
    let whole = all_keys(&text);
    FleetSettings::parse(&path, &whole).unwrap();

    let mut labelled = Pool::default();
    labelled.labels.insert("a".into(), "b".into());
    labelled.env.insert("a".into(), "b".into());
    let every = FleetSettings {
        omniverse: Some(Omniverse::default()),
        access: Access { key: vec![ApiKey::default()], ..Access::default() },
        owners: [("a".to_owned(), QuotaSettings::default())].into(),
        pool: vec![labelled],
        ..FleetSettings::default()
    };
    let mut known = BTreeSet::new();
    paths(&toml::from_str(&every.to_toml().unwrap()).unwrap(), "", &mut known);
    let mut shown = BTreeSet::new();
    paths(&toml::from_str(&whole).unwrap(), "", &mut shown);
    assert_eq!(shown, known);
}

#[test]
fn defaults_of_pools_are_those_of_the_example() {
    let (path, text) = document();
    let pool = FleetSettings::parse(&path, &all_keys(&text)).unwrap().pool.remove(0);
    let named = Pool {
        name: pool.name.clone(),
        role: pool.role.clone(),
        warm: pool.warm,
        labels: pool.labels.clone(),
        env: pool.env.clone(),
        ..Pool::default()
    };
    assert_eq!(pool, named);
}
