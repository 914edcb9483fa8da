//! What to export, checked in one place: the command line and HTTP both come through here.

use std::sync::Arc;

use super::names;
use crate::render::{Encoding, MAX_SCALE, MAX_SIDE, ShotOptions};
use crate::scene::{Camera, Scenario};

/// Least size of pictures by that of the cameras.
pub const MIN_SCALE: f64 = 0.01;
/// Fewest samples a second.
pub const MIN_RATE_HZ: f64 = 0.001;
/// Most samples a second.
pub const MAX_RATE_HZ: f64 = 1000.0;
/// Most samples of one export: 27 hours at 10 a second.
const MAX_SAMPLES: u64 = 1_000_000;
/// The last instant whose nanoseconds fit into every reader's integers, in microseconds.
const LAST_US: i64 = i64::MAX / 1000;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Pictures, calibration, transforms, tracks: one file for viewers.
    Mcap,
    /// One PNG file a picture: a zip archive, or a folder.
    Png,
    /// Poses as a table.
    Csv,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mcap, Self::Png, Self::Csv];

    /// `mcap`, `png` or `csv`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mcap => "mcap",
            Self::Png => "png",
            Self::Csv => "csv",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Media type of the file.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Mcap => "application/octet-stream",
            Self::Png => "application/zip",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// What the file's name ends in.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "zip",
            other => other.name(),
        }
    }
}

/// What is wanted, as a client said it.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportRequest {
    /// What is written.
    pub format: Format,
    /// First and last instant, in microseconds, both inclusive; by default those of the scenario, which they are cut to.
    pub range_us: [Option<i64>; 2],
    /// Names of cameras; by default all. Poses have no cameras: ignored for CSV.
    pub cameras: Option<Vec<String>>,
    /// Samples a second, [`MIN_RATE_HZ`] to [`MAX_RATE_HZ`].
    pub rate_hz: f64,
    /// Size of the pictures by that of the cameras.
    pub scale: f64,
    /// JPEG quality of the pictures in MCAP, 1 to 100.
    pub quality: f32,
    /// Whether tracks are in it: in pictures, as cuboids, as rows.
    pub objects: bool,
}

impl ExportRequest {
    /// Everything, ten times a second, at a quarter of the size.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            range_us: [None; 2],
            cameras: None,
            rate_hz: 10.0,
            scale: 0.25,
            quality: 90.0,
            objects: true,
        }
    }
}

/// Why there is nothing to export.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// Too slow, too fast, or no number.
    #[error("the rate is {0} samples a second, not within {MIN_RATE_HZ} to {MAX_RATE_HZ}")]
    Rate(f64),
    /// Too small, too large, or no number.
    #[error("the scale is {0}, not within {MIN_SCALE} to {MAX_SCALE}")]
    Scale(f64),
    /// Pictures that no renderer draws.
    #[error("a picture of {width}x{height} of camera {camera:?} is more than {MAX_SIDE} pixels a side")]
    Size {
        /// Which camera.
        camera: String,
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// No JPEG has it.
    #[error("the quality is {0}, not within 1 to 100")]
    Quality(f32),
    /// Nothing of the scenario is in the range.
    #[error(
        "the range {start_us} to {end_us} has nothing of the scenario, which runs from {first_us} to {last_us}"
    )]
    Range {
        /// As asked.
        start_us: i64,
        /// As asked.
        end_us: i64,
        /// Of the scenario.
        first_us: i64,
        /// Of the scenario.
        last_us: i64,
    },
    /// An instant that cannot be written in nanoseconds since 1970.
    #[error("the instant {0} is not within 0 to {LAST_US}, as the format needs")]
    Instant(i64),
    /// No such camera.
    #[error("there is no camera {name:?}; the scenario has {known}")]
    Camera {
        /// As asked.
        name: String,
        /// Names, separated by commas.
        known: String,
    },
    /// Pictures were asked for, but of no camera.
    #[error("PNG needs at least one camera")]
    NoCamera,
    /// Longer than anybody means.
    #[error("{0} samples are more than {MAX_SAMPLES}: lower the rate or shorten the range")]
    Samples(u64),
}

impl RequestError {
    /// Which part of the request is wrong: the name of a query parameter.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Rate(_) | Self::Samples(_) => "rate_hz",
            Self::Scale(_) | Self::Size { .. } => "scale",
            Self::Quality(_) => "quality",
            Self::Range { .. } | Self::Instant(_) => "start_us",
            Self::Camera { .. } | Self::NoCamera => "cameras",
        }
    }
}

/// A camera of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportCamera {
    /// Its logical name.
    pub name: String,
    /// The same, fit for paths and topics, and no other camera's.
    pub label: String,
    /// Width and height of its pictures, in pixels.
    pub resolution: [u32; 2],
}

/// A request that makes sense for a scenario.
#[derive(Debug, Clone)]
pub struct ExportPlan {
    /// Of what.
    pub scenario: Arc<Scenario>,
    /// What is written.
    pub format: Format,
    /// First instant and an upper bound of the last, in microseconds.
    pub range_us: [i64; 2],
    /// Samples a second.
    pub rate_hz: f64,
    /// How many samples: at least one.
    pub samples: u64,
    /// Each once, in the order asked for. None for CSV.
    pub cameras: Vec<ExportCamera>,
    /// How pictures are drawn.
    pub shots: ShotOptions,
}

