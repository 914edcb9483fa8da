//! The last line that a console showed, as text for a message: without colours and other orders to a terminal.

/// Most letters of it.
const LONGEST: usize = 200;

/// The last line with something on it.
pub(super) fn last_line(said: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(said);
    let lines = text.rsplit(['\n', '\r']);
    lines.map(plain).find(|line| !line.is_empty()).map(|line| line.chars().take(LONGEST).collect())
}

/// Without escape sequences (ECMA-48: `ESC [ ... letter`, `ESC ] ... BEL`, `ESC` and one more) and control characters.
fn plain(line: &str) -> String {
    let mut letters = line.chars();
    let mut out = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => match letters.next() {
                Some('[') => drop(letters.find(|letter| ('@'..='~').contains(letter))),
                Some(']') => drop(letters.find(|letter| *letter == '\x07')),
                _ => {}
            },
            '\t' => out.push(' '),
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_with_something_on_it_is_told_without_colours() {
        for (said, line) in [
            (&b""[..], None),
            (b"\r\n \x1b[0m\r\n", None),
            (b"one\ntwo\r\n\n", Some("two")),
            (b"\x1b[31merror:\x1b[0m no\tspace\x07", Some("error: no space")),
            (b"\x1b]0;title\x07~ # ", Some("~ #")),
            (b"half \xff\xfe", Some("half \u{fffd}\u{fffd}")),
        ] {
            assert_eq!(last_line(said).as_deref(), line, "{said:?}");
        }
        assert_eq!(last_line(&[b'x'; 5000]).unwrap().len(), LONGEST);
    }
}
