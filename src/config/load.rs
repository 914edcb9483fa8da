//! Putting the layers together: defaults, file, environment, flags; the last one that speaks wins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Source};
use super::keys::{self, KEYS, Key};
use super::settings::ServeConfig;

/// Names the configuration file when no flag does.
pub const CONFIG_VARIABLE: &str = "NEURO_CONFIG";
/// Variables of the programs that talk to an orchestrator or to a node's agent: where it is, the key, what an orchestrator
/// tells the instances that it starts, the agent's data folder. No settings.
pub const CLIENT_VARIABLES: [&str; 9] = [
    "NEURO_ORCHESTRATOR",
    "NEURO_FLEET_KEY",
    "NEURO_INSTANCE_ID",
    "NEURO_INSTANCE_NAME",
    "NEURO_POOL",
    "NEURO_SIGNALLING",
    "NEURO_AGENT",
    "NEURO_AGENT_KEY",
    "NEURO_AGENT_DATA",
];
/// What other Rust programs call the log filter; `NEURO_LOG` overrules it.
const RUST_LOG: &str = "RUST_LOG";
const PREFIX: &str = "NEURO_";
/// A secret setting `x` is also read from the first line of the file that `x_file` names.
const FILE_SUFFIX: &str = "_file";

/// A configuration and where each value came from.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The values.
    pub config: ServeConfig,
    sources: BTreeMap<&'static str, Source>,
}

impl Effective {
    /// Where a setting's value came from.
    #[must_use]
    pub fn source(&self, key: &Key) -> Source {
        self.sources.get(key.name).cloned().unwrap_or_default()
    }
}

/// Collects the layers in order.
#[derive(Default)]
pub struct Loader {
    config: ServeConfig,
    sources: BTreeMap<&'static str, Source>,
    secret_files: BTreeMap<&'static str, (PathBuf, Source)>,
}

impl Loader {
    /// Adds a TOML file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or holds an unknown key or a bad value.
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
        self.toml(path, &text)
    }

    /// Adds TOML text that stands in `path`.
    ///
    /// # Errors
    /// As [`Loader::file`].
    pub fn toml(mut self, path: &Path, text: &str) -> Result<Self, ConfigError> {
        let path = Arc::new(path.to_owned());
        let place = |offset: usize| Source::File {
            path: Arc::clone(&path),
            line: text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1,
        };
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            source_place: place(error.span().map_or(0, |span| span.start)),
            reason: error.message().to_owned(),
        })?;
        for (name, value) in table.get_ref() {
            let source = place(name.span().start);
            let text = scalar(value).ok_or_else(|| wrong_shape(name.get_ref(), value, &source))?;
            self.apply(name.get_ref(), &text, source)?;
        }
        Ok(self)
    }

    /// Adds the `NEURO_*` variables out of an environment. A variable that names no setting is refused, or a typo
    /// would go unnoticed; empty ones are taken as unset.
    ///
    /// # Errors
    /// When one names no setting or holds a bad value.
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut all: Vec<_> = variables.into_iter().collect();
        if let Some((_, filter)) = all.iter().find(|(name, value)| name == RUST_LOG && !value.is_empty()) {
            self.apply("log", filter, Source::Variable(RUST_LOG.to_owned()))?;
        }
        let setting = |name: &str| name != CONFIG_VARIABLE && !CLIENT_VARIABLES.contains(&name);
        all.retain(|(name, value)| name.starts_with(PREFIX) && setting(name) && !value.is_empty());
        all.sort();
        for (variable, value) in all {
            let name = variable.trim_start_matches(PREFIX).to_ascii_lowercase();
            self.apply(&name, &value, Source::Variable(variable))?;
        }
        Ok(self)
    }

    /// Adds flags, as (key name, text).
    ///
    /// # Errors
    /// When one holds a bad value.
    pub fn flags<'a>(
        mut self,
        flags: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ConfigError> {
        for (name, value) in flags {
            self.apply(name, value, Source::Flag(format!("--{}", name.replace('_', "-"))))?;
        }
        Ok(self)
    }

    /// Reads the files that hold secrets and hands the result out.
    ///
    /// # Errors
    /// When one cannot be read, or the secret was given as well.
    pub fn finish(mut self) -> Result<Effective, ConfigError> {
        for (name, (path, source)) in std::mem::take(&mut self.secret_files) {
            if self.sources.contains_key(name) {
                return Err(ConfigError::Conflict {
                    source_place: source,
                    reason: format!("`{name}` and `{name}{FILE_SUFFIX}` are both set; keep one"),
                });
            }
            let text = std::fs::read_to_string(&path).map_err(|error| ConfigError::Invalid {
                source_place: source.clone(),
                key: name,
                value: format!("in `{}`", path.display()),
                expected: format!("a readable file ({error})"),
            })?;
            self.apply(name, text.lines().next().unwrap_or_default().trim(), source)?;
        }
        Ok(Effective { config: self.config, sources: self.sources })
    }

    fn apply(&mut self, name: &str, text: &str, source: Source) -> Result<(), ConfigError> {
        let secret = name.strip_suffix(FILE_SUFFIX).and_then(keys::key).filter(|key| key.secret);
        if let Some(key) = secret {
            self.secret_files.insert(key.name, (PathBuf::from(text), source));
            return Ok(());
        }
        let Some(key) = keys::key(name) else {
            return Err(unknown(name, source));
        };
        key.set(&mut self.config, text).map_err(|expected| ConfigError::Invalid {
            source_place: source.clone(),
            key: key.name,
            value: if key.secret { "<redacted>".to_owned() } else { format!("`{text}`") },
            expected,
        })?;
        self.sources.insert(key.name, source);
        Ok(())
    }
}

