//! `neuro model list`: the folders a server could be pointed at, without loading any.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::say;
use crate::cli::settings::{Compute, SettingFlags};
use crate::policy::config::ModelConfig;
use crate::policy::plan::Influence;
use crate::policy::stats::ActionStats;
use crate::policy::weights::Weights;

/// Flags of `neuro model list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Folders to look in [default: the configured `models`].
    dirs: Vec<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags<Compute>,
}

/// Lists models, one a line; a broken one is listed with what is wrong with it.
///
/// # Errors
/// When a folder to look in cannot be read.
pub fn run(args: &ListArgs) -> Outcome {
    let roots =
        if args.dirs.is_empty() { args.settings.load()?.config.model.roots } else { args.dirs.clone() };
    for root in &roots {
        for dir in models(root)? {
            say(&line(&dir))?;
        }
    }
    Ok(Exit::Ok)
}

/// The folder itself if it is a model, else those of its sub-folders that are.
fn models(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_model = |dir: &Path| dir.join("config.json").is_file();
    if is_model(root) {
        return Ok(vec![root.to_owned()]);
    }
    let entries = std::fs::read_dir(root)
        .map_err(|error| anyhow::anyhow!("cannot look for models in {}: {error}", root.display()))?;
    let mut found: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_model(path)).collect();
    found.sort();
    Ok(found)
}

fn line(dir: &Path) -> String {
    match describe(dir) {
        Ok(text) => format!("{:24} {text}", dir.display()),
        Err(reason) => format!("{:24} broken: {reason}", dir.display()),
    }
}

fn describe(dir: &Path) -> Result<String, String> {
    let config = ModelConfig::load(dir).map_err(|error| error.to_string())?;
    let weights = Weights::open(dir).map_err(|error| error.to_string())?;
    let stats = ActionStats::load(dir).map_err(|error| error.to_string())?;
    let influence = Influence::of(&config);
    let mut inputs = vec!["picture"];
    inputs.extend(influence.text.then_some("text"));
    inputs.extend(influence.tactile.then_some("touch"));
    Ok(format!(
        "{:>12} parameters, {} px, acts on {}, statistics {} {}",
        weights.parameters(),
        config.vision.image_size,
        inputs.join(" + "),
        stats.id,
        stats.sha256
    ))
}
