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
/// Between attempts at a monitor that is gone while its process is not.
const AGAIN: Duration = Duration::from_millis(100);
/// How often a status is asked for that no event announced.
const LOOK: Duration = Duration::from_secs(5);
/// Seconds between two reports of the guest's balloon.
const BALLOON_S: u32 = 2;

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

    /// Waits for the monitor of a QEMU that was just started: it greets when its machine is made, which takes a while where
    /// others are busy.
    ///
    /// # Errors
    /// It ended, or does not greet.
    pub async fn greeted(&self, limit: Duration) -> Result<(), QmpError> {
        tokio::select! {
            monitor = Qmp::connect(&self.sockets.monitor, limit) => {
                self.adopt(&monitor?).await;
                Ok(())
            }
            _ = self.process.gone() => Err(QmpError::Gone("ended at once".to_owned())),
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
        let answer = self.execute("query-status", Value::Null).await?;
        Ok(outcome::of_status(&answer, outcome::now_ms()))
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
            match self.outcome().await {
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) => {}
                Err(_) => sleep(AGAIN).await,
            }
            // Whatever happens is asked about again: events say that something happened, the status says what.
            tokio::select! {
                gone = self.process.gone() => {
                    gone?;
                    return Ok(self.without_process().await);
                }
                _ = events.recv() => {}
                () = monitor.closed() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Of a process that has ended before its guest.
    async fn without_process(&self) -> Exit {
        let at_ms = outcome::now_ms();
        if self.killed.load(Ordering::Acquire) {
            return outcome::signal(Signal::KILL.as_raw(), at_ms);
        }
        let Some(mut status) = self.status.clone() else { return outcome::unseen(at_ms) };
        let seen = timeout(QUIT, status.wait_for(Option::is_some)).await;
        let seen = seen.ok().and_then(Result::ok).and_then(|status| *status);
        seen.map_or_else(|| outcome::unseen(at_ms), |status| outcome::of_process(status, at_ms))
    }

    /// Ends it with its guest.
    ///
    /// # Errors
    /// The kernel refuses, or it does not end.
    pub async fn kill(&self) -> std::io::Result<()> {
        self.killed.store(true, Ordering::Release);
        self.process.signal(Signal::KILL)?;
        timeout(QUIT, self.process.gone()).await.map_err(|_| {
            std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("process {} goes on after SIGKILL", self.process.pid),
            )
        })?
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
