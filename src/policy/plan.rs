//! What the read-out can see: which inputs reach the action, and which positions need computing.
//!
//! The decoder is causal, so nothing after the position that is read can change the action. For the
//! original's checkpoints (image first, read at the last image token) that leaves text and touch without any
//! influence; they are neither embedded nor computed, and the answer is the same to the last bit of the sums.

use std::ops::Range;

use serde::Serialize;

use super::config::{ModelConfig, Part, Readout};

/// Which inputs can change the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Influence {
    /// The camera picture.
    pub image: bool,
    /// The tactile picture.
    pub tactile: bool,
    /// The instruction.
    pub text: bool,
}

impl Influence {
    /// Follows from the sequence order and the read-out alone.
    #[must_use]
    pub fn of(config: &ModelConfig) -> Self {
        let visible = visible_parts(config);
        let sees = |part| visible.contains(&part);
        Self { image: sees(Part::Image), tactile: sees(Part::Tactile), text: sees(Part::Text) }
    }

    /// Whether the action is a function of the picture alone.
    #[must_use]
    pub fn image_only(self) -> bool {
        self.image && !self.tactile && !self.text
    }
}

/// The parts at or before the read-out, in sequence order.
#[must_use]
pub fn visible_parts(config: &ModelConfig) -> &[Part] {
    match config.readout {
        Readout::LastToken => &config.sequence,
        Readout::LastImage => {
            let image = config.sequence.iter().position(|part| *part == Part::Image);
            image.map_or(&config.sequence[..], |index| &config.sequence[..=index])
        }
    }
}

/// Where each part lies in one decoder sequence, positions counted from zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Parts in order with their positions; empty parts are left out.
    pub parts: Vec<(Part, Range<usize>)>,
    /// Tokens in all.
    pub len: usize,
    /// Position the action head reads; always `len - 1` for a layout of the visible parts.
    pub readout: usize,
}

impl Layout {
    /// The parts that matter, and nothing after the read-out.
    #[must_use]
    pub fn visible(config: &ModelConfig, text_tokens: usize, with_tactile: bool) -> Self {
        Self::build(config, visible_parts(config), text_tokens, with_tactile)
    }

    /// The whole sequence, as the original computes it.
    #[must_use]
    pub fn whole(config: &ModelConfig, text_tokens: usize, with_tactile: bool) -> Self {
        Self::build(config, &config.sequence, text_tokens, with_tactile)
    }

    fn build(config: &ModelConfig, parts: &[Part], text_tokens: usize, with_tactile: bool) -> Self {
        let text_tokens = text_tokens.min(config.max_text_tokens(with_tactile));
        let mut placed = Vec::with_capacity(3);
        let mut len = 0;
        let mut image_end = 0;
        for part in parts {
            let count = match part {
                Part::Image => config.vision.num_patches(),
                Part::Tactile => usize::from(with_tactile),
                Part::Text => text_tokens,
            };
            if count > 0 {
                placed.push((*part, len..len + count));
                len += count;
            }
            if *part == Part::Image {
                image_end = len;
            }
        }
        let last = match config.readout {
            Readout::LastImage => image_end,
            Readout::LastToken => len,
        };
        Self { parts: placed, len, readout: last.saturating_sub(1) }
    }

    /// Positions of `part`, if it is there.
    #[must_use]
    pub fn range(&self, part: Part) -> Option<Range<usize>> {
        self.parts.iter().find(|(placed, _)| *placed == part).map(|(_, range)| range.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(sequence: &[&str], readout: &str) -> ModelConfig {
        let text = include_str!("../../models/tiny/config.json");
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["sequence"] = serde_json::json!(sequence);
        value["readout"] = readout.into();
        ModelConfig::parse(&value.to_string(), Path::new("config.json")).unwrap()
    }

    #[test]
    fn a_read_out_at_the_last_image_token_sees_only_what_stands_before_it() {
        let original = config(&["image", "tactile", "text"], "last_image");
        assert!(Influence::of(&original).image_only());
        let layout = Layout::visible(&original, 5, true);
        assert_eq!((layout.len, layout.readout), (16, 15));
        let whole = Layout::whole(&original, 5, true);
        assert_eq!((whole.len, whole.readout), (22, 15));

        let text_first = config(&["text", "image", "tactile"], "last_image");
        assert_eq!(Influence::of(&text_first), Influence { image: true, tactile: false, text: true });
    }

    #[test]
    fn a_read_out_at_the_last_token_sees_everything() {
        let config = config(&["text", "image", "tactile"], "last_token");
        assert_eq!(Influence::of(&config), Influence { image: true, tactile: true, text: true });
        let layout = Layout::visible(&config, 4, true);
        assert_eq!(layout.range(Part::Image), Some(4..20));
        assert_eq!((layout.len, layout.readout), (21, 20));
        let silent = Layout::visible(&config, 0, false);
        assert_eq!((silent.len, silent.readout), (16, 15));
    }

    #[test]
    fn a_long_text_is_cut_and_the_picture_never_is() {
        let config = config(&["text", "image", "tactile"], "last_token");
        let layout = Layout::visible(&config, 10_000, true);
        assert_eq!(layout.len, config.tokenizer_model_max_length);
        assert_eq!(layout.range(Part::Image).map(|range| range.len()), Some(16));
    }
}
