//! `neuro scene sample OUT`: a scenario to try the program with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::exit::{Exit, OrExit, Outcome};
use crate::cli::output::say;
use crate::scene::sample::{LensKind, SampleOptions};

/// Flags of `neuro scene sample`.
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// The file to write, by custom NAME.usdz.
    out: PathBuf,
    /// Another seed, other cars and people.
    #[arg(long, default_value_t = SampleOptions::default().seed)]
    seed: u64,
    /// Seconds from the first pose to the last, 1 to 60.
    #[arg(long, value_name = "SECONDS", default_value_t = SampleOptions::default().duration_s)]
    duration_s: f64,
    /// Objects to place; those that never come near are not recorded.
    #[arg(long, value_name = "N", default_value_t = SampleOptions::default().tracks)]
    tracks: usize,
    /// Cameras on the rig, 1 to 7.
    #[arg(long, value_name = "N", default_value_t = SampleOptions::default().cameras)]
    cameras: usize,
    /// Their lenses.
    #[arg(long, value_enum, default_value_t = Model::Ftheta)]
    model: Model,
    /// Let the front cameras look through a windshield.
    #[arg(long)]
    windshield: bool,
    /// Replace an existing file.
    #[arg(long)]
    overwrite: bool,
}

/// Names of lenses.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Model {
    /// NVIDIA's f-theta.
    Ftheta,
    /// OpenCV pinhole with distortion.
    Pinhole,
    /// OpenCV fisheye.
    Fisheye,
    /// One after another.
    Mixed,
}

/// Makes a scenario.
///
/// # Errors
/// With [`Exit::Usage`] on flags out of range, else when the file cannot be written or is already there.
pub fn run(args: &SampleArgs) -> Outcome {
    let options = SampleOptions {
        seed: args.seed,
        duration_s: args.duration_s,
        tracks: args.tracks,
        cameras: args.cameras,
        model: match args.model {
            Model::Ftheta => LensKind::Ftheta,
            Model::Pinhole => LensKind::Pinhole,
            Model::Fisheye => LensKind::Fisheye,
            Model::Mixed => LensKind::Mixed,
        },
        windshield: args.windshield,
    };
    let archive = options.archive().or_exit(Exit::Usage)?;
    let shown = args.out.display().to_string();
    let mut open = OpenOptions::new();
    open.write(true).truncate(true).create(args.overwrite).create_new(!args.overwrite);
    let opened = open.open(&args.out);
    let there = matches!(&opened, Err(error) if error.kind() == ErrorKind::AlreadyExists);
    let doing = format!("cannot make {shown}{}", if there { " without --overwrite" } else { "" });
    let mut file = opened.or_exit_with(Exit::Failed, doing)?;
    file.write_all(&archive).or_exit_with(Exit::Failed, format!("cannot write {shown}"))?;
    say(&format!("{shown}: {:.1} MB", archive.len() as f64 / 1e6))?;
    Ok(Exit::Ok)
}
