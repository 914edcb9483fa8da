//! What a replay found.

use serde_json::json;

use crate::cli::output::say;
use crate::cli::predict::COMPONENTS;
use crate::policy::recording::{Comparison, Entry, Recording};
use crate::policy::stats::ACTION_DIM;

/// Steps named one by one at most.
const NAMED: usize = 20;

/// Collects steps.
pub struct Report {
    target: String,
    tolerance: f64,
    comparison: Comparison,
    above: Vec<(String, f64)>,
    skipped: Vec<(String, String)>,
    failed: Vec<(String, String)>,
    recordings: Vec<String>,
}

impl Report {
    pub fn new(target: String, tolerance: f64) -> Self {
        Self {
            target,
            tolerance,
            comparison: Comparison::default(),
            above: Vec::new(),
            skipped: Vec::new(),
            failed: Vec::new(),
            recordings: Vec::new(),
        }
    }

    pub fn recording(&mut self, recording: &Recording) {
        let header = &recording.header;
        let model = header.model.as_deref().unwrap_or("no model");
        let stats = header.stats.as_ref().map_or("none", |stats| stats.sha256.as_str());
        let torn = if recording.torn { ", last line torn" } else { "" };
        let path = recording.path.display();
        self.recordings
            .push(format!("{path}: {model}, statistics {stats}, {} requests{torn}", recording.entries.len()));
    }

    pub fn steps(&self) -> usize {
        self.comparison.steps + self.failed.len()
    }

    pub fn compare(&mut self, entry: &Entry, recorded: &[f32; ACTION_DIM], now: &[f32; ACTION_DIM]) {
        let largest = self.comparison.add(recorded, now);
        if largest > self.tolerance {
            self.above.push((entry.id.clone(), largest));
        }
    }

    pub fn skip(&mut self, entry: &Entry, reason: &str) {
        self.skipped.push((entry.id.clone(), reason.to_owned()));
    }

    pub fn fail(&mut self, entry: &Entry, reason: &str) {
        self.failed.push((entry.id.clone(), reason.to_owned()));
    }

    /// Whether there was something to compare, and all of it is within the tolerance.
    pub fn same(&self) -> bool {
        self.comparison.steps > 0 && self.above.is_empty() && self.failed.is_empty()
    }

    pub fn print(&self, as_json: bool) -> std::io::Result<()> {
        if as_json { say(&self.json().to_string()) } else { self.print_text() }
    }

    fn print_text(&self) -> std::io::Result<()> {
        for recording in &self.recordings {
            say(&format!("recorded   {recording}"))?;
        }
        say(&format!("now        {}", self.target))?;
        let comparison = &self.comparison;
        say(&format!("compared   {} steps, {} bit-equal", comparison.steps, comparison.bit_equal))?;
        say("component  bit-equal  max abs    mean abs")?;
        for (name, component) in COMPONENTS.iter().zip(&comparison.components) {
            let mean = comparison.mean_abs(component);
            say(&format!("{name:9}  {:9}  {:.3e}  {mean:.3e}", component.bit_equal, component.max_abs))?;
        }
        for (id, largest) in self.above.iter().take(NAMED) {
            say(&format!("differs    {id} by {largest:.3e}"))?;
        }
        for (id, reason) in self.failed.iter().take(NAMED) {
            say(&format!("failed     {id}: {reason}"))?;
        }
        for (id, reason) in self.skipped.iter().take(NAMED) {
            say(&format!("skipped    {id}: {reason}"))?;
        }
        let verdict = if self.same() { "same" } else { "different" };
        say(&format!(
            "{verdict}: {} above {:e}, {} failed, {} skipped",
            self.above.len(),
            self.tolerance,
            self.failed.len(),
            self.skipped.len()
        ))
    }

    fn json(&self) -> serde_json::Value {
        let comparison = &self.comparison;
        let components: serde_json::Map<_, _> = COMPONENTS
            .iter()
            .zip(&comparison.components)
            .map(|(name, component)| {
                let figures = json!({
                    "bit_equal": component.bit_equal,
                    "max_abs": component.max_abs,
                    "mean_abs": comparison.mean_abs(component),
                });
                ((*name).to_owned(), figures)
            })
            .collect();
        let named = |list: &[(String, String)]| -> Vec<_> {
            list.iter().map(|(id, reason)| json!({ "id": id, "reason": reason })).collect()
        };
        let above: Vec<_> =
            self.above.iter().map(|(id, largest)| json!({ "id": id, "max_abs": largest })).collect();
        json!({
            "same": self.same(),
            "target": self.target,
            "tolerance": self.tolerance,
            "steps": comparison.steps,
            "bit_equal": comparison.bit_equal,
            "components": components,
            "above_tolerance": above,
            "failed": named(&self.failed),
            "skipped": named(&self.skipped),
        })
    }
}
