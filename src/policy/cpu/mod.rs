//! The `cpu` backend: packed kernels over plain buffers.
//!
//! Weights are packed once (or mapped from a sidecar), every buffer of a step is kept for the next one, and
//! nothing that the read-out cannot see is computed. Inputs of a batch run one after the other: a single one
//! already keeps the cores at the arithmetic's limit, so a batch would only make the first answer later.
//! Without AVX-512 bf16 instructions bf16 weights are widened and computed in f32.

mod decoder;
mod linear;
mod loader;
mod mlp;
mod reuse;
mod sidecar;
mod tactile;
mod threads;
mod vision;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rayon::ThreadPool;

pub use sidecar::SidecarKey;
pub use threads::available_cores;

use super::backend::{
    Backend, BackendError, BackendInfo, CancelFlag, Dtype, Inference, Input, StageTimes, Touch, check_input,
    checked_action,
};
use super::config::{ModelConfig, Part};
use super::kernels::buffers::Matrix;
use super::kernels::operand::Operand;
use super::kernels::pack::Precision;
use super::kernels::{Isa, Level};
use super::plan::{Influence, Layout};
use super::tensors::EMBED_TOKENS;
use super::weights::Weights;
use decoder::Decoder;
use loader::{Loader, kernel_error};
use mlp::Mlp;
use reuse::{ContentHash, ImageCache, Sequence, SequenceCache, Token, content_hash};
use sidecar::Sidecar;
use tactile::Tactile;
use vision::Vision;

/// Packed weights smaller than this are made faster than a file is worth.
const SIDECAR_MIN_BYTES: u64 = 64 << 20;
/// Keys and values of earlier requests kept, in bytes.
const SEQUENCE_BYTES: usize = 160 << 20;
/// Image tokens of earlier requests kept, in bytes.
const IMAGE_BYTES: usize = 32 << 20;

/// How the network is computed and what is kept.
#[derive(Debug, Clone)]
pub struct CpuOptions {
    /// Number format of the large products. f16 weights are widened to f32.
    pub dtype: Dtype,
    /// Worker threads; `None` takes every physical core this process may use.
    pub threads: Option<usize>,
    /// Instructions to use.
    pub isa: Isa,
    /// Folder where packed weights are kept for the next start; `None` keeps none.
    pub packed_dir: Option<PathBuf>,
    /// Packed weights are kept when they are at least this large.
    pub packed_min_bytes: u64,
    /// Limit of the keys and values kept from earlier requests, in bytes.
    pub sequence_bytes: usize,
}

impl CpuOptions {
    /// All cores, all instructions, nothing kept on disk.
    #[must_use]
    pub fn new(dtype: Dtype) -> Self {
        Self {
            dtype,
            threads: None,
            isa: Isa::detect(),
            packed_dir: None,
            packed_min_bytes: SIDECAR_MIN_BYTES,
            sequence_bytes: SEQUENCE_BYTES,
        }
    }
}

/// The network over packed weights.
pub struct CpuBackend {
    info: BackendInfo,
    pool: Arc<ThreadPool>,
    network: Network,
}

struct Network {
    isa: Isa,
    config: ModelConfig,
    /// Whether the read-out sees more than the picture, so that a sequence's start may come again.
    reuses: bool,
    vision: Vision,
    tactile: Option<Tactile>,
    decoder: Decoder,
    head: Mlp,
    /// Kept open for the rows of the token embedding.
    weights: Weights,
    black_touch: Option<Vec<f32>>,
    touch: Vec<f32>,
    stream: Matrix<f32>,
    read: Operand,
    action: Matrix<f32>,
    sequences: SequenceCache,
    images: ImageCache,
}

/// Element type of products too small or too delicate for 8 bits.
fn small_precision(large: Precision, isa: Isa) -> Precision {
    match large {
        Precision::Int8 => Precision::Bf16.supported_on(isa),
        other => other,
    }
}

fn check_cancelled(cancel: &CancelFlag) -> Result<(), BackendError> {
    if cancel.is_cancelled() { Err(BackendError::Cancelled) } else { Ok(()) }
}

