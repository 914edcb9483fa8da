//! Where a process writes, and what it wrote last.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// How much of the end is looked at.
const TAIL_BYTES: u64 = 4096;
/// How many lines are told.
const LINES: usize = 3;
/// How much is told.
const MOST_CHARS: usize = 400;

/// The file's name for an instance's display name, which may hold anything.
pub(in crate::fleet::backend) fn file_stem(name: &str) -> String {
    let safe =
        |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '_' };
    let stem: String = name.chars().map(safe).collect();
    let stem = stem.trim_start_matches('.');
    if stem.is_empty() { "instance".to_owned() } else { stem.to_owned() }
}

/// An empty file for both outputs. The one before it under this name is kept as `.log.1`.
pub(super) fn open(path: &Path) -> io::Result<(File, File)> {
    if path.exists() {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let twin = file.try_clone()?;
    Ok((file, twin))
}

/// The last lines that were written, as one; empty when nothing was.
pub(in crate::fleet::backend) fn last_lines(path: &Path) -> String {
    let tail = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    shorten(&String::from_utf8_lossy(&tail().unwrap_or_default()))
}

/// The last lines of a text as one line without control characters.
pub(in crate::fleet::backend) fn shorten(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join(" | ");
    let clean: String = last.chars().filter(|letter| !letter.is_control()).collect();
    let skip = clean.chars().count().saturating_sub(MOST_CHARS);
    clean.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_told_and_never_more_than_fits_a_sentence() {
        assert_eq!(shorten("one\ntwo\n\nthree\nfour\u{1b}[0m\n"), "two | three | four[0m");
        assert_eq!(shorten(&"x".repeat(5000)).chars().count(), MOST_CHARS);
        assert_eq!(shorten("\n \n"), "");
    }

    #[test]
    fn a_name_never_leaves_the_folder() {
        assert_eq!(file_stem("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(file_stem(".."), "instance");
        assert_eq!(file_stem("isaac-sim-1"), "isaac-sim-1");
    }
}
