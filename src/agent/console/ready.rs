//! Waits for a line that says that an instance is ready.

/// Longest part of a line that is looked at; what is longer is cut from its front.
const LONGEST_LINE: usize = 16 << 10;

/// Looks for a text in the lines of a stream.
#[derive(Debug)]
pub(super) struct ReadyLine {
    wanted: Vec<u8>,
    line: Vec<u8>,
}

impl ReadyLine {
    pub(super) fn new(wanted: &str) -> Self {
        Self { wanted: wanted.as_bytes().to_vec(), line: Vec::new() }
    }

    /// Whether the text was in a line by now, its end not needed.
    pub(super) fn feed(&mut self, data: &[u8]) -> bool {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            // The text can begin in what was there before by one byte less than its length.
            let from = self.line.len().saturating_sub(self.wanted.len().saturating_sub(1));
            self.line.extend_from_slice(piece);
            let fresh = self.line.get(from..).unwrap_or_default();
            if self.wanted.is_empty() || fresh.windows(self.wanted.len()).any(|part| part == self.wanted) {
                return true;
            }
            if piece.ends_with(b"\n") {
                self.line.clear();
            } else if self.line.len() > LONGEST_LINE {
                self.line.drain(..self.line.len() - LONGEST_LINE / 2);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_in_whatever_pieces_it_comes_and_never_across_lines() {
        let text = "starting\r\n[12.3s] Isaac Sim Full Streaming App is loaded.\r\n";
        for size in 1..text.len() {
            let mut ready = ReadyLine::new("App is loaded");
            assert!(text.as_bytes().chunks(size).any(|piece| ready.feed(piece)), "pieces of {size}");
        }
        let mut ready = ReadyLine::new("is loaded");
        assert!(!ready.feed(b"it is \nloaded"));
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let mut ready = ReadyLine::new("ready");
        for _ in 0..1000 {
            assert!(!ready.feed(&[b'x'; 1000]));
            assert!(ready.line.len() <= LONGEST_LINE + 1000);
        }
        assert!(ready.feed(b"ready"));
    }
}
