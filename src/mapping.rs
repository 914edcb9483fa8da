//! Memory-mapped files, read only: weights and scenarios.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use memmap2::{Advice, Mmap, UncheckedAdvice};

/// Maps a whole file for reading.
///
/// # Errors
/// Whatever opening or mapping reported.
pub fn map_file(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the map is read-only. Model and scenario files are replaced by rename, never edited in place, while a
    // server has them open (docs/OPERATIONS.md); a truncated file could only stop this process with SIGBUS.
    unsafe { Mmap::map(&file) }
}

/// Gives the resident pages inside `range` of a map back to the page cache. A hint: failure costs memory only.
pub fn release(map: &Mmap, range: Range<usize>) {
    const PAGE: usize = 4096;
    let start = range.start.next_multiple_of(PAGE);
    let end = range.end.min(map.len()) / PAGE * PAGE;
    if start < end {
        // SAFETY: a read-only map of a file: dropped pages are read from the file again when they are touched.
        let released = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
        if let Err(error) = released {
            tracing::debug!(%error, "pages of a weight file stay resident");
        }
    }
}

/// Brings a whole map into the page tables now, in one call, instead of fault by fault in the first step. A hint:
/// where the kernel does not know it, the first step pays.
pub fn populate(map: &Mmap) {
    if let Err(error) = map.advise(Advice::PopulateRead) {
        tracing::debug!(%error, "packed weights are faulted in as they are used");
    }
}
