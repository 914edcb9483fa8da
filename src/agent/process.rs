//! Processes that outlive the agent, known by their id and their start: the kernel gives an id again, but not at the same
//! tick. A process that has ended and was not yet fetched by its parent counts as ended.

use std::io;

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Nanoseconds of a tick of /proc: the kernel's interface has a hundred a second on every machine that this builds for.
const TICK_NS: u64 = 10_000_000;
/// Bytes of a page there.
const PAGE_BYTES: u64 = 4096;

/// A process, as nobody else is it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Ticks since the machine's start.
    pub start_ticks: u64,
}

/// What /proc/PID/stat says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z`, ...
    pub state: char,
    /// Ticks since the machine's start.
    pub start_ticks: u64,
    /// Of all its threads, those that have ended included.
    pub cpu_time_ns: u64,
    /// Threads.
    pub threads: u32,
    /// In memory.
    pub resident_bytes: u64,
}

impl Stat {
    /// Of a process; `None` when there is none.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Out of the file's text. The name, in parentheses, may hold anything.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            state: fields.first()?.chars().next()?,
            start_ticks: number(19)?,
            cpu_time_ns: number(11)?.saturating_add(number(12)?).saturating_mul(TICK_NS),
            threads: u32::try_from(number(17)?).ok()?,
            resident_bytes: number(21)?.saturating_mul(PAGE_BYTES),
        })
    }

    /// Neither ended nor waiting to be fetched. The state is that of the first thread alone: while others go on, they hold
    /// what the process holds, a disk's lock or a network device.
    #[must_use]
    pub fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X') || self.threads > 1
    }
}

impl Process {
    /// The one that has this id now; `None` when none runs.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = Stat::read(pid).filter(Stat::runs)?;
        Some(Self { pid, start_ticks: stat.start_ticks })
    }

    /// What /proc says of it; `None` when it has ended.
    #[must_use]
    pub fn stat(&self) -> Option<Stat> {
        Stat::read(self.pid).filter(|stat| stat.runs() && stat.start_ticks == self.start_ticks)
    }

    /// Does it run.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.stat().is_some()
    }

    /// Its command line; empty when it has ended.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        if !self.runs() {
            return Vec::new();
        }
        let bytes = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    /// Sends a signal to it and to no successor of its id. One that has ended is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(process) = self.open()? else { return Ok(()) };
        match pidfd_send_signal(process, signal) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the kernel spare it as little as any other when memory runs short: it inherits how much its parent is spared.
    ///
    /// # Errors
    /// It has ended.
    pub fn spare_no_more(&self) -> io::Result<()> {
        std::fs::write(format!("/proc/{}/oom_score_adj", self.pid), "0")
    }

    /// Returns when it has ended.
    ///
    /// # Errors
    /// The kernel has no handles of processes to give.
    pub async fn gone(&self) -> io::Result<()> {
        let Some(process) = self.open()? else { return Ok(()) };
        #[expect(
            deprecated,
            reason = "the one that is not is unsafe, and this descriptor is owned: it stays what it is"
        )]
        let process = AsyncFd::with_interest(process, Interest::READABLE)?;
        process.readable().await.map(drop)
    }

    /// A handle; `None` when it has ended.
    fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let process = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            other => other?,
        };
        // Opened first and looked at then: the id cannot change hands in between.
        Ok(self.runs().then_some(process))
    }
}

/// How much the kernel spares this process when memory runs short: below 0 more than others.
#[must_use]
pub fn own_oom_score() -> Option<i32> {
    std::fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim().parse().ok()
}

/// Every process of the machine that this one may look at, with its command line.
#[must_use]
pub fn all() -> Vec<(Process, Vec<String>)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| Process::of(entry.file_name().to_str()?.parse().ok()?))
        .map(|process| (process, process.arguments()))
        .collect()
}

/// Those whose command line holds all of these words.
#[must_use]
pub fn with_arguments(wanted: &[&str]) -> Vec<(Process, Vec<String>)> {
    let mut found = all();
    found.retain(|(_, words)| wanted.iter().all(|wanted| words.iter().any(|word| word == wanted)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let text = "42 (a) R (b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 777 1000 11 18446744073709551615";
        let stat = Stat::parse(text).unwrap();
        let expected = Stat {
            state: 'S',
            start_ticks: 777,
            cpu_time_ns: 3_000_000_000,
            threads: 3,
            resident_bytes: 11 * 4096,
        };
        assert_eq!(stat, expected);
        for bad in ["", "1 (x", "1 (x) ", "1 (x) S 1 2"] {
            assert_eq!(Stat::parse(bad), None, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_process_that_was_not_fetched_has_ended_and_an_id_alone_is_no_process() {
        let mut child = tokio::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        let another = Process { start_ticks: process.start_ticks + 1, ..process };
        assert!(process.runs() && !another.runs());
        another.signal(Signal::KILL).unwrap();
        assert!(process.runs(), "a signal to a successor of an id goes nowhere");
        process.signal(Signal::KILL).unwrap();
        process.gone().await.unwrap();
        assert!(!process.runs(), "ended, though nobody fetched it");
        child.wait().await.unwrap();
        process.gone().await.unwrap();
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_goes_on_in_the_others() {
        let stat = |state: char, threads: u32| Stat {
            state,
            start_ticks: 1,
            cpu_time_ns: 0,
            threads,
            resident_bytes: 0,
        };
        assert!(stat('S', 1).runs() && stat('Z', 2).runs());
        assert!(!stat('Z', 1).runs() && !stat('Z', 0).runs() && !stat('X', 0).runs());
    }

    #[test]
    fn what_is_started_can_be_spared_no_more_than_others() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        let file = format!("/proc/{}/oom_score_adj", process.pid);
        std::fs::write(&file, "300").unwrap();
        process.spare_no_more().unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap().trim(), "0");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn processes_are_found_by_arguments() {
        let mut child = std::process::Command::new("sleep").arg("61.25").spawn().unwrap();
        while with_arguments(&["sleep", "61.25"]).is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(with_arguments(&["sleep", "61.26"]).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
