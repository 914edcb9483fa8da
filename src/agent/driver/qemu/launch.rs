//! Starting a QEMU: spawned in a process group of its own, so that nothing sent to the agent's reaches it, with nothing of the
//! agent's environment, and done when its monitor greets.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::thread::CapabilitySet;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::cage::{self, Cage};
use super::live::Live;
use super::plan::{Link, Plan, Sockets};
use crate::agent::error::AgentError;
use crate::agent::process::Process;

/// How long QEMU may take until its monitor greets.
const UP: Duration = Duration::from_secs(60);
/// The longest path of a socket.
const LONGEST_SOCKET: usize = 107;
/// Of QEMU's last words, so many are repeated.
const WORDS: usize = 600;
/// Where QEMU's own complaints go.
pub(super) const COMPLAINTS: &str = "qemu.log";

/// Starts it.
///
/// # Errors
/// `Internal`, with QEMU's words when it had any.
pub(super) async fn launch(
    binary: &str,
    plan: &Plan,
    folder: &Path,
    cage: &Cage,
) -> Result<Live, AgentError> {
    let file = clear(&plan.sockets, &plan.console_log, folder)
        .map_err(|error| AgentError::internal(format!("start of {}", plan.name), error))?;
    let mut command = Command::new(binary);
    command.args(plan.arguments()).env_clear().process_group(0).current_dir("/");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    // A tap is made by who opens it.
    let kept = match plan.link {
        Link::Tap(_) => CapabilitySet::NET_ADMIN,
        Link::None | Link::User => CapabilitySet::empty(),
    };
    let child = cage::spawn(command, kept).await.map_err(|error| AgentError::internal(binary, error))?;
    let problem = match born(&child) {
        None => "ended at once".to_owned(),
        Some(process) => {
            cage.close(process);
            let live = Live::new(process, plan.sockets.clone(), Some(fetch(child)));
            let Err(error) = live.greeted(UP).await else { return Ok(live) };
            live.kill().await.map_err(|error| AgentError::internal("end of QEMU", error))?;
            error.to_string()
        }
    };
    let words = complaints(folder);
    Err(AgentError::internal(binary, if words.is_empty() { problem } else { format!("{problem}: {words}") }))
}

/// A child, which the kernel spares no more than others; `None` when it has ended.
pub(in crate::agent::driver) fn born(child: &Child) -> Option<Process> {
    let process = Process::of(i32::try_from(child.id()?).ok()?)?;
    // It may end meanwhile, and whoever waits for it hears of that.
    process.spare_no_more().ok();
    Some(process)
}

/// Its last words.
fn complaints(folder: &Path) -> String {
    let bytes = fs::read(folder.join(COMPLAINTS)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<&str> = text.split_whitespace().collect();
    let words = words.join(" ");
    let skipped = words.chars().count().saturating_sub(WORDS);
    words.chars().skip(skipped).collect()
}

/// Makes the folders and takes away what an earlier run left.
fn clear(sockets: &Sockets, console_log: &Path, folder: &Path) -> io::Result<File> {
    for socket in [&sockets.monitor, &sockets.rescue, &sockets.console] {
        if socket.as_os_str().len() > LONGEST_SOCKET {
            return Err(io::Error::new(
                io::ErrorKind::InvalidFilename,
                format!(
                    "{} is over {LONGEST_SOCKET} bytes; a socket needs a shorter data folder",
                    socket.display()
                ),
            ));
        }
        if let Some(parent) = socket.parent() {
            private(parent)?;
        }
        absent(socket)?;
    }
    private(folder)?;
    put_aside(console_log)?;
    File::create(console_log)?;
    File::create(folder.join(COMPLAINTS))
}

/// Bytes are counted from the run's start; the words of the run before stay beside it.
pub(in crate::agent::driver) fn put_aside(console_log: &Path) -> io::Result<()> {
    match fs::rename(console_log, aside(console_log)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where the words of the run before are.
pub(in crate::agent::driver) fn aside(console_log: &Path) -> PathBuf {
    console_log.with_extension("old.log")
}

/// Makes a folder that nobody else looks into.
pub(in crate::agent::driver) fn private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Removes a file; one that is gone is no error.
pub(in crate::agent::driver) fn absent(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Fetches it when it ends.
pub(in crate::agent::driver) fn fetch(mut child: Child) -> watch::Receiver<Option<ExitStatus>> {
    let (say, seen) = watch::channel(None);
    tokio::spawn(async move {
        if let Ok(status) = child.wait().await {
            say.send_replace(Some(status));
        }
    });
    seen
}
