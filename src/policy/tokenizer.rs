//! Instructions to token ids, through whatever `tokenizer.json` the model brings.

use std::path::{Path, PathBuf};

use super::config::ModelConfig;

/// Why a tokenizer was refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenizerError {
    /// `tokenizer.json` is missing or malformed.
    #[error("{path}: {reason}")]
    Load {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// It makes ids the network has no embedding for.
    #[error("{path}: token `{token}` has id {id}, the model's vocabulary is {vocab_size}")]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// A token that does not fit.
        token: String,
        /// Its id.
        id: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// The text could not be encoded.
    #[error("instruction could not be tokenised: {0}")]
    Encode(String),
}

#[derive(serde::Deserialize)]
struct UnknownToken {
    model: UnknownTokenModel,
}

#[derive(serde::Deserialize)]
struct UnknownTokenModel {
    unk_token: Option<String>,
}

/// A loaded tokenizer that fits its model.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    unknown_id: Option<u32>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Tokenizer({} tokens)", self.inner.get_vocab_size(true))
    }
}

impl Tokenizer {
    /// Reads `dir/tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError`] names the file, and the token when an id is outside the model's vocabulary.
    pub fn load(dir: &Path, config: &ModelConfig) -> Result<Self, TokenizerError> {
        let path = dir.join("tokenizer.json");
        let bytes = std::fs::read(&path)
            .map_err(|error| TokenizerError::Load { path: path.clone(), reason: error.to_string() })?;
        let mut inner = tokenizers::Tokenizer::from_bytes(&bytes)
            .map_err(|error| TokenizerError::Load { path: path.clone(), reason: error.to_string() })?;
        let truncation = inner.with_truncation(None).map(|_| ());
        truncation.map_err(|error| TokenizerError::Load { path: path.clone(), reason: error.to_string() })?;
        inner.with_padding(None);
        let vocab_size = config.llm.vocab_size;
        let largest = inner.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
        if let Some((token, id)) = largest
            && id as usize >= vocab_size
        {
            return Err(TokenizerError::Vocabulary { path, token, id, vocab_size });
        }
        let unknown_id = serde_json::from_slice::<UnknownToken>(&bytes)
            .ok()
            .and_then(|file| file.model.unk_token)
            .and_then(|token| inner.token_to_id(&token));
        Ok(Self { inner, unknown_id })
    }

    /// How many of the ids stand for words the vocabulary does not have.
    #[must_use]
    pub fn unknown(&self, ids: &[u32]) -> usize {
        self.unknown_id.map_or(0, |unknown| ids.iter().filter(|id| **id == unknown).count())
    }

    /// Token ids of an instruction; nothing is added around it, and special strings in it count as special.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] with the library's reason.
    pub fn encode(&self, instruction: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self
            .inner
            .encode_fast(instruction, false)
            .map_err(|error| TokenizerError::Encode(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }
}
