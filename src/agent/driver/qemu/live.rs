//! A QEMU that runs: its process, its monitor, and its end.

use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::outcome;
use super::plan::Sockets;
use super::qmp::{Qmp, QmpError};
use crate::agent::process::Process;
use crate::agent::record::Exit;

/// How long a monitor may take to greet, before the other one is tried.
const GREETING: Duration = Duration::from_secs(2);
/// How long QEMU may take to end when told to.
const QUIT: Duration = Duration::from_secs(3);
/// How long the kernel may take to end a process: its memory is given back first.
const KILL: Duration = Duration::from_secs(20);
/// Between attempts at a monitor that is gone while its process is not.
const AGAIN: Duration = Duration::from_millis(100);
/// Between looks at a socket that will be there.
const SOON: Duration = Duration::from_millis(10);
/// How often a status is asked for that no event announced.
const LOOK: Duration = Duration::from_secs(5);
/// Seconds between two reports of the guest's balloon.
const BALLOON_S: u32 = 2;

/// What became of a machine whose QEMU runs.
enum Look {
    Runs,
    /// Until there is room on the host's disk for what it writes.
    Waits,
    Ended(Exit),
}

/// See the module.
#[derive(Debug)]
pub struct Live {
    /// The process.
    pub process: Process,
    /// How it ended; `None` for one whose parent was an earlier agent.
    status: Option<watch::Receiver<Option<ExitStatus>>>,
    sockets: Sockets,
    monitor: Mutex<Option<Qmp>>,
    killed: AtomicBool,
}

impl Live {
    /// Of a process that listens there.
    #[must_use]
    pub fn new(
        process: Process,
        sockets: Sockets,
        status: Option<watch::Receiver<Option<ExitStatus>>>,
    ) -> Self {
        Self { process, status, sockets, monitor: Mutex::new(None), killed: AtomicBool::new(false) }
    }

    /// Its monitor: the connection there is, or a new one.
    ///
    /// # Errors
    /// Neither monitor greets.
    pub async fn monitor(&self) -> Result<Qmp, QmpError> {
        let held = self.held().clone().filter(Qmp::is_open);
        if let Some(monitor) = held {
            return Ok(monitor);
        }
        let monitor = match Qmp::connect(&self.sockets.monitor, GREETING).await {
            Ok(monitor) => monitor,
            Err(_) => Qmp::connect(&self.sockets.rescue, GREETING).await?,
        };
        self.adopt(&monitor).await;
        Ok(monitor)
    }

    /// Waits for the monitor of a QEMU that was just started. It makes its sockets one after the other, the console's last,
    /// and greets when its machine is made, which takes a while where others are busy.
    ///
    /// # Errors
    /// It ended, or does not greet.
    pub async fn greeted(&self, limit: Duration) -> Result<(), QmpError> {
        let greeting = async {
            while !self.sockets.console.exists() {
                sleep(SOON).await;
            }
            Qmp::connect(&self.sockets.monitor, limit).await
        };
        tokio::select! {
            monitor = timeout(limit, greeting) => {
                let slow = |_| QmpError::Slow("a connection".to_owned());
                self.adopt(&monitor.map_err(slow)??).await;
                Ok(())
            }
            _ = self.process.gone() => {
                let status = self.status().await.map(|status| format!(" with {status}")).unwrap_or_default();
                Err(QmpError::Gone(format!("QEMU ended at once{status}")))
            }
        }
    }

