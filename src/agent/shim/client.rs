//! Somebody who talks to a shim.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;

use super::frame::{Frame as _, Reply, Request};
use crate::agent::ring::Ring;

const PIECE_BYTES: usize = 16 << 10;

/// See the module.
pub(super) struct Client {
    pub(super) stream: UnixStream,
    /// The number of the next console byte it gets, once it is attached.
    pub(super) next: Option<u64>,
    /// It wants to hear of the end.
    pub(super) watches: bool,
    /// It is there.
    pub(super) open: bool,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    told: bool,
}

impl Client {
    pub(super) fn new(stream: UnixStream) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        Some(Self {
            stream,
            next: None,
            watches: false,
            open: true,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            told: false,
        })
    }

    /// What to wait for.
    pub(super) fn interest(&self, room: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, room);
        flags.set(PollFlags::OUT, !self.outgoing.is_empty());
        flags
    }

    /// It gets the console from the oldest byte on.
    pub(super) fn attach(&mut self, ring: &Ring) {
        Reply::Attached(ring.first()).encode(&mut self.outgoing);
        self.next = Some(ring.first());
    }

    /// What it said.
    pub(super) fn receive(&mut self) -> Vec<Request> {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(0) => self.open = false,
            Ok(length) => self.incoming.extend(piece.get(..length).unwrap_or_default()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.open = false,
        }
        let mut requests = Vec::new();
        loop {
            match Request::take(&mut self.incoming) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break requests,
                Err(_) => {
                    self.open = false;
                    break requests;
                }
            }
        }
    }

    /// Sends what it waits for, as far as it takes it. The end comes after the last byte of the console.
    pub(super) fn send(&mut self, ring: &Ring, ended: Option<&[u8]>) {
        while self.open {
            if self.outgoing.is_empty() && !self.fill(ring, ended) {
                return;
            }
            match self.stream.write(&self.outgoing) {
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.open = false,
            }
        }
    }

    fn fill(&mut self, ring: &Ring, ended: Option<&[u8]>) -> bool {
        if let Some(next) = self.next.filter(|next| *next < ring.end()) {
            let first = next.max(ring.first());
            let bytes = ring.copy(first, PIECE_BYTES);
            self.next = Some(first + bytes.len() as u64);
            Reply::Output(first, bytes.into()).encode(&mut self.outgoing);
            return true;
        }
        match ended {
            Some(file) if !self.told && (self.watches || self.next.is_some()) => {
                self.told = true;
                Reply::Ended(file.to_vec()).encode(&mut self.outgoing);
                true
            }
            _ => false,
        }
    }
}
