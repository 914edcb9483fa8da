//! Flags made from the table of settings, so that a setting is described once. Commands that use a model without
//! serving it take the few flags that concern it; the file and the environment hold for all of them.

use std::marker::PhantomData;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::exit::{Exit, Failure, OrExit};
use crate::config::{CONFIG_VARIABLE, Effective, KEYS, Key, Loader};

const CONFIG: &str = "config";

/// Which settings a command takes as flags.
pub trait FlagSet {
    /// Whether `--config` and `NEURO_CONFIG` name the file of these settings; other commands have a file of their own.
    const FILE: bool = true;

    /// Whether this one is.
    fn takes(key: &Key) -> bool;
}

/// Every setting: `serve` and `config show`.
#[derive(Debug, Clone, Copy)]
pub struct All;

/// How a model is computed, and logs: `predict`, `model check`, `replay`.
#[derive(Debug, Clone, Copy)]
pub struct Compute;

impl FlagSet for All {
    fn takes(_: &Key) -> bool {
        true
    }
}

impl FlagSet for Compute {
    fn takes(key: &Key) -> bool {
        ["device", "dtype", "backend", "threads", "stats", "keep_packed", "max_pixels", "log", "log_format"]
            .contains(&key.name)
    }
}

/// Logs alone, and no file: `--config` is the command's own.
#[derive(Debug, Clone, Copy)]
pub struct LogFlags;

impl FlagSet for LogFlags {
    const FILE: bool = false;

    fn takes(key: &Key) -> bool {
        ["log", "log_format", "otlp"].contains(&key.name)
    }
}

/// The settings given as flags.
#[derive(Debug, Clone)]
pub struct SettingFlags<S> {
    file: Option<PathBuf>,
    values: Vec<(String, String)>,
    set: PhantomData<S>,
}

impl<S: FlagSet> SettingFlags<S> {
    /// The file, the environment and these flags together.
    ///
    /// # Errors
    /// [`Exit::Usage`] with the key and the place that is wrong.
    pub fn load(&self) -> Result<Effective, Failure> {
        self.layers().or_exit(Exit::Usage)
    }

    fn layers(&self) -> Result<Effective, crate::config::ConfigError> {
        let of_environment = || std::env::var_os(CONFIG_VARIABLE).filter(|_| S::FILE).map(PathBuf::from);
        let named = self.file.clone().or_else(of_environment);
        let mut loader = Loader::default();
        if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
            loader = loader.file(&path)?;
        }
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let flags = self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        loader.environment(environment)?.flags(flags)?.finish()
    }
}

fn argument(name: String, value: &'static str, help: String, switch: bool) -> Arg {
    let flag = name.replace('_', "-");
    let arg = Arg::new(name).long(flag).value_name(value).help(help).help_heading("Settings");
    let list = value.ends_with(",..");
    let arg = arg.action(if list { ArgAction::Append } else { ArgAction::Set });
    if switch {
        arg.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        arg.num_args(1)
    }
}

impl<S: FlagSet> Args for SettingFlags<S> {
    fn augment_args(command: Command) -> Command {
        let mut command = command;
        if S::FILE {
            let help = format!("TOML file of settings [env: {CONFIG_VARIABLE}]");
            command = command.arg(argument(CONFIG.to_owned(), "FILE", help, false));
        }
        for key in KEYS.iter().filter(|key| S::takes(key)) {
            let help = format!("{} [env: {}]", key.help, key.variable());
            command = command.arg(argument(key.name.to_owned(), key.value, help, key.switch));
            if key.secret {
                let help = format!("File whose first line is the {}", key.name.replace('_', " "));
                command = command.arg(argument(format!("{}_file", key.name), "FILE", help, false));
            }
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<S: FlagSet> FromArgMatches for SettingFlags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        // A list may be given at once or piece by piece.
        let text = |name: &str| {
            let pieces: Vec<&str> = matches.get_many::<String>(name)?.map(String::as_str).collect();
            Some(pieces.join(","))
        };
        let mut values = Vec::new();
        for key in KEYS.iter().filter(|key| S::takes(key)) {
            values.extend(text(key.name).map(|value| (key.name.to_owned(), value)));
            if key.secret {
                let name = format!("{}_file", key.name);
                values.extend(text(&name).map(|value| (name, value)));
            }
        }
        let file = if S::FILE { text(CONFIG).map(PathBuf::from) } else { None };
        Ok(Self { file, values, set: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