/// A TOML value as the text a flag would have; arrays of scalars are joined by commas.
fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => (number.radix() == 10).then(|| number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Array(items) => {
            items.iter().map(scalar).collect::<Option<Vec<_>>>().map(|all| all.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn wrong_shape(name: &str, value: &Spanned<DeValue<'_>>, source: &Source) -> ConfigError {
    match keys::key(name) {
        None => unknown(name, source.clone()),
        Some(key) => ConfigError::Invalid {
            source_place: source.clone(),
            key: key.name,
            value: format!("a TOML {}", value.get_ref().type_str()),
            expected: "text, a decimal number, true, false, or a list of those".to_owned(),
        },
    }
}

fn unknown(name: &str, source_place: Source) -> ConfigError {
    let written = |key: &str| match &source_place {
        Source::Variable(_) => format!("{PREFIX}{}", key.to_ascii_uppercase()),
        Source::Flag(_) => format!("--{}", key.replace('_', "-")),
        Source::File { .. } | Source::Default => key.to_owned(),
    };
    let suggestion = KEYS
        .iter()
        .map(|key| key.name)
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3))
        .map(|(_, candidate)| written(candidate));
    ConfigError::UnknownKey { name: written(name), suggestion, source_place }
}

/// Edits between two names (Levenshtein, one row).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, a) in left.bytes().enumerate() {
        let mut diagonal = index;
        let mut previous = index + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(right.bytes()) {
            let substitute = diagonal + usize::from(a != b);
            diagonal = *cell;
            previous = substitute.min(diagonal + 1).min(previous + 1);
            *cell = previous;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn message(result: Result<Loader, ConfigError>) -> String {
        result.err().unwrap().to_string()
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let path = Path::new("neuro.toml");
        let loaded = Loader::default()
            .toml(path, "# one\nport = 1\nqueue = 10\nthreads = 2\ncors = [\"http://a\", \"http://b\"]\n")
            .unwrap()
            .environment([
                ("NEURO_QUEUE".into(), "11".into()),
                ("NEURO_THREADS".into(), "3".into()),
                ("RUST_LOG".into(), "debug".into()),
                ("UNRELATED".into(), "x".into()),
            ])
            .unwrap()
            .flags([("threads", "4")])
            .unwrap()
            .finish()
            .unwrap();
        assert_eq!(loaded.config.http.port, 1);
        assert_eq!(loaded.config.queue.size, 11);
        assert_eq!(loaded.config.model.threads, NonZeroUsize::new(4));
        assert_eq!(loaded.config.http.cors, ["http://a", "http://b"]);
        let source = |name| loaded.source(keys::key(name).unwrap()).to_string();
        assert_eq!(source("port"), "neuro.toml:2");
        assert_eq!(source("queue"), "environment NEURO_QUEUE");
        assert_eq!(source("threads"), "--threads");
        assert_eq!(source("host"), "default");
        assert_eq!(
            (loaded.config.telemetry.log.as_str(), source("log").as_str()),
            ("debug", "environment RUST_LOG")
        );
    }

    #[test]
    fn errors_name_the_key_its_value_and_where_it_stands() {
        let path = Path::new("neuro.toml");
        let file = |text| message(Loader::default().toml(path, text));
        let variable = |name: &str, value: &str| {
            message(Loader::default().environment([(name.to_owned(), value.to_owned())]))
        };
        assert_eq!(file("\n\nprot = 80"), "neuro.toml:3: `prot` is not a setting; did you mean `port`?");
        assert_eq!(
            file("port = 80000"),
            "neuro.toml:1: `port` is `80000`, expected a whole number from 0 to 65535"
        );
        assert_eq!(
            file("host = \"::\"\n[port]\na = 1"),
            "neuro.toml:2: `port` is a TOML table, expected text, a decimal number, true, false, or a list of those"
        );
        assert!(file("port = = 1").starts_with("neuro.toml:1: not valid TOML"));
        assert_eq!(
            variable("NEURO_LOG_FROMAT", "json"),
            "environment NEURO_LOG_FROMAT: `NEURO_LOG_FROMAT` is not a setting; did you mean `NEURO_LOG_FORMAT`?"
        );
        assert_eq!(
            message(Loader::default().flags([("device", "tpu")])),
            "--device: `device` is `tpu`, expected auto, cpu, cuda or cuda:N"
        );
    }

    #[test]
    fn a_token_is_never_shown() {
        let bad = message(Loader::default().flags([("token", "two words")]));
        assert!(!bad.contains("words"), "{bad}");
        let loaded = Loader::default().flags([("token", "hunter2")]).unwrap().finish().unwrap();
        assert!(!format!("{:?}", loaded.config).contains("hunter2"));
        assert_eq!(keys::key("token").unwrap().show(&loaded.config), "<redacted>");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "hunter3\n").unwrap();
        let flags = [("admin_token_file", file.to_str().unwrap())];
        let loaded = Loader::default().flags(flags).unwrap().finish().unwrap();
        assert_eq!(loaded.config.http.admin_token.as_ref().unwrap().reveal(), "hunter3");
        let both = Loader::default().flags([("admin_token", "a"), flags[0]]).unwrap().finish();
        assert!(both.unwrap_err().to_string().contains("keep one"));
    }
}
