//! One run of a container: from the shim's start to what is left when it has ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use super::link;
use crate::agent::cgroup::Group;
use crate::agent::driver::Handle;
use crate::agent::error::AgentError;
use crate::agent::net::Cable;
use crate::agent::process::{self, Process};
use crate::agent::record::Exit;
use crate::agent::shim::{self, ExitFile, RunFile, START, ShimOptions, Word};

/// What a shim takes at most to make or start a container on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const VERSION: u32 = 1;

/// What is known of a run before it begins: `plan.json` in the instance's folder, so that a run whose handle was not written
/// can be found all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlanFile {
    /// The runtime's program.
    pub(super) runtime: PathBuf,
    /// That asks it to end.
    pub(super) stop_signal: String,
    /// Its cable, if it has one.
    pub(super) device: Option<String>,
    /// Its address; empty for none.
    pub(super) address: String,
}

impl PlanFile {
    pub(super) const NAME: &'static str = "plan.json";
}

/// What a handle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) plan: PlanFile,
    pub(super) file: RunFile,
}

impl Run {
    pub(super) fn handle(&self, driver: &str) -> Result<Handle, AgentError> {
        let body = serde_json::to_value(self).map_err(|error| AgentError::internal("handle", error))?;
        Ok(Handle { driver: driver.to_owned(), version: VERSION, body })
    }

    pub(super) fn of(handle: &Handle) -> Result<Self, AgentError> {
        if handle.version != VERSION {
            let found = handle.version;
            return Err(AgentError::Internal(format!(
                "handle has version {found}; this agent knows {VERSION}"
            )));
        }
        serde_json::from_value(handle.body.clone()).map_err(|error| AgentError::internal("handle", error))
    }

    /// The one that the instance's folder tells of.
    pub(super) fn found(folder: &Path) -> Option<Self> {
        let file = shim::read::<RunFile>(folder, RunFile::NAME)?;
        Some(Self { plan: shim::read(folder, PlanFile::NAME)?, file })
    }

    /// How it ended, if its shim or an agent wrote that down.
    pub(super) fn exit(&self, folder: &Path) -> Option<Exit> {
        let found = shim::read::<ExitFile>(folder, ExitFile::NAME)?;
        (found.init == self.file.init).then_some(found.exit)
    }

    /// Its shim was killed: nobody will know how it ends, so it ends now.
    pub(super) fn unseen(&self, folder: &Path, group: &Group) -> Result<Exit, AgentError> {
        if let Some(exit) = self.exit(folder) {
            return Ok(exit);
        }
        end(self.file.init, group)?;
        let exit = Exit { code: 255, signal: None, oom: false, at_ms: now_ms(), unseen: true };
        let file = ExitFile { init: self.file.init, exit: exit.clone() };
        shim::write(folder, ExitFile::NAME, &file)
            .map_err(|error| AgentError::internal("exit.json", error))?;
        Ok(exit)
    }
}

/// Starts a shim, plugs the cable in while the container waits, and is done when it runs.
pub(super) async fn launch(
    program: &Path,
    options: &ShimOptions,
    plan: PlanFile,
    cable: Option<&Cable>,
) -> Result<Run, AgentError> {
    let failed = |error: std::io::Error| AgentError::internal(format!("shim of {}", options.id), error);
    let log = fs::File::create(options.folder.join("shim.log")).map_err(failed)?;
    let mut child = Command::new(program)
        .args(options.arguments())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(AgentError::Internal("a shim without pipes".to_owned()));
    };
    let mut lines = BufReader::new(stdout).lines();
    if let Some(cable) = cable {
        match word(&mut lines, options).await? {
            Word::Created(init) => {
                // On failure the pipe closes, and the shim takes everything away.
                cable.plug(init.pid).await?;
                stdin.write_all(START.as_bytes()).await.map_err(failed)?;
            }
            Word::Started(file) => return Ok(Run { plan, file }),
            Word::Failed(problem) => return Err(refusal(problem)),
        }
    }
    match word(&mut lines, options).await? {
        Word::Started(file) => Ok(Run { plan, file }),
        Word::Failed(problem) => Err(refusal(problem)),
        Word::Created(_) => Err(AgentError::Internal(format!("shim of {} waits for nobody", options.id))),
    }
}

/// Whose fault it is that a container did not start. A program or a folder that the image does not have is the caller's;
/// runtimes have no codes for that, only words.
fn refusal(problem: String) -> AgentError {
    let words = problem.to_ascii_lowercase();
    let has = |any: &[&str]| any.iter().any(|word| words.contains(word));
    let program = has(&["exec: ", "exec /", "executable"])
        && has(&[
            "not found",
            "no such file",
            "permission denied",
            "not a directory",
            "is a directory",
            "exec format error",
            "not executable",
        ]);
    let folder = has(&["chdir to cwd"]) && has(&["permission denied", "not a directory", "no such file"]);
    if program || folder { AgentError::Precondition(problem) } else { AgentError::Internal(problem) }
}

