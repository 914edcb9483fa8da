//! Where bytes go: a stream that stops when an export fails, and one that ends in a channel.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc::Sender;

/// Bytes collected before they are sent on.
const CHUNK_BYTES: usize = 64 << 10;

/// Closes a [`Gate`].
#[derive(Debug, Clone, Default)]
pub(super) struct Latch(Arc<AtomicBool>);

impl Latch {
    pub(super) fn close(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets bytes through until its latch is closed; later ones are dropped without a word. Writers of archives finish them
/// when they are dropped, and half an export must not look whole.
pub(super) struct Gate<W> {
    inner: W,
    latch: Latch,
}

impl<W: Write> Gate<W> {
    pub(super) fn new(inner: W, latch: Latch) -> Self {
        Self { inner, latch }
    }

    fn closed(&self) -> bool {
        self.latch.0.load(Ordering::Relaxed)
    }
}

impl<W: Write> Write for Gate<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed() { Ok(bytes.len()) } else { self.inner.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed() { Ok(()) } else { self.inner.flush() }
    }
}

/// Sends what is written to a channel, in chunks, waiting while that is full. For threads that may block.
pub struct ChannelSink {
    chunks: Sender<io::Result<Bytes>>,
    pending: BytesMut,
}

impl ChannelSink {
    /// Into this channel.
    #[must_use]
    pub fn new(chunks: Sender<io::Result<Bytes>>) -> Self {
        Self { chunks, pending: BytesMut::with_capacity(CHUNK_BYTES) }
    }

    fn send(&mut self) -> io::Result<()> {
        let chunk = self.pending.split().freeze();
        self.pending.reserve(CHUNK_BYTES);
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the export any more");
        self.chunks.blocking_send(Ok(chunk)).map_err(gone)
    }
}

impl Write for ChannelSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES - self.pending.len().min(CHUNK_BYTES - 1));
        self.pending.extend_from_slice(bytes.get(..taken).unwrap_or(bytes));
        if self.pending.len() >= CHUNK_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() { Ok(()) } else { self.send() }
    }
}
