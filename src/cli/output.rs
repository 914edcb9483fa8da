//! Standard output, which may be a closed pipe: `neuro model list | head -1` is no error worth a backtrace.

use std::io::{self, Write};

/// Prints one line and flushes it, so that whoever waits for it reads it now.
///
/// # Errors
/// When standard output is gone.
pub fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints one line on standard error; when that is gone too there is nobody to tell.
pub fn complain(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}
