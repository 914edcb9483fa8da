//! `neuro scene info FILE`: what a scenario has, for a person or as JSON.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::exit::{Exit, OrExit, Outcome};
use crate::cli::output::say;
use crate::scene::{LoadLimits, Scenario, Track};

/// Flags of `neuro scene info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// The USDZ file.
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Describes a scenario.
///
/// # Errors
/// With [`Exit::Failed`] and one line that says why the file is none.
pub fn run(args: &InfoArgs) -> Outcome {
    let scenario = Scenario::open(&args.file, &LoadLimits::default())
        .or_exit_with(Exit::Failed, args.file.display().to_string())?;
    if args.json {
        say(&as_json(&scenario).to_string())?;
    } else {
        for (name, value) in report(&scenario) {
            say(&format!("{name:13}{value}"))?;
        }
    }
    Ok(Exit::Ok)
}

/// The tracks of one class.
struct Class<'a> {
    name: &'a str,
    tracks: usize,
    shortest_s: f64,
    longest_s: f64,
}

fn report(scenario: &Scenario) -> Vec<(&'static str, String)> {
    let count = |test: fn(&Track) -> bool| scenario.tracks.iter().filter(|track| test(track)).count();
    let mut lines = vec![
        ("file", scenario.path.display().to_string()),
        ("sequence", scenario.sequence_id.clone()),
        (
            "time",
            format!(
                "{} to {} us, {:.2} s",
                scenario.start_us,
                scenario.end_us,
                seconds(scenario.end_us - scenario.start_us)
            ),
        ),
        ("ego", format!("{} poses, {:.1} m", scenario.ego.poses.len(), path_m(scenario))),
        ("cameras", scenario.cameras.len().to_string()),
    ];
    for camera in &scenario.cameras {
        let [width, height] = camera.model.resolution;
        let poses = if camera.shutter_poses.is_some() { " with poses" } else { "" };
        let windshield = if camera.model.windshield.is_some() { ", windshield" } else { "" };
        lines.push((
            "",
            format!(
                "{:28} {:15} {:>11} {:22} {} frames{poses}{windshield}",
                camera.logical_name,
                camera.model.projection.name(),
                format!("{width}x{height}"),
                camera.model.shutter.name(),
                camera.shutters_us.len()
            ),
        ));
    }
    lines.push((
        "tracks",
        format!(
            "{}, {} dynamic, {} controllable",
            scenario.tracks.len(),
            count(|track| track.dynamic),
            count(|track| track.controllable)
        ),
    ));
    for class in classes(scenario) {
        lines.push((
            "",
            format!(
                "{:28} {:>5}, alive {:.1} to {:.1} s",
                class.name, class.tracks, class.shortest_s, class.longest_s
            ),
        ));
    }
    let map = scenario.map.as_ref().map_or("none".to_owned(), |map| format!("{} lines", map.lines.len()));
    lines.push(("map", map));
    lines.extend(scenario.notes.iter().map(|note| ("note", note.clone())));
    lines
}

fn as_json(scenario: &Scenario) -> Value {
    let cameras = scenario.cameras.iter().map(|camera| {
        json!({
            "name": camera.logical_name,
            "key": camera.key,
            "model": camera.model.projection.name(),
            "resolution": camera.model.resolution,
            "shutter": camera.model.shutter.name(),
            "windshield": camera.model.windshield.is_some(),
            "frames": camera.shutters_us.len(),
            "frame_poses": camera.shutter_poses.is_some(),
        })
    });
    let classes = classes(scenario).into_iter().map(|class| {
        json!({
            "class": class.name,
            "tracks": class.tracks,
            "shortest_s": class.shortest_s,
            "longest_s": class.longest_s,
        })
    });
    json!({
        "file": scenario.path,
        "sequence_id": scenario.sequence_id,
        "start_us": scenario.start_us,
        "end_us": scenario.end_us,
        "duration_s": seconds(scenario.end_us - scenario.start_us),
        "ego": {"poses": scenario.ego.poses.len(), "path_m": path_m(scenario)},
        "cameras": cameras.collect::<Vec<_>>(),
        "tracks": {
            "count": scenario.tracks.len(),
            "dynamic": scenario.tracks.iter().filter(|track| track.dynamic).count(),
            "controllable": scenario.tracks.iter().filter(|track| track.controllable).count(),
            "classes": classes.collect::<Vec<_>>(),
        },
        "map_lines": scenario.map.as_ref().map(|map| map.lines.len()),
        "notes": scenario.notes,
    })
}

/// The most frequent first; those of equal number by name.
fn classes(scenario: &Scenario) -> Vec<Class<'_>> {
    let mut all: Vec<Class> = Vec::new();
    for track in scenario.tracks.iter() {
        let times = &track.trajectory.timestamps_us;
        let life_s = times.first().zip(times.last()).map_or(0.0, |(first, last)| seconds(last - first));
        match all.iter_mut().find(|class| class.name == track.class) {
            Some(class) => {
                class.tracks += 1;
                class.shortest_s = class.shortest_s.min(life_s);
                class.longest_s = class.longest_s.max(life_s);
            }
            None => {
                all.push(Class { name: &track.class, tracks: 1, shortest_s: life_s, longest_s: life_s });
            }
        }
    }
    all.sort_by(|a, b| b.tracks.cmp(&a.tracks).then_with(|| a.name.cmp(b.name)));
    all
}

fn path_m(scenario: &Scenario) -> f64 {
    let steps = scenario.ego.poses.iter().zip(scenario.ego.poses.iter().skip(1));
    steps.map(|(from, to)| from.translation_m.distance(to.translation_m)).sum()
}

fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}