impl ExportPlan {
    /// Checks a request.
    ///
    /// # Errors
    /// The first thing that makes no sense.
    pub fn new(scenario: Arc<Scenario>, request: &ExportRequest) -> Result<Self, RequestError> {
        let ExportRequest { format, rate_hz, scale, quality, objects, .. } = *request;
        if !(MIN_RATE_HZ..=MAX_RATE_HZ).contains(&rate_hz) {
            return Err(RequestError::Rate(rate_hz));
        }
        if !(MIN_SCALE..=MAX_SCALE).contains(&scale) {
            return Err(RequestError::Scale(scale));
        }
        if !(1.0..=100.0).contains(&quality) {
            return Err(RequestError::Quality(quality));
        }
        let range_us = range(&scenario, request)?;
        let samples = samples(range_us, rate_hz)?;
        let cameras = if format == Format::Csv {
            Vec::new()
        } else {
            cameras(&scenario, request.cameras.as_deref(), scale)?
        };
        if format == Format::Png && cameras.is_empty() {
            return Err(RequestError::NoCamera);
        }
        let encoding = if format == Format::Png { Encoding::Png } else { Encoding::Jpeg(quality) };
        let shots = ShotOptions { scale, encoding, objects, ..ShotOptions::default() };
        Ok(Self { scenario, format, range_us, rate_hz, samples, cameras, shots })
    }

    /// The instant of a sample, in microseconds.
    #[must_use]
    pub fn instant(&self, index: u64) -> i64 {
        instant(self.range_us[0], self.rate_hz, index)
    }

    /// How many pictures there are if all can be drawn.
    #[must_use]
    pub fn pictures(&self) -> u64 {
        self.samples.saturating_mul(self.cameras.len() as u64)
    }

    /// What to call the file: scenario, seconds since its start, extension.
    #[must_use]
    pub fn file_name(&self) -> String {
        let scenario = &self.scenario;
        let seconds = self.range_us.map(|time_us| time_us.abs_diff(scenario.start_us) as f64 / 1e6);
        let sequence = names::plain(&scenario.sequence_id);
        format!("{sequence}_{:.1}-{:.1}s.{}", seconds[0], seconds[1], self.format.extension())
    }
}

fn range(scenario: &Scenario, request: &ExportRequest) -> Result<[i64; 2], RequestError> {
    let [first_us, last_us] = [scenario.start_us, scenario.end_us];
    let [start_us, end_us] = request.range_us;
    let (start_us, end_us) = (start_us.unwrap_or(first_us), end_us.unwrap_or(last_us));
    let cut = [start_us.max(first_us), end_us.min(last_us)];
    if cut[0] > cut[1] {
        return Err(RequestError::Range { start_us, end_us, first_us, last_us });
    }
    let outside = cut.into_iter().find(|time_us| !(0..=LAST_US).contains(time_us));
    match outside.filter(|_| request.format != Format::Csv) {
        Some(time_us) => Err(RequestError::Instant(time_us)),
        None => Ok(cut),
    }
}

fn samples([start_us, end_us]: [i64; 2], rate_hz: f64) -> Result<u64, RequestError> {
    let mut last = (end_us.abs_diff(start_us) as f64 * rate_hz / 1e6) as u64;
    if last >= MAX_SAMPLES {
        return Err(RequestError::Samples(last.saturating_add(1)));
    }
    while last > 0 && instant(start_us, rate_hz, last) > end_us {
        last -= 1;
    }
    while instant(start_us, rate_hz, last + 1) <= end_us && last + 1 < MAX_SAMPLES {
        last += 1;
    }
    Ok(last + 1)
}

fn instant(start_us: i64, rate_hz: f64, index: u64) -> i64 {
    start_us.saturating_add((index as f64 * 1e6 / rate_hz).round() as i64)
}

fn cameras(
    scenario: &Scenario,
    asked: Option<&[String]>,
    scale: f64,
) -> Result<Vec<ExportCamera>, RequestError> {
    let mut chosen: Vec<&Camera> = Vec::new();
    let mut choose = |camera| {
        if !chosen.iter().any(|known: &&Camera| known.logical_name == camera_name(camera)) {
            chosen.push(camera);
        }
    };
    match asked {
        // Of two cameras with one logical name the later counts: see render::shot.
        None => {
            let names = scenario.cameras.iter().map(camera_name);
            names.filter_map(|name| find(scenario, name)).for_each(&mut choose);
        }
        Some(names) => {
            for name in names {
                choose(find(scenario, name).ok_or_else(|| unknown(scenario, name))?);
            }
        }
    }
    let labels = names::distinct(chosen.iter().map(|camera| camera_name(camera)));
    let export = chosen.into_iter().zip(labels).map(|(camera, label)| {
        let resolution = camera.model.resolution.map(|side| ((f64::from(side) * scale) as u32).max(1));
        if resolution.iter().any(|side| *side > MAX_SIDE) {
            let [width, height] = resolution;
            return Err(RequestError::Size { camera: camera.logical_name.clone(), width, height });
        }
        Ok(ExportCamera { name: camera.logical_name.clone(), label, resolution })
    });
    export.collect()
}

/// A camera by logical name or by its key in the file.
pub(super) fn find<'a>(scenario: &'a Scenario, name: &str) -> Option<&'a Camera> {
    let by_key = || scenario.cameras.iter().find(|camera| camera.key == name);
    scenario.cameras.iter().rfind(|camera| camera.logical_name == name).or_else(by_key)
}

fn camera_name(camera: &Camera) -> &str {
    &camera.logical_name
}

fn unknown(scenario: &Scenario, name: &str) -> RequestError {
    let known: Vec<_> = scenario.cameras.iter().map(camera_name).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    RequestError::Camera { name: name.to_owned(), known }
}
