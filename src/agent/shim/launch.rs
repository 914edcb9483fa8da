//! From a bundle to a running container.

use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{getpid, set_child_subreaper, setsid};

use super::source::Source;
use super::{RunFile, START, ShimOptions, Word, files};
use crate::agent::process::{Process, Stat};

/// A container that runs, and the socket that its shim listens on.
pub(super) struct Run {
    pub(super) file: RunFile,
    pub(super) source: Source,
    pub(super) socket: UnixListener,
}

/// Makes and starts it. Nothing when the agent never said to start it.
pub(super) fn launch(options: &ShimOptions) -> Result<Option<Run>, String> {
    let outcome = attempt(options);
    match &outcome {
        Ok(Some(run)) => say(&Word::Started(run.file.clone())),
        Ok(None) => clean(options),
        Err(problem) => {
            clean(options);
            say(&Word::Failed(problem.clone()));
        }
    }
    outcome
}

fn attempt(options: &ShimOptions) -> Result<Option<Run>, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    // It is a leader already when it was started by hand.
    setsid().ok();
    set_child_subreaper(Some(getpid())).map_err(|error| format!("subreaper: {error}"))?;
    let socket = listen(&options.socket).map_err(failed("socket"))?;
    let log = options.folder.join("runtime.log");
    fs::write(&log, "").map_err(failed("runtime.log"))?;

    let console = options.socket.with_extension("pty");
    let mut command = runtime(options);
    if options.hold {
        command.arg("create");
    } else {
        command.args(["run", "--detach"]);
    }
    command.arg("--bundle").arg(options.folder.join("bundle"));
    let pid_file = options.folder.join("init.pid");
    command.arg("--pid-file").arg(&pid_file).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(fs::File::create(options.folder.join("runtime.err")).map_err(failed("runtime.err"))?);
    let source = if options.tty {
        let terminal = listen(&console).map_err(failed("console socket"))?;
        terminal.set_nonblocking(true).map_err(failed("console socket"))?;
        command.arg("--console-socket").arg(&console).arg(&options.id);
        finish(command, options)?;
        let source = Source::receive(&terminal).map_err(failed("console"))?;
        fs::remove_file(&console).ok();
        source
    } else {
        let (output, its_output) = pipe().map_err(failed("pipe"))?;
        let (its_input, input) = pipe().map_err(failed("pipe"))?;
        command.stdin(its_input).stdout(its_output.try_clone().map_err(failed("pipe"))?).stderr(its_output);
        command.arg(&options.id);
        finish(command, options)?;
        Source::Pipes { output, input: Some(input) }
    };
    source.unblock().map_err(failed("console"))?;

    let pid = fs::read_to_string(&pid_file).map_err(failed("init.pid"))?;
    let pid = pid.trim().parse::<i32>().map_err(|_| format!("init.pid holds {pid:?}; expected a number"))?;
    let init = number(pid)?;
    if options.hold {
        say(&Word::Created(init));
        let mut word = String::new();
        io::stdin().lock().read_line(&mut word).ok();
        if word != START {
            return Ok(None);
        }
        let mut start = runtime(options);
        start.arg("start").arg(&options.id).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        finish(start, options)?;
    }
    let shim = number(getpid().as_raw_nonzero().get())?;
    let file = RunFile { shim, init, started_ms: now_ms() };
    files::note(&options.folder, RunFile::NAME, &file).map_err(failed("run.json"))?;
    Ok(Some(Run { file, source, socket }))
}

/// Of a process that may have ended already: nobody but this one waits for it, so its number is still its own.
fn number(pid: i32) -> Result<Process, String> {
    let stat = Stat::read(pid).ok_or_else(|| format!("process {pid} is not to be found in /proc"))?;
    Ok(Process { pid, start_ticks: stat.start_ticks })
}

/// The reading end, the writing end.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

/// A call of the runtime, up to its own command.
fn runtime(options: &ShimOptions) -> Command {
    let mut command = Command::new(&options.runtime);
    command.arg("--root").arg(options.folder.join("runtime"));
    command.arg("--log").arg(options.folder.join("runtime.log")).args(["--log-format", "json"]);
    command.current_dir("/");
    command
}

fn finish(mut command: Command, options: &ShimOptions) -> Result<(), String> {
    let name = options.runtime.display();
    let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
    // The command holds this side's copies of the container's ends of pipes.
    drop(command);
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name}: {}", failure(&options.folder, status))) }
}

/// What a runtime said last of why, or how it ended.
#[must_use]
pub fn failure(folder: &Path, status: std::process::ExitStatus) -> String {
    let text = fs::read_to_string(folder.join("runtime.log")).unwrap_or_default();
    let said = text.lines().rev().find_map(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        (entry["level"] == "error").then(|| entry["msg"].as_str().map(str::to_owned))?
    });
    let plain = || {
        let text = fs::read_to_string(folder.join("runtime.err")).unwrap_or_default();
        text.lines().rev().find(|line| !line.trim().is_empty()).map(|line| line.chars().take(400).collect())
    };
    said.or_else(plain).unwrap_or_else(|| status.to_string())
}

/// Whatever was made of the container.
fn clean(options: &ShimOptions) {
    let mut command = runtime(options);
    command.args(["delete", "--force"]).arg(&options.id);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
    fs::remove_file(&options.socket).ok();
}

/// A line to the agent, if it still listens.
fn say(word: &Word) {
    if let Ok(mut line) = serde_json::to_string(word) {
        line.push('\n');
        io::stdout().lock().write_all(line.as_bytes()).and_then(|()| io::stdout().lock().flush()).ok();
    }
}

pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
