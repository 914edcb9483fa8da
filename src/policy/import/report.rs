//! What an import did.

use std::fmt;
use std::path::PathBuf;

use super::ImportArgs;
use super::checkpoint::Checkpoint;
use super::merge::Merged;
use super::source::Source;
use super::writer::Entry;
use crate::policy::stats::ActionStats;

/// Figures of a finished import; its `Display` is what the command prints.
#[derive(Debug, Clone)]
pub struct ImportReport {
    /// The model folder.
    pub out: PathBuf,
    /// Numbers in all tensors together, each counted once.
    pub parameters: u64,
    /// Tensors written.
    pub tensors: usize,
    /// Bytes of weights written.
    pub bytes: u64,
    /// Number formats in the file, widest first.
    pub formats: Vec<&'static str>,
    /// Tensors taken from the hub's weights because the checkpoint lacks them.
    pub from_hub: usize,
    /// Second names of ResNet tensors that were dropped.
    pub aliases: usize,
    /// Training step of the checkpoint, if it says so.
    pub global_step: Option<i64>,
    /// Hash of the statistics.
    pub stats_sha256: String,
    /// The files read.
    pub sources: Vec<Source>,
    /// What is worth knowing and not wrong.
    pub notes: Vec<String>,
}

impl ImportReport {
    pub(super) fn new(
        args: &ImportArgs,
        checkpoint: &Checkpoint,
        merged: &Merged<'_>,
        entries: &[Entry],
        stats: &ActionStats,
        sources: Vec<Source>,
    ) -> Self {
        let mut formats: Vec<&'static str> = Vec::new();
        for entry in entries.iter().filter(|entry| entry.element.is_weight()) {
            if !formats.contains(&entry.element.name()) {
                formats.push(entry.element.name());
            }
        }
        Self {
            out: args.out.clone(),
            parameters: entries.iter().map(Entry::len).sum(),
            tensors: entries.len(),
            bytes: entries.iter().map(Entry::byte_len).sum(),
            formats,
            from_hub: merged.from_hub,
            aliases: merged.aliases,
            global_step: checkpoint.global_step(),
            stats_sha256: stats.sha256.clone(),
            sources,
            notes: merged.notes.clone(),
        }
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes as f64 / 1e6;
        writeln!(out, "imported into {}", self.out.display())?;
        writeln!(
            out,
            "  {} tensors, {} parameters, {megabytes:.1} MB as {}",
            self.tensors,
            self.parameters,
            self.formats.join(" and ")
        )?;
        if let Some(step) = self.global_step {
            writeln!(out, "  training step {step}")?;
        }
        writeln!(
            out,
            "  {} aliased names dropped, {} tensors from the hub's weights",
            self.aliases, self.from_hub
        )?;
        writeln!(out, "  action statistics {}", self.stats_sha256)?;
        for note in &self.notes {
            writeln!(out, "  note: {note}")?;
        }
        for source in &self.sources {
            writeln!(out, "  from {} ({} bytes, sha256 {})", source.name, source.bytes, source.sha256)?;
        }
        Ok(())
    }
}
