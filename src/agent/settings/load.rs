//! Reading the file. An agent with a typo in its settings does not start, and hears which key in which line.

use std::path::Path;

use super::AgentSettings;
use crate::config::document::{self, SettingsError};

impl AgentSettings {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// With the file, the key, and what was expected.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        document::load(path, Self::check)
    }

    /// Reads and checks the text of a file; `path` is what errors name.
    ///
    /// # Errors
    /// With the file, the key, and what was expected.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        document::parse(path, text, Self::check)
    }

    /// The effective settings as a TOML file. They hold no secrets: keys are in a file of their own.
    ///
    /// # Errors
    /// When a path is no text.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        AgentSettings::parse(Path::new("agent.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let settings = AgentSettings::parse(Path::new("agent.toml"), "").unwrap();
        assert_eq!(settings, AgentSettings::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_its_line_and_what_was_expected() {
        let said = refusal("[limits]\npids = 2\npid = 3\n");
        assert!(said.starts_with("agent.toml:3: `limits.pid`: unknown field `pid`"), "{said}");
        assert!(said.contains("scrollback_bytes"), "{said}");
    }

    #[test]
    fn a_value_of_another_kind_is_named_with_what_was_expected() {
        let said = refusal("\n[limits]\npids = \"many\"\n");
        assert!(said.starts_with("agent.toml:3: `limits.pids`") && said.contains("expected u32"), "{said}");
        assert!(refusal("[limits\n").starts_with("agent.toml:1: "));
    }

    #[test]
    fn a_value_that_makes_no_sense_is_named_with_its_key() {
        for (text, said) in [
            ("[limits]\noperations = 0\n", "`limits.operations` is 0, expected at least 1"),
            (
                "[limits]\nmemory_share = nan\n",
                "`limits.memory_share` is NaN, expected more than 0 and at most 1",
            ),
            ("[limits]\nstop_s = -1.0\n", "`limits.stop_s` is -1, expected 0 to 3600"),
            ("[qemu]\naccelerator = \"hax\"\n", "`qemu.accelerator` is \"hax\", expected auto, kvm or tcg"),
            ("[node]\nip = \"here\"\n", "`node.ip` is \"here\", expected an IP address"),
            ("[volumes]\n\"a/b\" = \"/srv\"\n", "`volumes.a/b` is no name"),
            ("[volumes]\na = \"srv\"\n", "`volumes.a` is \"srv\", expected an absolute path"),
            (
                "[cluster]\nserver = \"host:50051\"\n",
                "`cluster.server` is \"host:50051\", expected http://HOST:PORT",
            ),
            ("[cluster]\netcd = [\"x\"]\n", "`cluster.etcd[0]` is \"x\", expected http://HOST:PORT"),
            ("[access]\ntls_cert = \"a.pem\"\n", "`access.tls_key` is missing"),
            ("[access]\ntls_client_ca = \"a.pem\"\n", "`access.tls_cert` is missing"),
            ("[container]\nruntimes = []\n", "`container.runtimes` is empty"),
            ("[container]\ncapabilities = [\"NET_ADMIN\"]\n", "`container.capabilities[0]` is \"NET_ADMIN\""),
            ("[container]\ncable_network = \"10.0.0.1\"\n", "`container.cable_network` is \"10.0.0.1\""),
        ] {
            let refusal = refusal(text);
            assert!(refusal.starts_with(&format!("agent.toml: {said}")), "{refusal}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let said = AgentSettings::load(Path::new("no/such/agent.toml")).unwrap_err().to_string();
        assert!(said.starts_with("no/such/agent.toml: cannot read the settings: "), "{said}");
    }
}
