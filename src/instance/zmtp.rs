//! ZMTP 3.0 over TCP, security mechanism NULL: just what a REP and a DEALER of reset/step need.
//!
//! Written out here because a peer's frame header names a length of up to 2^63 bytes: it must be refused before memory is
//! set aside for it, and a connection that does not greet must end. Format: <https://rfc.zeromq.org/spec/23/>.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const GREETING_BYTES: usize = 64;
const MECHANISM: &[u8; 20] = b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// Envelopes are two frames; proxies add one each.
const MOST_FRAMES: usize = 16;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What ends a connection.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The system's word.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer hung up.
    #[error("the peer closed the connection")]
    Closed,
    /// It did not greet.
    #[error("no ZMTP handshake within {} s", HANDSHAKE_LIMIT.as_secs())]
    Silent,
    /// Not ZMTP 3, or another mechanism.
    #[error("{0}")]
    Greeting(String),
    /// A frame or message too large.
    #[error("a message of more than {limit_bytes} bytes or {MOST_FRAMES} frames")]
    TooLarge {
        /// Largest allowed.
        limit_bytes: usize,
    },
    /// A command in the wrong place or form.
    #[error("an unexpected ZMTP command {0:?}")]
    Command(String),
}

/// One side of a connection after its handshake.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    inbound: BytesMut,
    outbound: BytesMut,
    frames: Vec<Bytes>,
    frames_bytes: usize,
    limit_bytes: usize,
}

struct Frame {
    flags: u8,
    body: Bytes,
}

impl Wire {
    /// Greets and exchanges READY as a socket of type `own`; the peer must be one of `peers`. Messages of more than
    /// `limit_bytes` end the connection later on.
    ///
    /// # Errors
    /// When the peer does not speak ZMTP 3 with NULL, is of another type, is silent for 5 s, or hangs up.
    pub async fn handshake(
        stream: TcpStream,
        own: &str,
        peers: &[&str],
        limit_bytes: usize,
    ) -> Result<Self, WireError> {
        stream.set_nodelay(true)?;
        let mut wire = Self {
            stream,
            inbound: BytesMut::with_capacity(4096),
            outbound: BytesMut::with_capacity(4096),
            frames: Vec::with_capacity(3),
            frames_bytes: 0,
            limit_bytes,
        };
        match tokio::time::timeout(HANDSHAKE_LIMIT, wire.greet(own, peers)).await {
            Ok(done) => done.map(|()| wire),
            Err(_) => Err(WireError::Silent),
        }
    }

    async fn greet(&mut self, own: &str, peers: &[&str]) -> Result<(), WireError> {
        let mut greeting = [0_u8; GREETING_BYTES];
        greeting[0] = 0xff;
        greeting[9] = 0x7f;
        greeting[10] = 3;
        greeting[12..32].copy_from_slice(MECHANISM);
        self.stream.write_all(&greeting).await?;
        let mut theirs = [0_u8; GREETING_BYTES];
        self.stream.read_exact(&mut theirs).await.map_err(hung_up)?;
        if theirs[0] != 0xff || theirs[9] & 1 != 1 || theirs[10] < 3 {
            return Err(WireError::Greeting("the peer does not speak ZMTP 3".to_owned()));
        }
        if theirs[12..32] != MECHANISM[..] {
            let name = String::from_utf8_lossy(&theirs[12..32]).trim_end_matches('\0').to_owned();
            return Err(WireError::Greeting(format!("the peer wants mechanism {name:?}; expected NULL")));
        }
        self.command(&ready(own)).await?;
        let frame = self.frame().await?;
        let kind = (frame.flags & COMMAND != 0).then(|| socket_type(&frame.body)).flatten();
        match kind {
            Some(kind) if peers.contains(&kind.as_str()) => Ok(()),
            Some(kind) => Err(WireError::Greeting(format!(
                "the peer is a {kind} socket; expected {}",
                peers.join(" or ")
            ))),
            None => Err(WireError::Command(command_name(&frame.body))),
        }
    }

    /// The next message: its frames. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the connection is of no more use.
    pub async fn receive(&mut self) -> Result<Vec<Bytes>, WireError> {
        loop {
            let frame = self.frame().await?;
            if frame.flags & COMMAND != 0 {
                self.obey(&frame.body).await?;
                continue;
            }
            self.frames_bytes += frame.body.len();
            if self.frames_bytes > self.limit_bytes || self.frames.len() == MOST_FRAMES {
                return Err(WireError::TooLarge { limit_bytes: self.limit_bytes });
            }
            self.frames.push(frame.body);
            if frame.flags & MORE == 0 {
                self.frames_bytes = 0;
                return Ok(std::mem::take(&mut self.frames));
            }
        }
    }