impl CpuBackend {
    /// Packs the weights, or maps them packed.
    ///
    /// # Errors
    /// [`BackendError::Load`] when a tensor is missing or not finite, or int8 is asked of a processor without
    /// VNNI.
    pub fn load(config: &ModelConfig, weights: Weights, options: &CpuOptions) -> Result<Self, BackendError> {
        let isa = options.isa;
        let asked = match options.dtype {
            Dtype::F32 | Dtype::F16 => Precision::F32,
            Dtype::Bf16 => Precision::Bf16,
            Dtype::Int8 if isa.level() < Level::Avx512Vnni => {
                return Err(BackendError::Load(format!(
                    "int8 needs AVX-512 VNNI; this processor offers {isa}"
                )));
            }
            Dtype::Int8 => Precision::Int8,
        };
        let precision = asked.supported_on(isa);
        let pool = Arc::new(threads::pool(options.threads)?);
        let key = SidecarKey::new(weights.fingerprint().to_owned(), isa, precision);
        let mut sidecar = Sidecar::open(options.packed_dir.as_deref(), &key);
        let built = pool.install(|| Network::load(config, &weights, &mut sidecar, isa, precision));
        let (parts, parameters_used, weight_bytes) = built?;
        let (vision, tactile, decoder, head) = parts;
        let mapped = if sidecar.is_mapped() { ", mapped" } else { "" };
        let info = BackendInfo {
            name: "cpu",
            device: "cpu".to_owned(),
            dtype: options.dtype,
            kernels: format!("{isa} {precision:?}{mapped}").to_lowercase(),
            threads: pool.current_num_threads(),
            weight_bytes,
            parameters_used,
            max_batch: 1,
        };
        sidecar.finish(options.packed_min_bytes);
        let influence = Influence::of(config);
        let network = Network {
            isa,
            config: config.clone(),
            reuses: !influence.image_only(),
            vision,
            tactile,
            decoder,
            head,
            weights,
            black_touch: None,
            touch: Vec::new(),
            stream: Matrix::default(),
            read: Operand::new(Precision::F32),
            action: Matrix::default(),
            sequences: SequenceCache::new(if influence.image_only() { 0 } else { options.sequence_bytes }),
            images: ImageCache::new(if influence.image_only() { 0 } else { IMAGE_BYTES }),
        };
        Ok(Self { info, pool, network })
    }
}

type Parts = (Vision, Option<Tactile>, Decoder, Mlp);

impl Network {
    fn load(
        config: &ModelConfig,
        weights: &Weights,
        sidecar: &mut Sidecar,
        isa: Isa,
        precision: Precision,
    ) -> Result<(Parts, u64, u64), BackendError> {
        let influence = Influence::of(config);
        let mut loader = Loader::new(weights, sidecar, isa, precision);
        let vision = Vision::load(&mut loader, config)?;
        let tactile = if influence.tactile { Some(Tactile::load(&mut loader, config)?) } else { None };
        let decoder = Decoder::load(&mut loader, config)?;
        let head = Mlp::action_head(&mut loader)?;
        let mut parameters = loader.parameters;
        if influence.text {
            parameters += weights.view(EMBED_TOKENS)?.len() as u64;
        }
        let bytes = loader.bytes;
        Ok(((vision, tactile, decoder, head), parameters, bytes))
    }

    fn infer(&mut self, input: &Input) -> Result<Inference, BackendError> {
        check_input(&self.config, input)?;
        check_cancelled(&input.cancel)?;
        let with_tactile = input.touch != Touch::Absent;
        let layout = Layout::visible(&self.config, input.token_ids.len(), with_tactile);
        if layout.len == 0 {
            return Err(BackendError::Shape("the sequence is empty".to_owned()));
        }
        let tokens = self.tokens(&layout, input);
        let start = Instant::now();
        let decoder = &self.decoder;
        let reuses = self.reuses;
        let mut sequence = self.sequences.take(&tokens, |positions| decoder.keys(positions, reuses));
        if !reuses {
            sequence.tokens.clear();
            sequence.keys.reserve(tokens.len());
        }
        let result = self.fill_and_read(input, &layout, &tokens, &mut sequence, start);
        if result.is_ok() {
            sequence.tokens = tokens;
        }
        // After a failure the kept tokens are the ones that were reused: the rest may be half written.
        self.sequences.put(sequence);
        result
    }

