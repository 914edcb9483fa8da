//! What a console said, on the disk: files named by the run and by the number of their first byte in it, so that a later life
//! of the agent knows what it has.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Files that are kept however small they are.
const MOST_FILES: usize = 16;

/// The files of one instance. Blocks.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    run: i64,
    /// Bytes of the run that were said so far.
    at: u64,
    file: Option<(File, u64)>,
    longest_bytes: u64,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    run: i64,
    first: u64,
    bytes: u64,
}

impl Log {
    /// Goes on where a run's file ends, or begins with nothing.
    pub(super) fn open(folder: &Path, run: i64, longest_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let newest = parts(folder).into_iter().rfind(|part| part.run == run);
        let at = newest.map_or(0, |part| part.first + part.bytes);
        Ok(Self { folder: folder.to_owned(), run, at, file: None, longest_bytes: longest_bytes.max(4096) })
    }

    /// Bytes of the run that were said so far.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// What comes next has this number: what lies between is lost.
    pub(super) fn jump(&mut self, to: u64) {
        self.at = to;
        self.file = None;
    }

    /// Counts the bytes even when they cannot be written.
    pub(super) fn append(&mut self, data: &[u8]) -> io::Result<()> {
        let first = self.at;
        self.at += data.len() as u64;
        let (mut file, before) = match self.file.take() {
            Some((file, bytes)) if bytes < self.longest_bytes => (file, bytes),
            _ => {
                let path = self.folder.join(format!("{:015}-{first:020}.log", self.run));
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                self.forget_oldest();
                (file, 0)
            }
        };
        file.write_all(data)?;
        self.file = Some((file, before + data.len() as u64));
        Ok(())
    }

    fn forget_oldest(&self) {
        let mut parts = parts(&self.folder);
        let mut bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        while parts.len() > 1 && (bytes > self.longest_bytes || parts.len() > MOST_FILES) {
            let oldest = parts.remove(0);
            bytes -= oldest.bytes;
            fs::remove_file(oldest.path).ok();
        }
    }

    /// The last bytes of all runs, and how many of them are of this one.
    pub(super) fn tail(&self, most: usize) -> io::Result<(Vec<u8>, usize)> {
        let (mut pieces, mut left, mut own) = (Vec::new(), most as u64, 0);
        for part in parts(&self.folder).into_iter().rev() {
            let count = part.bytes.min(left);
            let mut file = File::open(&part.path)?;
            file.seek(SeekFrom::Start(part.bytes - count))?;
            let mut piece = Vec::new();
            file.take(count).read_to_end(&mut piece)?;
            own += if part.run == self.run { piece.len() } else { 0 };
            left -= count;
            pieces.push(piece);
            if left == 0 {
                break;
            }
        }
        pieces.reverse();
        Ok((pieces.concat(), own))
    }
}

/// The oldest first.
fn parts(folder: &Path) -> Vec<Part> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut parts: Vec<Part> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let (run, first) = name.to_str()?.strip_suffix(".log")?.split_once('-')?;
            let bytes = entry.metadata().ok()?.len();
            Some(Part { path: entry.path(), run: run.parse().ok()?, first: first.parse().ok()?, bytes })
        })
        .collect();
    parts.sort_by_key(|part| (part.run, part.first));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_life_goes_on_at_the_byte_where_the_earlier_one_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 7, 1 << 20).unwrap();
        log.append(b"one ").unwrap();
        log.append(b"two ").unwrap();
        drop(log);
        let mut log = Log::open(folder.path(), 7, 1 << 20).unwrap();
        assert_eq!(log.at(), 8);
        log.append(b"three ").unwrap();
        assert_eq!(log.tail(100).unwrap(), (b"one two three ".to_vec(), 14));
        assert_eq!(log.tail(8).unwrap().0, b"o three ");
        let mut next = Log::open(folder.path(), 8, 1 << 20).unwrap();
        assert_eq!(next.at(), 0);
        next.append(b"four").unwrap();
        assert_eq!(next.tail(100).unwrap(), (b"one two three four".to_vec(), 4));
    }

    #[test]
    fn files_begin_anew_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 1, 4096).unwrap();
        for _ in 0..100 {
            log.append(&[b'x'; 1000]).unwrap();
        }
        let bytes: u64 = parts(folder.path()).iter().map(|part| part.bytes).sum();
        assert!((4096..3 * 4096).contains(&bytes), "{bytes}");
        assert_eq!(Log::open(folder.path(), 1, 4096).unwrap().at(), 100_000);
    }
}
