//! The agent's side of a shim's socket.

use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::agent::driver::{Console, ConsoleInput};
use crate::agent::shim::{ExitFile, Frame as _, LONGEST_PAYLOAD, Reply, Request};

/// Pieces of output that wait for the agent; one has 16 KiB at most.
const OUTPUT_PIECES: usize = 8;
const INPUT_PIECES: usize = 64;

/// Waits until the container has ended.
pub(super) async fn watch(socket: &Path) -> io::Result<ExitFile> {
    let (reader, _writer) = ask(socket, &Request::Watch).await?;
    let mut replies = Replies::new(reader);
    loop {
        if let Reply::Ended(file) = replies.next().await? {
            return Ok(serde_json::from_slice(&file)?);
        }
    }
}

/// Asks a shim to end, whose container has.
pub(super) async fn quit(socket: &Path) -> io::Result<()> {
    let (mut reader, _writer) = ask(socket, &Request::Quit).await?;
    // It closes its side when it ends.
    let mut rest = [0; 64];
    while reader.read(&mut rest).await? > 0 {}
    Ok(())
}

/// The console, from the oldest byte that the shim holds.
pub(super) async fn console(socket: &Path) -> io::Result<Console> {
    let (reader, writer) = ask(socket, &Request::Attach).await?;
    let mut replies = Replies::new(reader);
    let first = loop {
        if let Reply::Attached(first) = replies.next().await? {
            break first;
        }
    };
    let (to_agent, output) = mpsc::channel(OUTPUT_PIECES);
    let (input, from_agent) = mpsc::channel(INPUT_PIECES);
    let typing = tokio::spawn(type_in(writer, from_agent, to_agent.clone()));
    tokio::spawn(async move {
        let mut expected = first;
        while let Ok(Reply::Output(number, bytes)) = replies.next().await {
            if number != expected {
                tracing::warn!(
                    bytes = number - expected,
                    "the agent was too slow for a console, which went on"
                );
            }
            expected = number + bytes.len() as u64;
            if to_agent.send(Bytes::from(bytes)).await.is_err() {
                break;
            }
        }
        typing.abort();
    });
    Ok(Console { first, output, input })
}

async fn type_in(
    mut writer: OwnedWriteHalf,
    mut from_agent: mpsc::Receiver<ConsoleInput>,
    to_agent: mpsc::Sender<Bytes>,
) {
    let mut frames = Vec::new();
    while let Some(input) = tokio::select! {
        input = from_agent.recv() => input,
        () = to_agent.closed() => None,
    } {
        frames.clear();
        match input {
            ConsoleInput::Data(bytes) => bytes
                .chunks(LONGEST_PAYLOAD / 2)
                .for_each(|piece| Request::Input(piece.to_vec()).encode(&mut frames)),
            ConsoleInput::Resize { width, height } => Request::Resize { width, height }.encode(&mut frames),
        }
        if writer.write_all(&frames).await.is_err() {
            return;
        }
    }
    // The console stays as long as somebody reads it: only a writer that is kept keeps the connection whole.
    to_agent.closed().await;
}

async fn ask(socket: &Path, request: &Request) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    let (reader, mut writer) = UnixStream::connect(socket).await?.into_split();
    let mut frame = Vec::new();
    request.encode(&mut frame);
    writer.write_all(&frame).await?;
    Ok((reader, writer))
}

struct Replies {
    reader: OwnedReadHalf,
    held: Vec<u8>,
    piece: BytesMut,
}

impl Replies {
    fn new(reader: OwnedReadHalf) -> Self {
        Self { reader, held: Vec::new(), piece: BytesMut::with_capacity(32 << 10) }
    }

    async fn next(&mut self) -> io::Result<Reply> {
        loop {
            if let Some(reply) = Reply::take(&mut self.held).map_err(io::Error::other)? {
                return Ok(reply);
            }
            self.piece.clear();
            if self.reader.read_buf(&mut self.piece).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.held.extend(&self.piece);
        }
    }
}