async fn word(lines: &mut Lines<BufReader<ChildStdout>>, options: &ShimOptions) -> Result<Word, AgentError> {
    let failed = |problem: &str| {
        let log = fs::read_to_string(options.folder.join("shim.log")).unwrap_or_default();
        let said: String = log.trim().chars().take(400).collect();
        AgentError::Internal(format!("shim of {} {problem}: {said:?}", options.id))
    };
    match tokio::time::timeout(PATIENCE, lines.next_line()).await {
        Err(_) => Err(failed(&format!("said nothing for {} s", PATIENCE.as_secs()))),
        Ok(Ok(Some(line))) => serde_json::from_str(&line).map_err(|_| failed("said something else")),
        Ok(_) => Err(failed("ended")),
    }
}

/// Kills the first process, with which all others of its namespace end, and whoever else is in the group, and waits. Blocks.
pub(super) fn end(init: Process, group: &Group) -> Result<(), AgentError> {
    let since = Instant::now();
    let mut pause = Duration::from_millis(1);
    init.signal(Signal::KILL).map_err(|error| AgentError::internal("ending the first process", error))?;
    while init.runs() || !group.processes().iter().all(|pid| Process::of(*pid).is_none()) {
        if since.elapsed() > Duration::from_secs(20) {
            let left = group.processes();
            return Err(AgentError::Internal(format!(
                "processes {left:?} did not end 20 s after they were killed"
            )));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
        group.kill();
    }
    Ok(())
}

/// Ends a shim: by word, and by force when it does not hear.
pub(super) async fn dismiss(shim: Process, socket: &Path) {
    let heard = tokio::time::timeout(Duration::from_secs(3), link::quit(socket)).await;
    if !matches!(heard, Ok(Ok(()))) {
        shim.signal(Signal::KILL).ok();
    }
    for _ in 0..200 {
        if !shim.runs() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shim.signal(Signal::KILL).ok();
}

/// Shims of an instance, whoever started them.
pub(super) fn strays(mark: &str, id: &str) -> Vec<Process> {
    process::with_arguments(&["shim", "--mark", mark, "--id", id])
        .into_iter()
        .map(|(process, _)| process)
        .collect()
}

/// A number, a name with or without `SIG`, or a real-time one as `RTMIN+3`.
pub(super) fn signal_number(name: &str) -> Option<i32> {
    let name = name.trim().to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Ok(number) = name.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    if let Some(above) = name.strip_prefix("RTMIN") {
        let above: i32 = if above.is_empty() { 0 } else { above.strip_prefix('+')?.parse().ok()? };
        return (0..=30).contains(&above).then_some(34 + above);
    }
    let names = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    (1..).zip(names).find(|(_, known)| *known == name).map(|(number, _)| number)
}

pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_the_image_has_not_is_the_callers_fault_and_everything_else_is_not() {
        for callers in [
            "/usr/sbin/runc: runc create failed: unable to start container process: exec: \"x\": executable file not found in $PATH",
            "runc: unable to start container process: exec: \"/x\": stat /x: no such file or directory",
            "runc: unable to start container process: exec: \"/etc\": permission denied",
            "crun: executable file `x` not found in $PATH: No such file or directory",
            "runc: unable to start container process: chdir to cwd (\"/root/x\") set in config.json failed: permission denied",
        ] {
            assert!(matches!(refusal(callers.to_owned()), AgentError::Precondition(text) if text == callers));
        }
        for agents in [
            "/usr/sbin/runc: No such file or directory (os error 2)",
            "runc: error mounting \"/gone\" to rootfs at \"/x\": stat /gone: no such file or directory",
            "runc: mkdir /sys/fs/cgroup/pids/neuro-1/x: permission denied",
            "signal: 9 (SIGKILL)",
        ] {
            assert!(matches!(refusal(agents.to_owned()), AgentError::Internal(_)), "{agents}");
        }
    }

    #[test]
    fn signals_are_read_by_number_and_by_name() {
        for (text, number) in
            [("TERM", 15), ("SIGTERM", 15), ("sigint", 2), ("9", 9), ("SIGRTMIN+3", 37), ("SYS", 31)]
        {
            assert_eq!(signal_number(text), Some(number), "{text}");
        }
        for text in ["", "SIG", "NOPE", "0", "65", "RTMIN-1", "RTMIN+99"] {
            assert_eq!(signal_number(text), None, "{text}");
        }
    }
}
