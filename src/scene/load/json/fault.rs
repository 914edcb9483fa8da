//! What can go wrong while reading JSON, and where.

use std::io;

/// The result of reading a value.
pub type Result<T> = std::result::Result<T, Fault>;

/// Why reading stopped.
#[derive(Debug)]
pub enum Fault {
    /// The source failed.
    Source(io::Error),
    /// The text is not what was expected.
    Content {
        /// `rig_trajectories[0].T_rig_worlds[5]`; or `the document`.
        key: String,
        /// What is wrong there.
        reason: String,
    },
}

/// One step from the root of a document to a value.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Keys longer than this are shortened in messages.
const SHOWN_KEY_CHARS: usize = 80;

/// `a.b[3]`, then `inside`.
pub(super) fn path_text(path: &[Step], inside: &str) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(key.chars().take(SHOWN_KEY_CHARS).flat_map(char::escape_debug));
                if key.chars().nth(SHOWN_KEY_CHARS).is_some() {
                    text.push_str("...");
                }
            }
            Step::Index(index) => {
                text.push_str(&format!("[{index}]"));
            }
        }
    }
    text.push_str(if text.is_empty() { inside.trim_start_matches('.') } else { inside });
    if text.is_empty() { "the document".to_owned() } else { text }
}
