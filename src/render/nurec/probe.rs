//! Whether something speaks HTTP/2 there: connect, greet, wait for the greeting. Deeper questions would wait behind a
//! renderer that is busy; this one is answered by its network threads.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for an answer.
pub(super) const PATIENCE: Duration = Duration::from_millis(800);

/// The client's preface and an empty SETTINGS frame (RFC 9113, section 3.4).
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// The head of a frame: length, type, flags, stream.
const FRAME_HEAD_BYTES: usize = 9;
const FRAME_TYPE_AT: usize = 3;
const SETTINGS: u8 = 4;

pub(super) async fn speaks_http2(address: &str) -> bool {
    matches!(tokio::time::timeout(PATIENCE, greet(address)).await, Ok(Ok(true)))
}

async fn greet(address: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(GREETING).await?;
    let mut head = [0; FRAME_HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    Ok(head[FRAME_TYPE_AT] == SETTINGS)
}
