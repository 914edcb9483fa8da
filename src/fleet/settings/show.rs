//! Settings as TOML, to be looked at: what must not be seen is not shown.

use std::collections::BTreeMap;

use serde::ser::{SerializeMap, Serializer};

use super::FleetSettings;

/// What stands for a secret that is set.
const REDACTED: &str = "<redacted>";

impl FleetSettings {
    /// The effective settings as a TOML file, without secrets.
    ///
    /// # Errors
    /// When a path is no text.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

#[allow(clippy::ptr_arg, reason = "the shape serde asks for")]
pub(super) fn secret<S: Serializer>(value: &String, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(if value.is_empty() { "" } else { REDACTED })
}

/// Names are shown, values are not.
pub(super) fn secrets<S: Serializer>(values: &BTreeMap<String, String>, out: S) -> Result<S::Ok, S::Error> {
    let mut map = out.serialize_map(Some(values.len()))?;
    for name in values.keys() {
        map.serialize_entry(name, REDACTED)?;
    }
    map.end()
}