    /// What each position is computed from.
    fn tokens(&self, layout: &Layout, input: &Input) -> Vec<Token> {
        let hash = if self.reuses { content_hash(&input.pixel_values) } else { ContentHash::default() };
        let mut tokens = Vec::with_capacity(layout.len);
        for (part, range) in &layout.parts {
            match part {
                Part::Image => tokens.extend((0..range.len()).map(|patch| Token::Patch(hash, patch))),
                Part::Tactile => tokens.push(match &input.touch {
                    Touch::Picture(pixels) if self.reuses => Token::Touch(content_hash(pixels)),
                    _ => Token::BlackTouch,
                }),
                Part::Text => {
                    tokens.extend(input.token_ids.iter().take(range.len()).map(|id| Token::Text(*id)));
                }
            }
        }
        tokens
    }

    fn fill_and_read(
        &mut self,
        input: &Input,
        layout: &Layout,
        tokens: &[Token],
        sequence: &mut Sequence,
        start: Instant,
    ) -> Result<Inference, BackendError> {
        let past = sequence.tokens.len();
        let width = self.config.llm.hidden_size;
        self.stream.reshape(tokens.len() - past, width);
        if layout.range(Part::Tactile).is_some_and(|range| range.end > past) {
            self.touch_token(&input.touch)?;
        }
        let touched = Instant::now();
        if let Some(range) = layout.range(Part::Image)
            && range.end > past
        {
            let hash = match tokens.get(range.start) {
                Some(Token::Patch(hash, _)) if self.reuses => Some(*hash),
                _ => None,
            };
            self.image_tokens(input, hash, range.start, past)?;
        }
        let seen = Instant::now();
        for (part, range) in &layout.parts {
            for position in range.start.max(past)..range.end {
                let row = self.stream.row_mut(position - past);
                match part {
                    Part::Image => {}
                    Part::Tactile => row.copy_from_slice(&self.touch),
                    Part::Text => {
                        let id = input.token_ids.get(position - range.start).copied().unwrap_or_default();
                        self.weights.view(EMBED_TOKENS)?.read_f32(id as usize * width, row);
                    }
                }
            }
        }
        self.decoder.read(
            self.isa,
            &mut self.stream,
            past,
            &mut sequence.keys,
            &input.cancel,
            &mut self.read,
        )?;
        self.head.run(self.isa, &self.read, &mut self.action).map_err(|error| kernel_error(&error))?;
        let stages = StageTimes { tactile: touched - start, vision: seen - touched, decoder: seen.elapsed() };
        Ok(Inference { action_norm: checked_action(self.action.row(0))?, stages, reused_tokens: past })
    }

    /// The tactile token to `self.touch`; the black picture's is computed once.
    fn touch_token(&mut self, touch: &Touch) -> Result<(), BackendError> {
        let Some(tactile) = &mut self.tactile else {
            return Err(BackendError::Load("the tactile encoder is not loaded".to_owned()));
        };
        match touch {
            Touch::Picture(pixels) => tactile.run(self.isa, pixels, &mut self.touch),
            Touch::Black | Touch::Absent => {
                if self.black_touch.is_none() {
                    let mut token = Vec::new();
                    tactile.run(self.isa, &self.config.tactile.black_picture(), &mut token)?;
                    self.black_touch = Some(token);
                }
                self.touch.clear();
                self.touch.extend_from_slice(self.black_touch.as_deref().unwrap_or_default());
                Ok(())
            }
        }
    }

    /// The image tokens from position `past` on to their rows of `self.stream`; the image starts at `first`.
    fn image_tokens(
        &mut self,
        input: &Input,
        hash: Option<ContentHash>,
        first: usize,
        past: usize,
    ) -> Result<(), BackendError> {
        let copy = |tokens: &Matrix<f32>, stream: &mut Matrix<f32>| {
            for index in past.saturating_sub(first)..tokens.rows() {
                stream.row_mut(first + index - past).copy_from_slice(tokens.row(index));
            }
        };
        if let Some(tokens) = hash.as_ref().and_then(|hash| self.images.get(hash)) {
            copy(tokens, &mut self.stream);
            return Ok(());
        }
        let mut tokens = self.images.spare();
        self.vision.run(self.isa, &input.pixel_values, &input.cancel, &mut tokens)?;
        copy(&tokens, &mut self.stream);
        self.images.put(hash.unwrap_or_default(), tokens);
        Ok(())
    }
}

impl Backend for CpuBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn infer(&mut self, batch: &[Input]) -> Vec<Result<Inference, BackendError>> {
        let pool = Arc::clone(&self.pool);
        let network = &mut self.network;
        pool.install(|| batch.iter().map(|input| network.infer(input)).collect())
    }
}

#[cfg(test)]
mod tests;
