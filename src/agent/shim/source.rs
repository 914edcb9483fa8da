//! Where a container's console comes from and where keys go: one terminal, or two pipes.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::termios::{Winsize, tcsetwinsize};

/// See the module.
#[derive(Debug)]
pub(super) enum Source {
    /// Its other side is the container's terminal.
    Terminal(OwnedFd),
    /// Pipes.
    Pipes {
        /// What it writes.
        output: OwnedFd,
        /// What it reads; nothing once it reads no more.
        input: Option<OwnedFd>,
    },
}

impl Source {
    /// The terminal that a runtime sends over the console socket.
    pub(super) fn receive(socket: &UnixListener) -> io::Result<Self> {
        let (stream, _) = socket.accept()?;
        stream.set_nonblocking(false)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; 256];
        recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let received = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        received.map(Self::Terminal).ok_or_else(|| io::Error::other("the runtime sent no terminal"))
    }

    /// So that neither side ever holds the shim up.
    pub(super) fn unblock(&self) -> io::Result<()> {
        for end in [Some(self.output()), self.input()].into_iter().flatten() {
            fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
        }
        Ok(())
    }

    pub(super) fn output(&self) -> BorrowedFd<'_> {
        match self {
            Self::Terminal(terminal) => terminal.as_fd(),
            Self::Pipes { output, .. } => output.as_fd(),
        }
    }

    pub(super) fn input(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Terminal(terminal) => Some(terminal.as_fd()),
            Self::Pipes { input, .. } => input.as_ref().map(|input| input.as_fd()),
        }
    }

    /// It reads no more.
    pub(super) fn close_input(&mut self) {
        if let Self::Pipes { input, .. } = self {
            *input = None;
        }
    }

    /// Pipes have no size.
    pub(super) fn resize(&self, width: u16, height: u16) {
        if let Self::Terminal(terminal) = self {
            let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
            tcsetwinsize(terminal, size).ok();
        }
    }
}
