//! `neuro model check DIR`: whether a server would take this folder, and what it would then serve.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::exit::{Exit, OrExit, Outcome};
use crate::cli::options;
use crate::cli::output::say;
use crate::cli::predict::quiet_unless_asked;
use crate::cli::settings::{Compute, SettingFlags};
use crate::policy::golden;
use crate::policy::model::LoadedModel;
use crate::telemetry::{logs, process};

/// Flags of `neuro model check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The model folder.
    dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags<Compute>,
}

/// Checks a folder.
///
/// # Errors
/// With [`Exit::Model`] and one line that names what is wrong.
pub fn run(args: &CheckArgs) -> Outcome {
    let mut config = args.settings.load()?.config;
    quiet_unless_asked(&mut config);
    config.model.dir.clone_from(&args.dir);
    config.telemetry.otlp = None;
    logs::start(&config.telemetry).or_exit(Exit::Usage)?;
    let model = LoadedModel::load(&options::load(&config)).or_exit(Exit::Model)?;
    if args.json {
        say(&json(&model).to_string())?;
    } else {
        for (name, value) in report(&model) {
            say(&format!("{name:13}{value}"))?;
        }
    }
    Ok(Exit::Ok)
}

fn report(model: &LoadedModel) -> Vec<(&'static str, String)> {
    let about = &model.description;
    let backend = &about.backend;
    let parts: Vec<_> = about.sequence.iter().map(|part| part.name()).collect();
    let golden = if model.golden.cases == 0 {
        "none in the folder; warmed up on a grey picture".to_owned()
    } else {
        format!(
            "{} cases, worst {:.2e} standard deviations ({}), allowed {}",
            model.golden.cases,
            model.golden.worst,
            model.golden.worst_case,
            golden::bound(backend.dtype)
        )
    };
    let memory = process::read().peak_resident_bytes.map_or_else(
        || format!("{} of weights", mib(backend.weight_bytes)),
        |peak| format!("{} of weights, process peak {}", mib(backend.weight_bytes), mib(peak)),
    );
    vec![
        ("model", format!("{} ({})", about.id, about.path)),
        ("weights", about.weights.clone()),
        (
            "parameters",
            format!("{}, of which {} take part in an action", about.parameters, backend.parameters_used),
        ),
        ("memory", memory),
        (
            "runs on",
            format!(
                "{}, backend {}, {}, {}, {} threads, batches of {}",
                backend.device,
                backend.name,
                backend.dtype.name(),
                backend.kernels,
                backend.threads,
                backend.max_batch
            ),
        ),
        (
            "sequence",
            format!("{}; picture {} px, touch {} px", parts.join(", "), about.image_size, about.tactile_size),
        ),
        ("influence", influence(model)),
        ("default text", about.default_instruction.clone()),
        ("statistics", format!("{} {}", about.stats.id, about.stats.sha256)),
        ("  mean", numbers(&about.stats.mean)),
        ("  std", numbers(&about.stats.std)),
        ("golden", golden),
        ("loaded in", format!("{:.2} s, golden cases included", about.load_seconds)),
    ]
}

fn influence(model: &LoadedModel) -> String {
    let influence = &model.description.influence;
    let word = |counts: bool| if counts { "counts" } else { "cannot change the action" };
    format!("picture counts, text {}, touch {}", word(influence.text), word(influence.tactile))
}

fn numbers(values: &[f32]) -> String {
    values.iter().map(|value| format!("{value:.6}")).collect::<Vec<_>>().join(" ")
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn json(model: &LoadedModel) -> serde_json::Value {
    json!({
        "model": *model.description,
        "golden": {
            "cases": model.golden.cases,
            "worst_standard_deviations": model.golden.worst,
            "worst_case": model.golden.worst_case,
            "allowed": golden::bound(model.description.backend.dtype),
        },
        "peak_resident_bytes": process::read().peak_resident_bytes,
    })
}
