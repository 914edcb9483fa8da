//! SIGINT and SIGTERM: the first asks for an orderly end, the second for an end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals, caught from the moment this exists.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Starts catching.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