    /// Sends one message: the envelope's frames, then the body. A future dropped half way leaves a connection of no use.
    ///
    /// # Errors
    /// When the connection is of no more use.
    pub async fn send(&mut self, envelope: &[Bytes], body: &[u8]) -> Result<(), WireError> {
        self.outbound.clear();
        for frame in envelope {
            put_frame(&mut self.outbound, MORE, frame);
        }
        put_frame(&mut self.outbound, 0, body);
        Ok(self.stream.write_all(&self.outbound).await?)
    }

    async fn command(&mut self, body: &[u8]) -> Result<(), WireError> {
        self.outbound.clear();
        put_frame(&mut self.outbound, COMMAND, body);
        Ok(self.stream.write_all(&self.outbound).await?)
    }

    /// PING is answered; anything else has no place after the handshake.
    async fn obey(&mut self, body: &Bytes) -> Result<(), WireError> {
        match body.strip_prefix(b"\x04PING") {
            Some(rest) => {
                let mut pong = BytesMut::from(&b"\x04PONG"[..]);
                pong.put_slice(rest.get(2..18.min(rest.len())).unwrap_or_default());
                self.command(&pong).await
            }
            None if body.starts_with(b"\x04PONG") => Ok(()),
            None => Err(WireError::Command(command_name(body))),
        }
    }

    async fn frame(&mut self) -> Result<Frame, WireError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            if self.stream.read_buf(&mut self.inbound).await? == 0 {
                return Err(WireError::Closed);
            }
        }
    }

    fn buffered(&mut self) -> Result<Option<Frame>, WireError> {
        let mut head = &self.inbound[..];
        let Ok(flags) = head.try_get_u8() else { return Ok(None) };
        let length = if flags & LONG == 0 { head.try_get_u8().map(u64::from) } else { head.try_get_u64() };
        let Ok(length) = length else { return Ok(None) };
        let length = usize::try_from(length).ok().filter(|length| *length <= self.limit_bytes);
        let Some(length) = length else {
            return Err(WireError::TooLarge { limit_bytes: self.limit_bytes });
        };
        let head_bytes = if flags & LONG == 0 { 2 } else { 9 };
        if self.inbound.len() < head_bytes + length {
            // Doubling, not the whole length at once: memory follows what has really come.
            let wanted = (head_bytes + length - self.inbound.len()).min(self.inbound.len().max(4096));
            self.inbound.reserve(wanted);
            return Ok(None);
        }
        self.inbound.advance(head_bytes);
        Ok(Some(Frame { flags, body: self.inbound.split_to(length).freeze() }))
    }
}

fn put_frame(into: &mut BytesMut, flags: u8, body: &[u8]) {
    match u8::try_from(body.len()) {
        Ok(length) => into.put_slice(&[flags, length]),
        Err(_) => {
            into.put_u8(flags | LONG);
            into.put_u64(body.len() as u64);
        }
    }
    into.put_slice(body);
}

fn ready(own: &str) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    for (name, value) in [("Socket-Type", own), ("Identity", "")] {
        body.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        body.put_slice(name.as_bytes());
        body.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        body.put_slice(value.as_bytes());
    }
    body
}

/// `Socket-Type` of a READY command.
fn socket_type(body: &[u8]) -> Option<String> {
    let mut rest = body.strip_prefix(b"\x05READY")?;
    loop {
        let length = usize::from(rest.try_get_u8().ok()?);
        let (name, after) = rest.split_at_checked(length)?;
        rest = after;
        let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
        let (value, after) = rest.split_at_checked(length)?;
        rest = after;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            return Some(String::from_utf8_lossy(value).into_owned());
        }
    }
}

fn command_name(body: &[u8]) -> String {
    let length = body.first().map_or(0, |length| usize::from(*length));
    String::from_utf8_lossy(body.get(1..1 + length).unwrap_or_default()).chars().take(16).collect()
}

fn hung_up(error: io::Error) -> WireError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => WireError::Closed,
        _ => WireError::Io(error),
    }
}
