//! `neuro scene export FILE`: a range of time as MCAP, PNG files or a table of poses.
//!
//! Everything is written beside its place, under a name that ends in `.partial`, and moved there at the end: an export that
//! was interrupted leaves nothing, and one that replaces another never leaves half of both.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::exit::{Exit, Failure, OrExit, Outcome};
use crate::cli::output::{complain, say};
use crate::cli::signals::Signals;
use crate::config::HostPort;
use crate::export::{ExportError, ExportPlan, ExportRequest, Format, Report, planner, to_folder, to_stream};
use crate::render::Renderer;
use crate::render::builtin::Builtin;
use crate::render::nurec::{NurecClient, NurecOptions};
use crate::scene::{LoadLimits, Scenario};

/// What an exported folder has, by which it is known as one.
const MANIFEST: &str = "export.json";
/// Missing pictures told one by one.
const TOLD: usize = 5;

/// Flags of `neuro scene export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The USDZ file.
    file: PathBuf,
    /// What to write.
    #[arg(long, value_enum)]
    format: Kind,
    /// Where to: a file, or for png a folder, or a zip archive if the name ends in .zip.
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Seconds since the scenario's start [default: its start].
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    start: Option<f64>,
    /// Seconds since the scenario's start, inclusive [default: its end].
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    end: Option<f64>,
    /// Cameras, separated by commas [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    cameras: Option<Vec<String>>,
    /// Samples a second.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    rate_hz: f64,
    /// Size of the pictures by that of the cameras.
    #[arg(long, value_name = "FACTOR", default_value_t = 0.25)]
    scale: f64,
    /// JPEG quality of pictures in MCAP, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = 90.0)]
    quality: f32,
    /// Leave the tracks out: of pictures, scene and table.
    #[arg(long)]
    no_objects: bool,
    /// Have NuRec there draw, not the built-in renderer.
    #[arg(long, value_name = "HOST:PORT")]
    nurec: Option<String>,
    /// Replace what an earlier export wrote there.
    #[arg(long)]
    overwrite: bool,
}

/// A format, as it is named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Pictures, calibration, transforms, tracks: for Foxglove, Rerun and others.
    Mcap,
    /// One file a picture.
    Png,
    /// Poses as a table.
    Csv,
}

impl From<Kind> for Format {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Mcap => Self::Mcap,
            Kind::Png => Self::Png,
            Kind::Csv => Self::Csv,
        }
    }
}

/// Exports.
///
/// # Errors
/// With [`Exit::Usage`] when flags make no sense, and [`Exit::Failed`] for everything else; nothing is left behind then.
pub fn run(args: &ExportArgs) -> Outcome {
    let scenario = Scenario::open(&args.file, &LoadLimits::default())
        .or_exit_with(Exit::Failed, args.file.display().to_string())?;
    let wanted = request(args, scenario.start_us);
    let plan = Arc::new(ExportPlan::new(Arc::new(scenario), &wanted).or_exit(Exit::Usage)?);
    // Dropped last: the runtime waits for the thread that writes.
    let place = Place::take(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let mut signals = Signals::catch()?;
        tokio::select! {
            report = export(args, &plan, &place) => report,
            signal = signals.next() => Err(anyhow!("{signal}: nothing was written")),
        }
    });
    drop(runtime);
    let report = report.or_exit_with(Exit::Failed, args.out.display().to_string())?;
    place.keep().or_exit_with(Exit::Failed, args.out.display().to_string())?;
    tell_missing(&report);
    let pictures =
        if plan.format == Format::Csv { String::new() } else { format!(", {} pictures", report.pictures) };
    say(&format!("{}: {} instants{pictures}", args.out.display(), report.samples))?;
    Ok(Exit::Ok)
}

