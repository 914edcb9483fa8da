//! Reading the file. A fleet with a typo in its settings does not start, and hears which key in which line.

use std::path::{Path, PathBuf};

use super::FleetSettings;

/// Why settings were refused: one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: cannot read the settings: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It is not TOML, a key is unknown, or a value is of another kind.
    #[error("{}:{line}: {}{reason}", .path.display(), at(.key))]
    Refused {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key with the tables it is in; empty for the whole file.
        key: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A value that makes no sense.
    #[error("{}: `{key}` {problem}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key with the tables it is in.
        key: String,
        /// The value, and what was expected.
        problem: String,
    },
}

fn at(key: &str) -> String {
    if key.is_empty() || key == "." { String::new() } else { format!("`{key}`: ") }
}

impl FleetSettings {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// With the file, the key, and what was expected.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|error| SettingsError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Self::parse(path, &text)
    }

    /// Reads and checks the text of a file; `path` is what errors name.
    ///
    /// # Errors
    /// With the file, the key, and what was expected.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let refused = |error: &toml::de::Error, key: String| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            SettingsError::Refused {
                path: path.to_owned(),
                line: before.matches('\n').count().saturating_add(1),
                key,
                reason: error.message().replace('\n', "; "),
            }
        };
        let document = toml::Deserializer::parse(text).map_err(|error| refused(&error, String::new()))?;
        let settings: Self = serde_path_to_error::deserialize(document).map_err(|error| {
            let key = error.path().to_string();
            refused(error.inner(), key)
        })?;
        settings.check().map_err(|fault| SettingsError::Invalid {
            path: path.to_owned(),
            key: fault.key,
            problem: fault.problem,
        })?;
        Ok(settings)
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
