//! Processes that outlive this program. A number alone is not one: numbers come again. With the time of its start it is.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it started, in the kernel's ticks since the machine's start.
    pub started: u64,
}

impl Process {
    /// The one that has this number now; nothing when there is none, or only what is left of one.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let (state, started) = stat(pid)?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, started })
    }

    /// It still runs. One that has ended and that nobody has waited for does not.
    #[must_use]
    pub fn lives(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }

    /// A descriptor that becomes readable when it ends; nothing when it has ended.
    #[must_use]
    pub fn open(&self) -> Option<OwnedFd> {
        let descriptor = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::NONBLOCK).ok()?;
        self.lives().then_some(descriptor)
    }

    /// Sends a signal; `false` when it has ended.
    pub fn signal(&self, signal: Signal) -> bool {
        self.open().is_some_and(|descriptor| pidfd_send_signal(descriptor, signal).is_ok())
    }

    /// Those whose command line holds all of these arguments.
    #[must_use]
    pub fn with_arguments(wanted: &[&str]) -> Vec<(Self, Vec<String>)> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let line = fs::read(entry.path().join("cmdline")).ok()?;
                let words: Vec<String> = line
                    .split(|byte| *byte == 0)
                    .map(|word| String::from_utf8_lossy(word).into_owned())
                    .collect();
                wanted
                    .iter()
                    .all(|wanted| words.iter().any(|word| word == wanted))
                    .then(|| Some((Self::of(pid)?, words)))?
            })
            .collect()
    }
}

/// State and start. The name before them may hold anything, so the last bracket counts.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_process_that_has_ended_is_gone_even_before_anybody_waits_for_it() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(process.lives() && process.open().is_some());
        assert!(
            !Process { started: process.started + 1, ..process }.lives(),
            "the same number at another time"
        );
        assert!(process.signal(Signal::KILL));
        while process.lives() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(fs::exists(format!("/proc/{}", process.pid)).unwrap(), "nobody waited for it yet");
        assert!(!process.signal(Signal::KILL) && process.open().is_none());
        child.wait().unwrap();
    }

    #[test]
    fn processes_are_found_by_arguments() {
        let mut child = Command::new("sleep").arg("61.25").spawn().unwrap();
        while Process::with_arguments(&["sleep", "61.25"]).is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(Process::with_arguments(&["sleep", "61.26"]).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
