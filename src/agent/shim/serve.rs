//! A shim at work: one loop over the console, its clients and the container's end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, wait};

use super::ShimOptions;
use super::client::Client;
use super::files::{self, ExitFile, RunFile};
use super::frame::Request;
use super::launch::{Run, now_ms};
use super::source::Source;
use crate::agent::cgroup::Hierarchy;
use crate::agent::record::Exit;
use crate::agent::ring::Ring;

const RING_BYTES: usize = 64 << 10;
const INPUT_BYTES: usize = 64 << 10;
/// How long a client that is connected and does not read can hold the container's output up.
const PATIENCE: Duration = Duration::from_millis(500);
const TICK: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
const KILLED: i32 = 9;

struct Shim<'a> {
    options: &'a ShimOptions,
    run: RunFile,
    source: Option<Source>,
    ring: Ring,
    input: VecDeque<u8>,
    clients: Vec<Client>,
    init: Option<OwnedFd>,
    /// As clients get it, once it has ended.
    ended: Option<Vec<u8>>,
    /// Since when nobody has taken output for which the source waits.
    stuck: Option<(Instant, u64)>,
    /// It was told to go when the container has ended.
    quit: bool,
}

/// Until told to end, or until the instance's folder is gone.
pub(super) fn serve(options: &ShimOptions, run: Run) -> Result<(), String> {
    let Run { file, source, socket } = run;
    socket.set_nonblocking(true).map_err(|error| format!("socket: {error}"))?;
    let init = Pid::from_raw(file.init.pid).ok_or("no process number")?;
    let mut shim = Shim {
        options,
        init: Some(pidfd_open(init, PidfdFlags::empty()).map_err(|error| format!("pidfd: {error}"))?),
        run: file,
        source: Some(source),
        ring: Ring::new(RING_BYTES),
        input: VecDeque::new(),
        clients: Vec::new(),
        ended: None,
        stuck: None,
        quit: false,
    };
    while !(shim.quit && shim.ended.is_some()) && options.folder.is_dir() {
        shim.turn(&socket).map_err(|error| format!("poll: {error}"))?;
    }
    std::fs::remove_file(&options.socket).ok();
    Ok(())
}

impl Shim<'_> {
    /// Waits for something and does what follows from it.
    fn turn(&mut self, socket: &UnixListener) -> io::Result<()> {
        let held_up = self.held_up();
        let mut descriptors = vec![PollFd::new(socket, PollFlags::IN)];
        let mut init_at = None;
        if let Some(init) = &self.init {
            init_at = Some(descriptors.len());
            descriptors.push(PollFd::new(init, PollFlags::IN));
        }
        let (mut output_at, mut input_at) = (None, None);
        if let Some(source) = &self.source {
            if !held_up {
                output_at = Some(descriptors.len());
                descriptors.push(PollFd::from_borrowed_fd(source.output(), PollFlags::IN));
            }
            if let Some(input) = source.input().filter(|_| !self.input.is_empty()) {
                input_at = Some(descriptors.len());
                descriptors.push(PollFd::from_borrowed_fd(input, PollFlags::OUT));
            }
        }
        let clients_at = descriptors.len();
        let room = self.input.len() < INPUT_BYTES;
        for client in &self.clients {
            descriptors.push(PollFd::from_borrowed_fd(client.stream.as_fd(), client.interest(room)));
        }
        let tick = if held_up { Timespec { tv_sec: 0, tv_nsec: 50_000_000 } } else { TICK };
        match poll(&mut descriptors, Some(&tick)) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            other => other?,
        };
        let ready: Vec<PollFlags> = descriptors.iter().map(PollFd::revents).collect();
        drop(descriptors);
        let is = |at: Option<usize>| at.and_then(|at| ready.get(at)).is_some_and(|flags| !flags.is_empty());

        if is(Some(0)) {
            while let Ok((stream, _)) = socket.accept() {
                self.clients.extend(Client::new(stream));
            }
        }
        if is(output_at) {
            self.read_output();
        }
        if is(input_at) {
            self.write_input();
        }
        if is(init_at) {
            self.init_ended();
        } else if self.ended.is_some() {
            while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        }
        for (at, flags) in ready.get(clients_at..).unwrap_or_default().iter().enumerate() {
            if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                self.hear(at);
            }
        }
        if !self.input.is_empty() {
            self.write_input();
        }
        for client in &mut self.clients {
            client.send(&self.ring, self.ended.as_deref());
        }
        self.clients.retain(|client| client.open);
        Ok(())
    }

    /// The console waits for a client that is behind, but not for long.
    fn held_up(&mut self) -> bool {
        let behind = self.clients.iter().filter_map(|client| client.next).min();
        let Some(next) =
            behind.filter(|next| self.ring.end() - next.max(&self.ring.first()) > RING_BYTES as u64 / 2)
        else {
            self.stuck = None;
            return false;
        };
        match self.stuck {
            Some((since, at)) if at == next => since.elapsed() < PATIENCE,
            _ => {
                self.stuck = Some((Instant::now(), next));
                true
            }
        }
    }

    fn read_output(&mut self) {
        let Some(source) = &self.source else { return };
        let mut piece = [0; 16 << 10];
        match rustix::io::read(source.output(), &mut piece) {
            Ok(0) => self.source = None,
            Ok(length) => self.ring.push(piece.get(..length).unwrap_or_default()),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // A terminal whose other side nobody has open says so.
            Err(rustix::io::Errno::IO) if self.ended.is_none() && self.init.is_some() => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(_) => self.source = None,
        }
    }

    fn write_input(&mut self) {
        let Some(source) = &mut self.source else { return self.input.clear() };
        let Some(input) = source.input() else { return self.input.clear() };
        match rustix::io::write(input, self.input.make_contiguous()) {
            Ok(length) => drop(self.input.drain(..length)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => {
                source.close_input();
                self.input.clear();
            }
        }
    }

    fn hear(&mut self, at: usize) {
        let Some(client) = self.clients.get_mut(at) else { return };
        for request in client.receive() {
            match request {
                Request::Attach => client.attach(&self.ring),
                Request::Watch => client.watches = true,
                Request::Input(bytes) => self.input.extend(bytes),
                Request::Resize { width, height } => {
                    if let Some(source) = &self.source {
                        source.resize(width, height);
                    }
                }
                Request::Quit => self.quit = true,
            }
        }
    }

    /// Waits for everybody who has ended. The first process's status is the container's.
    fn init_ended(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid.as_raw_nonzero().get() == self.run.init.pid {
                self.init = None;
                self.drain();
                let exit = self.exit(status);
                let file = ExitFile { init: self.run.init, exit };
                // A disk that is full hides it from a later life of the agent, not from this one.
                files::write(Path::new(&self.options.folder), ExitFile::NAME, &file).ok();
                self.ended = serde_json::to_vec(&file).ok();
            }
        }
    }

    /// What the container wrote last.
    fn drain(&mut self) {
        let mut end = self.ring.end();
        loop {
            self.read_output();
            if self.source.is_none() || self.ring.end() == end {
                break;
            }
            end = self.ring.end();
        }
        self.source = None;
    }

    fn exit(&self, status: WaitStatus) -> Exit {
        let signal = status.terminating_signal();
        let code = status.exit_status().unwrap_or_else(|| 128 + signal.unwrap_or_default());
        let group = format!("neuro-{}/{}", self.options.mark, self.options.id);
        let kills =
            Hierarchy::of_this_machine().map(|tree| tree.group(&group).oom_kills()).unwrap_or_default();
        Exit { code, signal, oom: kills > 0 && code == 128 + KILLED, at_ms: now_ms(), unseen: false }
    }
}
