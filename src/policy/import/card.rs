//! The model card of an imported model: what it is and where it came from.

use super::ImportReport;
use crate::policy::config::ModelConfig;
use crate::policy::plan::Influence;
use crate::policy::stats::ActionStats;

/// `README.md`.
pub(super) fn text(report: &ImportReport, config: &ModelConfig, stats: &ActionStats) -> String {
    let name = report.out.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy());
    let step = report.global_step.map_or_else(String::new, |step| format!(", training step {step}"));
    let influence = Influence::of(config);
    let inputs: Vec<&str> =
        [("image", influence.image), ("tactile", influence.tactile), ("text", influence.text)]
            .into_iter()
            .filter_map(|(name, counts)| counts.then_some(name))
            .collect();
    let (vision, llm) = (&config.vision, &config.llm);
    let mut card = format!(
        "# {name}\n\n\
         Imported from a Nano-VTLA checkpoint{step} by `neuro model import`.\n\n\
         | | |\n| --- | --- |\n\
         | parameters | {} in {} tensors, {} |\n\
         | vision tower | {} wide, {} layers, {} heads, {} px, {} image tokens |\n\
         | decoder | {} wide, {} layers, {} heads ({} for keys), vocabulary {} |\n\
         | action | {} numbers: metres, radians, gripper |\n\
         | inputs that can change the action | {} |\n\n\
         ## Action statistics ({})\n\n\
         mean {:?}\n\nstd {:?}\n\n\
         ## Made of\n\n| file | bytes | sha256 |\n| --- | --- | --- |\n",
        report.parameters,
        report.tensors,
        report.formats.join(" and "),
        vision.hidden_size,
        vision.num_hidden_layers,
        vision.num_attention_heads,
        vision.image_size,
        vision.num_patches(),
        llm.hidden_size,
        llm.num_hidden_layers,
        llm.num_attention_heads,
        llm.num_key_value_heads,
        llm.vocab_size,
        config.action.dim,
        inputs.join(", "),
        stats.sha256,
        stats.mean,
        stats.std,
    );
    for source in &report.sources {
        card += &format!("| {} | {} | {} |\n", source.name, source.bytes, source.sha256);
    }
    if !report.notes.is_empty() {
        card.push_str("\n## Notes\n\n");
        for note in &report.notes {
            card += &format!("- {note}\n");
        }
    }
    card
}
