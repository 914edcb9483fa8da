//! The whole network, nothing left out, with every intermediate tensor: what the shortcut is compared with.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::CandleBackend;
use crate::policy::backend::{BackendError, Input, Touch, check_input};
use crate::policy::plan::Layout;

/// One intermediate tensor, widened to f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// Shape, outermost first.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

/// Intermediate tensors by the names of `tests/fixtures/golden`.
pub type Trace = BTreeMap<&'static str, Traced>;

impl CandleBackend {
    /// Runs one input through the whole sequence and the whole decoder. Needs [`super::Scope::Whole`].
    ///
    /// # Errors
    /// As an ordinary step.
    pub fn trace(&mut self, input: &Input) -> Result<Trace, BackendError> {
        check_input(&self.config, input)?;
        self.trace_tensors(input).map_err(|error| super::device_error(&error))
    }

    fn trace_tensors(&mut self, input: &Input) -> candle_core::Result<Trace> {
        let mut trace = Trace::new();
        let mut keep = |name, tensor: &Tensor| -> candle_core::Result<()> {
            let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            trace.insert(name, Traced { shape: tensor.dims().to_vec(), values });
            Ok(())
        };
        let pixels = self.pixels(&[&input.pixel_values], self.config.vision.image_size)?;
        keep("pixel_values", &pixels)?;
        let embedded = self.vision.embed(&pixels)?;
        keep("patch_embeds", &embedded)?;
        let features = self.vision.encode(&embedded, &[])?;
        keep("vision_features", &features)?;
        let image = self.projector.forward(&features)?;
        keep("projected", &image)?;

        let mut touch = None;
        if let (Some(tactile), Some(picture)) = (&self.tactile, self.touch_picture(&input.touch)) {
            let picture = self.pixels(&[&picture], self.config.tactile.image_size)?;
            let pooled = tactile.pool(&picture)?;
            keep("tactile_pooled", &pooled)?;
            let token = tactile.token(&pooled)?;
            keep("tactile_embed", &token)?;
            touch = Some(token);
        }
        let layout = Layout::whole(&self.config, input.token_ids.len(), input.touch != Touch::Absent);
        let embeds = self.splice(&layout, &image, touch.as_ref(), &input.token_ids)?;
        keep("inputs_embeds", &embeds)?;
        let hidden = self.decoder.whole(&embeds)?;
        keep("hidden", &hidden)?;
        let used = hidden.narrow(1, layout.readout, 1)?.squeeze(1)?.contiguous()?;
        keep("hidden_used", &used)?;
        keep("action_norm", &self.head.forward(&used)?.squeeze(0)?)?;
        Ok(trace)
    }
}
