//! A Firecracker process: its start, and how it ended.
//!
//! It ends with its guest and says its exit code in its log: so an agent that was not there learns it later.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::agent::driver::qemu::{absent, born, end, fetch, outcome, private, put_aside};
use crate::agent::process::Process;
use crate::agent::record::Exit;

const UP: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);
const GONE: Duration = Duration::from_secs(5);
/// The last bytes of its log are enough.
const LOG_TAIL: u64 = 64 << 10;

/// The files of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    /// Its API.
    pub(super) socket: PathBuf,
    /// A named pipe: what is typed. It is open at both ends in Firecracker, so that it never ends.
    pub(super) keys: PathBuf,
    /// What the guest wrote.
    pub(super) console: PathBuf,
    /// What Firecracker wrote.
    pub(super) log: PathBuf,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) process: Process,
    status: Option<watch::Receiver<Option<ExitStatus>>>,
    log: PathBuf,
}

impl Run {
    /// Of a process that an earlier agent started.
    pub(super) fn found(process: Process, log: &Path) -> Self {
        Self { process, status: None, log: log.to_owned() }
    }

    /// Starts the process, and is done when its API listens.
    pub(super) async fn launch(binary: &str, id: &str, files: &Files) -> io::Result<Self> {
        let (keys, console) = clear(files)?;
        let mut command = Command::new(binary);
        command.arg("--id").arg(id).arg("--api-sock").arg(&files.socket);
        command.arg("--log-path").arg(&files.log).args(["--level", "Info"]);
        command.env_clear().process_group(0).current_dir("/");
        command.stdin(keys).stdout(console).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let process = born(&child);
        let until = Instant::now() + UP;
        let problem = loop {
            if let Some(status) = child.try_wait()? {
                break format!("{binary} ended at once with {status}");
            }
            if let (Some(process), true) = (process, files.socket.exists()) {
                return Ok(Self { process, status: Some(fetch(child)), log: files.log.clone() });
            }
            if Instant::now() > until {
                drop(child.kill().await);
                break format!("{binary} does not listen within {} s", UP.as_secs());
            }
            sleep(LOOK).await;
        };
        Err(io::Error::other(problem))
    }

    /// How it ended; `None` while it goes on.
    pub(super) async fn outcome(&self) -> Option<Exit> {
        if self.process.runs() {
            return None;
        }
        let at_ms = outcome::now_ms();
        if let Some(mut status) = self.status.clone()
            && let Ok(Ok(seen)) = timeout(GONE, status.wait_for(Option::is_some)).await
            && let Some(status) = *seen
        {
            // It ends with 0 when its guest has, which is no signal.
            return Some(match status.code() {
                Some(code) => outcome::code(code, at_ms),
                None => outcome::of_process(status, at_ms),
            });
        }
        let text = tail(&self.log).unwrap_or_default();
        Some(said_code(&text).map_or_else(|| outcome::unseen(at_ms), |code| outcome::code(code, at_ms)))
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) -> io::Result<Exit> {
        self.process.gone().await?;
        Ok(self.outcome().await.unwrap_or_else(|| outcome::unseen(outcome::now_ms())))
    }

    /// Ends it.
    pub(super) async fn kill(&self) -> io::Result<()> {
        end(self.process).await
    }
}

/// The code that it said it ends with.
pub(super) fn said_code(log: &str) -> Option<i32> {
    let (_, rest) = log.rsplit_once("exit_code=")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn tail(path: &Path) -> io::Result<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Its files, new: the pipe and the console's.
fn clear(files: &Files) -> io::Result<(File, File)> {
    for path in [&files.socket, &files.keys, &files.log] {
        if let Some(parent) = path.parent() {
            private(parent)?;
        }
        absent(path)?;
    }
    put_aside(&files.console)?;
    File::create(&files.log)?;
    mknodat(CWD, &files.keys, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let keys = OpenOptions::new().read(true).write(true).open(&files.keys)?;
    let console = OpenOptions::new().create(true).append(true).mode(0o600).open(&files.console)?;
    Ok((keys, console))
}
