//! The terminal this program runs in, raw for as long as a console is attached: every key goes there, and what it says is
//! shown as it comes.

use std::io::{IsTerminal, Read, stdin};

use bytes::Bytes;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use crate::cli::output::complain;

/// The key that leaves a console: ctrl-].
const LEAVE: u8 = 0x1d;

/// A terminal that is as it was when this is dropped.
#[derive(Debug)]
pub(super) struct Raw {
    before: Option<Termios>,
}

impl Raw {
    /// Makes standard input raw, when it is a terminal.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub(super) fn enter() -> std::io::Result<Self> {
        if !stdin().is_terminal() {
            return Ok(Self { before: None });
        }
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Flush, &raw)?;
        Ok(Self { before: Some(before) })
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.before.is_some()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let restored = self.before.as_ref().map(|before| tcsetattr(stdin(), OptionalActions::Flush, before));
        if let Some(Err(error)) = restored {
            complain(&format!("neuro: the terminal stays raw: {error}; `reset` mends it"));
        }
    }
}

/// Columns and lines, when there are any.
pub(super) fn size() -> Option<(i32, i32)> {
    let size = tcgetwinsize(stdin()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0)?;
    Some((i32::from(size.ws_col), i32::from(size.ws_row)))
}

/// What is typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// For the console.
    Keys(Bytes),
    /// The key that leaves it.
    Leave,
}

/// Reads standard input in a thread of its own, because reading a terminal cannot be given up. Ends with the input.
///
/// # Errors
/// When there are no threads left.
pub(super) fn keys(terminal: bool) -> std::io::Result<mpsc::Receiver<Typed>> {
    let (typed, keys) = mpsc::channel(16);
    std::thread::Builder::new().name("neuro-keys".to_owned()).spawn(move || {
        let mut buffer = [0_u8; 4096];
        while let Ok(count) = stdin().lock().read(&mut buffer) {
            let read = buffer.get(..count).unwrap_or_default();
            if read.is_empty() {
                return;
            }
            for part in split(read, terminal) {
                let leaves = part == Typed::Leave;
                if typed.blocking_send(part).is_err() || leaves {
                    return;
                }
            }
        }
    })?;
    Ok(keys)
}

/// Only in a terminal does a key leave: what comes out of a file is all for the console.
fn split(read: &[u8], terminal: bool) -> Vec<Typed> {
    let leave = read.iter().position(|byte| terminal && *byte == LEAVE);
    let before = read.get(..leave.unwrap_or(read.len())).unwrap_or_default();
    let keys = (!before.is_empty()).then(|| Typed::Keys(Bytes::copy_from_slice(before)));
    keys.into_iter().chain(leave.map(|_| Typed::Leave)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_leaves_a_terminal_and_none_a_file() {
        let keys = |text: &'static [u8]| Typed::Keys(Bytes::from_static(text));
        assert_eq!(split(b"ls\n", true), [keys(b"ls\n")]);
        assert_eq!(split(b"ls\x1dlost", true), [keys(b"ls"), Typed::Leave]);
        assert_eq!(split(b"\x1d", true), [Typed::Leave]);
        assert_eq!(split(b"a\x1db", false), [keys(b"a\x1db")]);
    }
}
