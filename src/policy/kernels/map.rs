//! Memory-mapped files, read only.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a whole file for reading.
///
/// # Errors
/// Whatever opening or mapping reported.
pub fn map_file(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the map is read-only. Model files are replaced by rename, never edited in place, while a server
    // has them open (docs/OPERATIONS.md); a truncated file could only stop this process with SIGBUS.
    unsafe { Mmap::map(&file) }
}
