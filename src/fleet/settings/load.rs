//! Reading the file. A fleet with a typo in its settings does not start, and hears which key in which line.

use std::path::Path;

use super::FleetSettings;
use crate::config::document::{self, SettingsError};

impl FleetSettings {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// With the file, the key, and what was expected.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        document::load(path, Self::faults)
    }

    /// Reads and checks the text of a file; `path` is what errors name.
    ///
    /// # Errors
    /// With the file, the key, and what was expected.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        document::parse(path, text, Self::faults)
    }

    fn faults(&self) -> Result<(), (String, String)> {
        self.check().map_err(|fault| (fault.key, fault.problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        FleetSettings::parse(Path::new("fleet.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let settings = FleetSettings::parse(Path::new("fleet.toml"), "").unwrap();
        assert_eq!(settings, FleetSettings::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_its_line_and_what_was_expected() {
        let said = refusal("[sessions]\nparallel_envs = 2\nparalel = 3\n");
        assert!(said.starts_with("fleet.toml:3: `sessions.paralel`: unknown field `paralel`"), "{said}");
        assert!(said.contains("parallel_envs"), "{said}");
        let said = refusal("[[pool]]\nname = \"a\"\nrole = \"simulator\"\nbackends = \"process\"\n");
        assert!(said.starts_with("fleet.toml:4: `pool[0].backends`"), "{said}");
    }

    #[test]
    fn a_value_of_another_kind_is_named_with_what_was_expected() {
        let said = refusal("\n[leases]\nlease_ms = \"long\"\n");
        assert!(said.starts_with("fleet.toml:3: `leases.lease_ms`"), "{said}");
        assert!(said.contains("expected u32"), "{said}");
        let said = refusal("[leases\n");
        assert!(said.starts_with("fleet.toml:1: "), "{said}");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_named_with_its_key() {
        let said = refusal("[[pool]]\nname = \"a\"\nrole = \"simulator\"\nwarm = 9\nmax = 3\n");
        assert_eq!(said, "fleet.toml: `pool[0].warm` is 9, expected at most `max`, which is 3");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let said = FleetSettings::load(Path::new("no/such/fleet.toml")).unwrap_err().to_string();
        assert!(said.starts_with("no/such/fleet.toml: cannot read the settings: "), "{said}");
    }
}