    /// Keeps a connection, and has the balloon report.
    async fn adopt(&self, monitor: &Qmp) {
        *self.held() = Some(monitor.clone());
        // A connection is all that the agent needs of a machine without a balloon.
        let polling = json!({
            "path": "/machine/peripheral/balloon", "property": "guest-stats-polling-interval", "value": BALLOON_S,
        });
        drop(monitor.execute("qom-set", polling).await);
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Qmp>> {
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a command carried out.
    ///
    /// # Errors
    /// No monitor greets, or it refuses.
    pub async fn execute(&self, command: &'static str, arguments: Value) -> Result<Value, QmpError> {
        self.monitor().await?.execute(command, arguments).await
    }

    /// How it ended; `None` while it goes on. `Err` when its monitor does not say.
    ///
    /// # Errors
    /// It runs and says nothing.
    pub async fn outcome(&self) -> Result<Option<Exit>, QmpError> {
        if !self.process.runs() {
            return Ok(Some(self.without_process().await));
        }
        match self.look().await? {
            Look::Ended(exit) => Ok(Some(exit)),
            Look::Runs | Look::Waits => Ok(None),
        }
    }

    async fn look(&self) -> Result<Look, QmpError> {
        let monitor = self.monitor().await?;
        // It may stand still on its way out, when it is asked something then.
        let answer = tokio::select! {
            biased;
            () = monitor.ending() => return Ok(Look::Ended(self.told_to_end().await)),
            answer = monitor.execute("query-status", Value::Null) => answer?,
        };
        Ok(match outcome::of_status(&answer, outcome::now_ms()) {
            Some(exit) => Look::Ended(exit),
            None if outcome::waits(&answer) => Look::Waits,
            None => Look::Runs,
        })
    }

    /// Lets a machine go on that waits for room on the host's disk. Where there is still none, it waits again.
    async fn go_on(&self) {
        tracing::warn!(pid = self.process.pid, "a machine waits for room on the disk; it is tried again");
        // Another look follows.
        drop(self.execute("cont", Value::Null).await);
    }

    /// Of a QEMU that ends because somebody else told it to.
    async fn told_to_end(&self) -> Exit {
        if timeout(QUIT, self.process.gone()).await.is_err()
            && let Err(error) = end(self.process).await
        {
            tracing::warn!(pid = self.process.pid, %error, "a QEMU that was told to end does not");
        }
        if self.killed.load(Ordering::Acquire) {
            return self.without_process().await;
        }
        outcome::signal(Signal::TERM.as_raw(), outcome::now_ms())
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// The kernel has no handles of processes to give.
    pub async fn ended(&self) -> std::io::Result<Exit> {
        loop {
            let Ok(monitor) = self.monitor().await else {
                if timeout(AGAIN, self.process.gone()).await.is_ok() {
                    return Ok(self.without_process().await);
                }
                continue;
            };
            let mut events = monitor.events();
            let waits = match self.look().await {
                Ok(Look::Ended(exit)) => return Ok(exit),
                Ok(look) => matches!(look, Look::Waits),
                Err(_) => {
                    sleep(AGAIN).await;
                    false
                }
            };
            // Whatever happens is asked about again: events say that something happened, the status says what.
            tokio::select! {
                gone = self.process.gone() => {
                    gone?;
                    return Ok(self.without_process().await);
                }
                _ = events.recv() => {}
                () = monitor.closed() => {}
                () = sleep(LOOK) => {
                    if waits {
                        self.go_on().await;
                    }
                }
            }
        }
    }

    /// Of a process that has ended before its guest.
    async fn without_process(&self) -> Exit {
        let at_ms = outcome::now_ms();
        if self.killed.load(Ordering::Acquire) {
            return outcome::signal(Signal::KILL.as_raw(), at_ms);
        }
        let seen = self.status().await;
        seen.map_or_else(|| outcome::unseen(at_ms), |status| outcome::of_process(status, at_ms))
    }

    /// Of a process that has ended; `None` when it is another's child.
    async fn status(&self) -> Option<ExitStatus> {
        let mut status = self.status.clone()?;
        let seen = timeout(QUIT, status.wait_for(Option::is_some)).await;
        seen.ok().and_then(Result::ok).and_then(|status| *status)
    }

    /// Ends it with its guest.
    ///
    /// # Errors
    /// The kernel refuses, or it does not end.
    pub async fn kill(&self) -> std::io::Result<()> {
        self.killed.store(true, Ordering::Release);
        end(self.process).await
    }

    /// Ends a QEMU whose guest has ended.
    ///
    /// # Errors
    /// As [`Live::kill`].
    pub async fn quit(&self) -> std::io::Result<()> {
        if self.process.runs() {
            // It may end before it answers.
            drop(self.execute("quit", Value::Null).await);
            if timeout(QUIT, self.process.gone()).await.is_err() {
                return self.kill().await;
            }
        }
        Ok(())
    }
}

/// Kills a process, and is done when nothing of it runs.
pub(in crate::agent::driver) async fn end(process: Process) -> std::io::Result<()> {
    process.signal(Signal::KILL)?;
    timeout(KILL, process.gone()).await.unwrap_or_else(|_| {
        let problem = format!("process {} goes on after SIGKILL", process.pid);
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, problem))
    })
}
