//! `neuro predict IMAGE`: one action from the shell, through the same service as a server's.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure, OrExit, Outcome};
use super::options;
use super::output::say;
use super::settings::{Compute, SettingFlags};
use crate::config::ServeConfig;
use crate::policy::request::{Picture, PredictRequest, Prediction};
use crate::policy::service::PolicyService;
use crate::telemetry::logs;

/// Names of the action's components.
pub const COMPONENTS: [&str; 7] = ["dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"];

/// Flags of `neuro predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// The camera picture: JPEG, PNG, BMP, GIF, WEBP or TIFF.
    image: PathBuf,
    /// What to do; the model's default when absent.
    #[arg(long, default_value = "", hide_default_value = true)]
    instruction: String,
    /// The tactile picture; black when absent.
    #[arg(long, value_name = "IMAGE")]
    tactile: Option<PathBuf>,
    /// Model folder [default: the configured one, else models/tabletop].
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags<Compute>,
}

/// Predicts once.
///
/// # Errors
/// With [`Exit::Usage`], [`Exit::Model`], or [`Exit::Failed`] when the pictures cannot be used.
pub fn run(args: &PredictArgs) -> Outcome {
    let mut config = args.settings.load()?.config;
    quiet_unless_asked(&mut config);
    if let Some(dir) = &args.model {
        config.model.dir.clone_from(dir);
    }
    let mut request = PredictRequest::new(read(&args.image)?, args.instruction.clone(), "cli");
    request.tactile = args.tactile.as_deref().map(read).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let prediction = runtime.block_on(async {
        let _traces = logs::start(&config.telemetry).or_exit(Exit::Usage)?;
        let service = PolicyService::start(options::service(&config, None));
        service.load(options::load(&config)).await.or_exit(Exit::Model)?;
        service.predict(request).await.or_exit(Exit::Failed)
    })?;
    if args.json {
        say(&as_json(&prediction).to_string())?;
    } else {
        print(&prediction)?;
    }
    Ok(Exit::Ok)
}

/// A one-shot command logs warnings only, unless a filter was given.
pub fn quiet_unless_asked(config: &mut ServeConfig) {
    if config.telemetry.log == ServeConfig::default().telemetry.log {
        config.telemetry.log = "warn".to_owned();
    }
}

fn read(path: &Path) -> Result<Picture, Failure> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Picture::Encoded(bytes.into()))
}

fn print(prediction: &Prediction) -> std::io::Result<()> {
    for (name, value) in COMPONENTS.iter().zip(prediction.action) {
        let unit = match *name {
            "dx" | "dy" | "dz" => " m",
            "gripper" => "  (0 open .. 1 closed)",
            _ => " rad",
        };
        say(&format!("{name:8}{value:+.6}{unit}"))?;
    }
    let model = &prediction.model;
    say(&format!("model   {} on {} in {}", model.id, model.backend.device, model.backend.dtype.name()))?;
    say(&format!("stats   {} {}", model.stats.id, model.stats.sha256))?;
    say(&format!("words   {}", prediction.instruction))?;
    say(&format!("took    {:.1} ms", prediction.timings.total.as_secs_f64() * 1e3))?;
    for warning in &prediction.warnings {
        say(&format!("warning {}: {}", warning.code, warning.message))?;
    }
    Ok(())
}

fn as_json(prediction: &Prediction) -> serde_json::Value {
    let timings = &prediction.timings;
    json!({
        "action": prediction.action,
        "instruction": prediction.instruction,
        "image_size": [prediction.image_size.0, prediction.image_size.1],
        "used_dummy_tactile": prediction.used_dummy_tactile,
        "model": prediction.model.id,
        "weights": prediction.model.weights,
        "stats": { "id": prediction.model.stats.id, "sha256": prediction.model.stats.sha256 },
        "warnings": prediction.warnings,
        "timings_ms": {
            "decode": timings.decode.as_secs_f64() * 1e3,
            "resize": timings.resize.as_secs_f64() * 1e3,
            "queue": timings.queue.as_secs_f64() * 1e3,
            "tactile": timings.tactile.as_secs_f64() * 1e3,
            "vision": timings.vision.as_secs_f64() * 1e3,
            "decoder": timings.decoder.as_secs_f64() * 1e3,
            "total": timings.total.as_secs_f64() * 1e3,
        },
    })
}
