//! Sample scenarios, made: a drive through a small town, in the archive layout of real ones, for trying the program and
//! for its tests. The same options make the same bytes. There is no reconstruction inside: pictures come from the
//! built-in renderer.

mod beside;
mod cameras;
mod documents;
mod random;
mod recording;
#[cfg(test)]
mod tests;
mod town;
mod traffic;
mod xodr;

use std::io::{Cursor, Write as _};

use thiserror::Error;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use recording::Recording;

/// The most objects a sample may have.
pub const MAX_TRACKS: usize = 300;
/// As many cameras as the rig has places for.
pub const MAX_CAMERAS: usize = cameras::CAMERAS.len();

/// Which lenses the cameras have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LensKind {
    /// NVIDIA's f-theta.
    #[default]
    Ftheta,
    /// OpenCV pinhole with distortion.
    Pinhole,
    /// OpenCV fisheye.
    Fisheye,
    /// One after another.
    Mixed,
}

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleOptions {
    /// Another seed, other cars and people.
    pub seed: u64,
    /// From the first ego pose to the last, in seconds: 1 to 60.
    pub duration_s: f64,
    /// Objects to place, up to [`MAX_TRACKS`]; those that never come near are not recorded.
    pub tracks: usize,
    /// 1 to [`MAX_CAMERAS`].
    pub cameras: usize,
    /// Which lenses they have.
    pub model: LensKind,
    /// Whether the front cameras look through a windshield.
    pub windshield: bool,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self { seed: 1, duration_s: 28.0, tracks: 90, cameras: 6, model: LensKind::Ftheta, windshield: false }
    }
}

/// Why no sample was made.
#[derive(Debug, Error)]
pub enum SampleError {
    /// A number out of range.
    #[error("{what} is {value}, which must be between {least} and {most}")]
    Option {
        /// Which one.
        what: &'static str,
        /// As given.
        value: f64,
        /// The smallest allowed.
        least: f64,
        /// The largest allowed.
        most: f64,
    },
    /// The archive could not be put together.
    #[error("cannot write the archive: {0}")]
    Archive(#[from] zip::result::ZipError),
    /// A member could not be written.
    #[error("cannot write the archive: {0}")]
    Write(#[from] std::io::Error),
}

impl SampleOptions {
    /// The archive's bytes.
    ///
    /// # Errors
    /// On options out of range.
    pub fn archive(&self) -> Result<Vec<u8>, SampleError> {
        let check = |what, value: f64, least: f64, most: f64| {
            let fits = (least..=most).contains(&value);
            fits.then_some(()).ok_or(SampleError::Option { what, value, least, most })
        };
        check("the duration in seconds", self.duration_s, 1.0, 60.0)?;
        check("the number of tracks", self.tracks as f64, 0.0, MAX_TRACKS as f64)?;
        check("the number of cameras", self.cameras as f64, 1.0, MAX_CAMERAS as f64)?;
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let stored =
            SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(64);
        for (name, content) in documents::members(&Recording::new(self), self) {
            archive.start_file(name, stored)?;
            archive.write_all(content.as_bytes())?;
        }
        Ok(archive.finish()?.into_inner())
    }
}
