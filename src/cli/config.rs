//! `neuro config show`: what a server started with the same flags would run with, and who said so.

use clap::{Args, Subcommand};

use super::exit::{Exit, Outcome};
use super::output::say;
use super::settings::{All, SettingFlags};
use crate::config::{Effective, KEYS, Key};

/// Settings.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the effective settings as a configuration file, each with where it came from.
    Show(SettingFlags<All>),
}

/// Prints settings.
///
/// # Errors
/// When they are wrong.
pub fn run(args: &ConfigArgs) -> Outcome {
    let ConfigCommand::Show(flags) = &args.command;
    let effective = flags.load()?;
    let lines: Vec<_> = KEYS.iter().map(|key| (assignment(&effective, key), key)).collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or_default();
    for (line, key) in lines {
        say(&format!("{line:width$}  # {}", effective.source(key)))?;
    }
    Ok(Exit::Ok)
}

fn assignment(effective: &Effective, key: &Key) -> String {
    let value = key.show(&effective.config);
    if key.secret && value != "off" {
        return format!("# {} = {value}", key.name);
    }
    let bare = value.parse::<i64>().is_ok() || value == "true" || value == "false";
    let value = if bare { value } else { toml::Value::String(value).to_string() };
    format!("{} = {value}", key.name)
}
