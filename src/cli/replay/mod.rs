//! `neuro replay DIR`: the recorded observations once more, against a server or a model folder, and how far the
//! actions are from the recorded ones. Exit code 1 when they are further than the tolerance, so a script can gate on it.

mod report;
mod target;

use std::path::PathBuf;

use clap::Args;

use self::report::Report;
use self::target::Target;
use super::exit::{Exit, OrExit, Outcome};
use super::predict::quiet_unless_asked;
use super::settings::{Compute, SettingFlags};
use crate::policy::recording::{self, Entry, Recording};
use crate::policy::request::PredictRequest;
use crate::telemetry::logs;

/// Flags of `neuro replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A recording, or a folder of recordings.
    dir: PathBuf,
    /// Ask this server, as in http://127.0.0.1:8000.
    #[arg(long, value_name = "URL", conflicts_with = "model")]
    server: Option<String>,
    /// Ask this model folder, without a server [default: the configured one, else models/tabletop].
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Bearer token of the server.
    #[arg(long, env = "NEURO_TOKEN", hide_env_values = true, value_name = "TOKEN", requires = "server")]
    token: Option<String>,
    /// Largest difference of a component that is still the same action.
    #[arg(long, default_value_t = 0.0, value_name = "NUMBER", value_parser = tolerance)]
    tolerance: f64,
    /// Steps to run at most.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags<Compute>,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err("expected a finite number, 0 or more".to_owned())
    }
}

/// Runs recordings again.
///
/// # Errors
/// When there is no recording, or nobody to ask.
pub fn run(args: &ReplayArgs) -> Outcome {
    let mut config = args.settings.load()?.config;
    quiet_unless_asked(&mut config);
    if let Some(dir) = &args.model {
        config.model.dir.clone_from(dir);
    }
    let recordings = recording::find(&args.dir).or_exit(Exit::Usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let _traces = logs::start(&config.telemetry).or_exit(Exit::Usage)?;
        let target = match &args.server {
            Some(url) => Target::server(url, args.token.clone()),
            None => Target::model(&config).await?,
        };
        let mut report = Report::new(target.name(), args.tolerance);
        for path in recordings {
            let recording = Recording::read(&path).or_exit(Exit::Failed)?;
            report.recording(&recording);
            for entry in &recording.entries {
                if args.limit.is_some_and(|limit| report.steps() >= limit) {
                    break;
                }
                step(&target, &recording, entry, &mut report).await;
            }
        }
        Ok::<_, super::exit::Failure>(report)
    })?;
    report.print(args.json)?;
    Ok(if report.same() { Exit::Ok } else { Exit::Failed })
}

async fn step(target: &Target, recording: &Recording, entry: &Entry, report: &mut Report) {
    let Some(recorded) = entry.action else {
        return report.skip(entry, "had no action");
    };
    let request = match request(recording, entry) {
        Ok(Some(request)) => request,
        Ok(None) => return report.skip(entry, "picture or instruction was not kept"),
        Err(error) => return report.fail(entry, &error.to_string()),
    };
    match target.ask(request).await {
        Ok(action) => report.compare(entry, &recorded, &action),
        Err(error) => report.fail(entry, &format!("{error:#}")),
    }
}

/// The request again; `None` when redaction left too little of it.
fn request(
    recording: &Recording,
    entry: &Entry,
) -> Result<Option<PredictRequest>, recording::RecordingError> {
    let text_kept = recording.header.text == "full";
    let (Some(instruction), Some(image)) = (
        entry.instruction.as_ref().filter(|_| text_kept),
        recording::picture(&recording.path, &entry.image)?,
    ) else {
        return Ok(None);
    };
    let mut request = PredictRequest::new(image, instruction.clone(), "replay");
    request.force_black_tactile = entry.force_black_tactile;
    if let Some(tactile) = &entry.tactile {
        match recording::picture(&recording.path, tactile)? {
            Some(picture) => request.tactile = Some(picture),
            None => return Ok(None),
        }
    }
    Ok(Some(request))
}
