//! From a request and its answer to lines and pictures; runs on the recorder's thread only.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use image::ImageEncoder;
use image::codecs::png::PngEncoder;
use sha2::{Digest, Sha256};

use super::entry::{Entry, EntryTimings, Header, PictureRef, Redaction, StatsRef};
use super::folder::Folder;
use super::recorder::RecordOptions;
use super::{VERSION, utc};
use crate::policy::description::ModelDescription;
use crate::policy::image::Format;
use crate::policy::request::{Picture, PredictError, PredictRequest, Prediction, Timings};

/// What the recorder is told of one request.
pub(super) struct Observed {
    pub request: PredictRequest,
    pub answer: Result<Prediction, PredictError>,
    pub model: Option<Arc<ModelDescription>>,
    pub time: SystemTime,
}

/// How one line came out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Line,
    OverLimit,
}

/// Writes recordings one after another.
pub(super) struct Writer {
    options: RecordOptions,
    open: Option<(Folder, Option<Arc<ModelDescription>>)>,
    closed_bytes: u64,
}

impl Writer {
    pub fn new(options: RecordOptions) -> Self {
        Self { options, open: None, closed_bytes: 0 }
    }

    pub fn write(&mut self, observed: &Observed) -> io::Result<Written> {
        let open_bytes = self.open.as_ref().map_or(0, |(folder, _)| folder.bytes);
        if self.closed_bytes + open_bytes >= self.options.limit_bytes {
            return Ok(Written::OverLimit);
        }
        let (images, text) = (self.options.images, self.options.text);
        let folder = self.folder(observed)?;
        let request = &observed.request;
        let image = keep_picture(folder, &request.image, images)?;
        let tactile =
            request.tactile.as_ref().map(|touch| keep_picture(folder, touch, images)).transpose()?;
        let answer = observed.answer.as_ref();
        let entry = Entry {
            id: uuid::Uuid::now_v7().to_string(),
            time_us: utc::microseconds(observed.time),
            wire: request.wire.to_owned(),
            robot: request.robot_id.as_deref().and_then(|id| keep_text(id, text)),
            instruction: keep_text(&request.instruction, text),
            image,
            tactile,
            force_black_tactile: request.force_black_tactile,
            outcome: answer.map_or_else(|error| error.code(), |_| "ok").to_owned(),
            error: answer.err().map(ToString::to_string).filter(|_| text == Redaction::Full),
            action: answer.ok().map(|prediction| prediction.action),
            warnings: answer.map_or_else(|_| Vec::new(), codes),
            cached: answer.is_ok_and(|prediction| prediction.cached),
            timings: answer.map_or_else(|_| EntryTimings::default(), |prediction| times(&prediction.timings)),
        };
        folder.line(&entry)?;
        Ok(Written::Line)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |(folder, _)| folder.flush())
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |(folder, _)| folder.sync())
    }

    /// The recording this request belongs to: the open one, unless it is full or has another model.
    fn folder(&mut self, observed: &Observed) -> io::Result<&mut Folder> {
        let model = observed.answer.as_ref().ok().map(|answer| &answer.model).or(observed.model.as_ref());
        let fits = |(folder, its): &(Folder, Option<Arc<ModelDescription>>)| {
            let same = model.is_none_or(|model| its.as_ref().is_some_and(|its| Arc::ptr_eq(its, model)));
            same && folder.bytes < self.options.rotate_bytes
        };
        if !self.open.as_ref().is_some_and(fits)
            && let Some((mut full, _)) = self.open.take()
        {
            full.sync()?;
            self.closed_bytes += full.bytes;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => (self.begin(observed.time, model)?, model.cloned()),
        };
        Ok(&mut self.open.insert(open).0)
    }

    fn begin(&self, time: SystemTime, model: Option<&Arc<ModelDescription>>) -> io::Result<Folder> {
        let started_us = utc::microseconds(time);
        let mut folder = Folder::create(&self.options.dir, &utc::stamp(started_us))?;
        folder.line(&Header {
            neuro_recording: VERSION,
            started_us,
            server: env!("CARGO_PKG_VERSION").to_owned(),
            model: model.map(|model| model.id.clone()),
            weights: model.map(|model| model.weights.clone()),
            stats: model
                .map(|model| StatsRef { id: model.stats.id.clone(), sha256: model.stats.sha256.clone() }),
            backend: model.map(|model| {
                let backend = &model.backend;
                format!("{} {} {}", backend.name, backend.device, backend.dtype.name())
            }),
            images: self.options.images.as_str().to_owned(),
            text: self.options.text.as_str().to_owned(),
        })?;
        tracing::info!(path = %folder.path().display(), "recording");
        Ok(folder)
    }
}

fn codes(prediction: &Prediction) -> Vec<String> {
    prediction.warnings.iter().map(|warning| warning.code.to_owned()).collect()
}

fn times(timings: &Timings) -> EntryTimings {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    EntryTimings {
        decode_ms: ms(timings.decode),
        resize_ms: ms(timings.resize),
        queue_ms: ms(timings.queue),
        tactile_ms: ms(timings.tactile),
        vision_ms: ms(timings.vision),
        decoder_ms: ms(timings.decoder),
        total_ms: ms(timings.total),
    }
}

fn keep_text(text: &str, how: Redaction) -> Option<String> {
    match how {
        Redaction::Full => Some(text.to_owned()),
        Redaction::Hash => Some(format!("sha256:{}", hash(&[text.as_bytes()]))),
        Redaction::None => None,
    }
}

fn keep_picture(folder: &mut Folder, picture: &Picture, how: Redaction) -> io::Result<PictureRef> {
    let (bytes, size): (Cow<'_, [u8]>, Vec<u8>) = match picture {
        Picture::Encoded(bytes) => (Cow::Borrowed(bytes.as_ref()), Vec::new()),
        Picture::Pixels(pixels) => {
            let (width, height) = (pixels.width().to_le_bytes(), pixels.height().to_le_bytes());
            (Cow::Borrowed(pixels.data()), [width, height].concat())
        }
    };
    let mut kept = PictureRef { file: None, sha256: None, bytes: bytes.len() as u64 };
    if how == Redaction::None {
        return Ok(kept);
    }
    let sha256 = hash(&[&size, &bytes]);
    if how == Redaction::Full {
        let (extension, file) = match picture {
            Picture::Encoded(bytes) => (extension(bytes), bytes.to_vec()),
            Picture::Pixels(pixels) => {
                let mut png = Vec::new();
                PngEncoder::new(&mut png)
                    .write_image(
                        pixels.data(),
                        pixels.width(),
                        pixels.height(),
                        image::ExtendedColorType::Rgb8,
                    )
                    .map_err(io::Error::other)?;
                ("png", png)
            }
        };
        kept.file = Some(folder.picture(&sha256, extension, &file)?);
    }
    kept.sha256 = Some(sha256);
    Ok(kept)
}

fn extension(bytes: &[u8]) -> &'static str {
    match Format::of(bytes) {
        Some(Format::Jpeg) => "jpg",
        Some(Format::Png) => "png",
        Some(Format::Bmp) => "bmp",
        Some(Format::Gif) => "gif",
        Some(Format::WebP) => "webp",
        Some(Format::Tiff) => "tiff",
        None => "bin",
    }
}

/// First 16 hex digits of the SHA-256 over all parts.
fn hash(parts: &[&[u8]]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(part);
    }
    sha.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
