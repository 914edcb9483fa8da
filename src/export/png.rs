//! Pictures as files, `CAMERA/TIMESTAMP_US.png` by the instant asked for, and `export.json`: what was asked for, and what
//! is missing. Together as a zip archive, written as a stream and without compressing what is compressed already; or
//! below a folder.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use super::run::{Picture, Sample, Target};
use super::{ExportError, ExportPlan, Report};

/// Says what an export is.
const MANIFEST: &str = "export.json";

pub(super) struct ZipTarget<W: Write> {
    plan: Arc<ExportPlan>,
    archive: Option<ZipWriter<StreamWriter<W>>>,
}

impl<W: Write> ZipTarget<W> {
    pub(super) fn new(plan: Arc<ExportPlan>, out: W) -> Self {
        Self { plan, archive: Some(ZipWriter::new_stream(out)) }
    }

    fn member(&mut self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let archive = self.archive.as_mut().ok_or(ExportError::GivenUp)?;
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        archive.start_file(name, options)?;
        Ok(archive.write_all(bytes)?)
    }
}

impl<W: Write> Target for ZipTarget<W> {
    fn put(&mut self, sample: Sample) -> Result<(), ExportError> {
        let plan = Arc::clone(&self.plan);
        for (name, bytes) in files(&plan, sample) {
            self.member(&name, &bytes)?;
        }
        Ok(())
    }

    fn finish(&mut self, report: &Report) -> Result<(), ExportError> {
        self.member(MANIFEST, manifest(&self.plan, report).as_bytes())?;
        let archive = self.archive.take().ok_or(ExportError::GivenUp)?;
        Ok(archive.finish()?.into_inner().flush()?)
    }
}

pub(super) struct FolderTarget {
    plan: Arc<ExportPlan>,
    folder: PathBuf,
}

impl FolderTarget {
    pub(super) fn open(plan: Arc<ExportPlan>, folder: PathBuf) -> Result<Self, ExportError> {
        for camera in &plan.cameras {
            let below = folder.join(&camera.label);
            fs::create_dir_all(&below).map_err(|error| naming(&below, &error))?;
        }
        Ok(Self { plan, folder })
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let path = self.folder.join(name);
        Ok(fs::write(&path, bytes).map_err(|error| naming(&path, &error))?)
    }
}

impl Target for FolderTarget {
    fn put(&mut self, sample: Sample) -> Result<(), ExportError> {
        files(&self.plan, sample).try_for_each(|(name, bytes)| self.file(&name, &bytes))
    }

    fn finish(&mut self, report: &Report) -> Result<(), ExportError> {
        self.file(MANIFEST, manifest(&self.plan, report).as_bytes())
    }
}

/// The pictures that are there, with their names.
fn files(plan: &ExportPlan, sample: Sample) -> impl Iterator<Item = (String, bytes::Bytes)> {
    let timestamp_us = sample.timestamp_us;
    let named = plan.cameras.iter().zip(sample.pictures);
    named.filter_map(move |(camera, Picture { drawn, .. })| {
        Some((format!("{}/{timestamp_us}.png", camera.label), drawn.ok()?))
    })
}

fn manifest(plan: &ExportPlan, report: &Report) -> String {
    format!("{:#}\n", report.as_json(plan))
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
