//! Carries bytes between the driver's console and the hub, and finds the console again when it breaks off.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::hub::{Hub, Progress};
use super::log::Log;
use super::ready::ReadyLine;
use crate::agent::driver::{Console, ConsoleInput, Driver, Ground, Handle};

/// Bytes that are written to the log at once.
const BATCH_BYTES: usize = 256 << 10;
/// Until a console is asked for again, the first time and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// For a driver to hand out its console.
const PATIENCE: Duration = Duration::from_secs(10);

/// The console of one run.
#[derive(Debug, Clone)]
pub struct Source {
    /// Who has it.
    pub driver: Arc<dyn Driver>,
    /// Whose it is.
    pub ground: Ground,
    /// Of the run.
    pub handle: Handle,
    /// When it was started: tells runs apart; not 0.
    pub run: i64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pump {
    hub: Arc<Hub>,
    source: Source,
    log: Option<Log>,
    ready: Option<ReadyLine>,
    inputs: mpsc::Receiver<ConsoleInput>,
    progress: watch::Receiver<Progress>,
    /// Bytes of the run that readers have had.
    at: u64,
}

impl Pump {
    pub(super) fn new(
        hub: Arc<Hub>,
        source: Source,
        log: Option<Log>,
        ready: Option<ReadyLine>,
        inputs: mpsc::Receiver<ConsoleInput>,
    ) -> Self {
        let at = log.as_ref().map_or(0, Log::at);
        let progress = hub.subscribe();
        Self { hub, source, log, ready, inputs, progress, at }
    }

    /// Until the run is over and its console says nothing more.
    pub(super) async fn run(mut self) {
        let mut delay = RETRY.0;
        loop {
            let last = self.progress.borrow_and_update().finishing;
            let Source { driver, ground, handle, .. } = &self.source;
            let console = tokio::time::timeout(PATIENCE, driver.console(ground, handle)).await;
            match console {
                Ok(Ok(console)) => {
                    let before = self.at;
                    self.pass(console).await;
                    if self.at > before {
                        delay = RETRY.0;
                    }
                    if self.progress.borrow().finishing {
                        return;
                    }
                }
                Ok(Err(error)) => debug!(id = %self.source.ground.id, %error, "no console yet"),
                Err(_) => debug!(id = %self.source.ground.id, "no console yet: its driver is silent"),
            }
            if last {
                return;
            }
            let told = self.progress.wait_for(|progress| progress.finishing);
            tokio::time::timeout(delay, told).await.ok();
            delay = (delay * 2).min(RETRY.1);
        }
    }

    async fn pass(&mut self, mut console: Console) {
        if console.first > self.at {
            let lost = console.first - self.at;
            self.hub.said(format!("\r\n[{lost} bytes of output were lost]\r\n").as_bytes());
            self.at = console.first;
            if let Some(log) = &mut self.log {
                log.jump(console.first);
            }
        }
        let mut had = self.at - console.first;
        let mut typed: Option<ConsoleInput> = None;
        let mut deaf = false;
        loop {
            tokio::select! {
                data = console.output.recv() => {
                    let Some(data) = data else { return };
                    self.heard(data, &mut console.output, &mut had).await;
                }
                next = self.inputs.recv(), if typed.is_none() => match next {
                    Some(next) if !deaf => typed = Some(next),
                    Some(_) => {}
                    // Nobody can type any more: the run is over.
                    None => {
                        self.drain(&mut console.output, &mut had).await;
                        return;
                    }
                },
                place = console.input.reserve(), if typed.is_some() => match (place, typed.take()) {
                    (Ok(place), Some(next)) => place.send(next),
                    _ => deaf = true,
                },
            }
        }
    }

    async fn drain(&mut self, output: &mut mpsc::Receiver<Bytes>, had: &mut u64) {
        while let Some(data) = output.recv().await {
            self.heard(data, output, had).await;
        }
    }

    /// Readers first, the log after.
    async fn heard(&mut self, data: Bytes, more: &mut mpsc::Receiver<Bytes>, had: &mut u64) {
        let mut batch = BytesMut::new();
        let mut next = Some(data);
        while let Some(mut data) = next {
            let again = usize::try_from(*had).unwrap_or(usize::MAX).min(data.len());
            *had -= again as u64;
            let fresh = data.split_off(again);
            if !fresh.is_empty() {
                self.hub.said(&fresh);
                self.at += fresh.len() as u64;
                if self.ready.as_mut().is_some_and(|ready| ready.feed(&fresh)) {
                    self.ready = None;
                    self.hub.is_ready(self.source.run);
                }
                batch.extend_from_slice(&fresh);
            }
            next = if batch.len() < BATCH_BYTES { more.try_recv().ok() } else { None };
        }
        if batch.is_empty() {
            return;
        }
        let Some(mut log) = self.log.take() else { return };
        let written = tokio::task::spawn_blocking(move || {
            let outcome = log.append(&batch);
            (log, outcome)
        });
        match written.await {
            Ok((log, Ok(()))) => self.log = Some(log),
            Ok((_, Err(error))) => {
                warn!(id = %self.source.ground.id, %error, "console goes on without its log");
            }
            Err(error) => warn!(id = %self.source.ground.id, %error, "console goes on without its log"),
        }
    }
}