fn request(args: &ExportArgs, start_us: i64) -> ExportRequest {
    let since_start =
        |seconds: Option<f64>| seconds.map(|seconds| start_us.saturating_add((seconds * 1e6).round() as i64));
    ExportRequest {
        range_us: [since_start(args.start), since_start(args.end)],
        cameras: args.cameras.clone(),
        rate_hz: args.rate_hz,
        scale: args.scale,
        quality: args.quality,
        objects: !args.no_objects,
        ..ExportRequest::new(args.format.into())
    }
}

async fn export(args: &ExportArgs, plan: &Arc<ExportPlan>, place: &Place) -> anyhow::Result<Report> {
    let planner = planner(renderer(args)?);
    let bar = progress(plan);
    let done = |samples| bar.set_position(samples);
    let (plan, partial) = (Arc::clone(plan), place.partial.clone());
    let report: Result<Report, ExportError> = if place.is_folder {
        to_folder(plan, planner, partial, done).await
    } else {
        let file = File::create_new(&partial).with_context(|| partial.display().to_string())?;
        to_stream(plan, planner, BufWriter::new(file), done).await
    };
    bar.finish_and_clear();
    Ok(report?)
}

fn renderer(args: &ExportArgs) -> anyhow::Result<Arc<dyn Renderer>> {
    let Some(place) = &args.nurec else {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        return Ok(Arc::new(Builtin::new(threads)?));
    };
    let HostPort { host, port } = HostPort::parse(place)
        .with_context(|| format!("--nurec is {place:?}, expected HOST:PORT, such as localhost:46435"))?;
    Ok(Arc::new(NurecClient::new(NurecOptions { host, port, ..NurecOptions::default() })?))
}

/// On standard error; nothing is drawn where that is no terminal.
fn progress(plan: &ExportPlan) -> ProgressBar {
    let bar = ProgressBar::new(plan.samples);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} instants, {eta} left");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

fn tell_missing(report: &Report) {
    if report.missing == 0 {
        return;
    }
    complain(&format!("neuro: {} pictures are missing:", report.missing));
    for missing in report.examples.iter().take(TOLD) {
        complain(&format!("  {} at {}: {}", missing.camera, missing.timestamp_us, missing.reason));
    }
    if report.missing > TOLD as u64 {
        complain("  ...");
    }
}

/// Where the export goes, and where it is until it is whole. What is there when this is dropped is removed.
struct Place {
    out: PathBuf,
    partial: PathBuf,
    is_folder: bool,
}

impl Place {
    fn take(args: &ExportArgs) -> Result<Self, Failure> {
        let out = args.out.clone();
        let is_folder = args.format == Kind::Png && out.extension().is_none_or(|end| end != "zip");
        let refused = |why: &str| Err(anyhow!("{}: {why}", out.display())).or_exit(Exit::Usage);
        let Some(name) = out.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            return refused("is no name of a file or folder");
        };
        match fs::symlink_metadata(&out) {
            Err(_) => {}
            Ok(_) if !args.overwrite => return refused("exists; --overwrite replaces it"),
            Ok(there) if is_folder != there.is_dir() => {
                return refused("is there as something else than this export would make");
            }
            Ok(_) if is_folder && !replaceable(&out) => {
                return refused("has no export.json, so it is not the folder of an export: not replaced");
            }
            Ok(_) => {}
        }
        let partial = out.with_file_name(format!("{name}.{}.partial", std::process::id()));
        Ok(Self { out, partial, is_folder })
    }

    /// Moves it to its place.
    fn keep(self) -> io::Result<()> {
        if self.is_folder && self.out.exists() {
            let old = self.partial.with_extension("old");
            fs::rename(&self.out, &old)?;
            fs::rename(&self.partial, &self.out)?;
            return fs::remove_dir_all(&old);
        }
        fs::rename(&self.partial, &self.out)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Gone already when it was kept, or when it was never made.
        drop(if self.is_folder { fs::remove_dir_all(&self.partial) } else { fs::remove_file(&self.partial) });
    }
}

/// Whether a folder is that of an export, or empty.
fn replaceable(folder: &Path) -> bool {
    let empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    empty || folder.join(MANIFEST).is_file()
}
