//! `neuro serve`: answer robots.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use axum::serve::ListenerExt;
use clap::Args;
use tokio::net::TcpListener;

use crate::http::{AppState, HttpOptions, router};
use crate::policy::model::LoadOptions;
use crate::policy::service::{PolicyService, ServiceOptions};

/// Flags of `neuro serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address to listen on.
    #[arg(long, default_value = "0.0.0.0")]
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// Model folder.
    #[arg(long, default_value = "models/tabletop")]
    pub model: PathBuf,
}

/// Listens first, loads second, and stops when asked to.
///
/// # Errors
/// When the address is taken or the model does not load.
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let service = PolicyService::start(ServiceOptions::default());
    let listener = TcpListener::bind((args.host, args.port)).await?;
    let address = listener.local_addr()?;
    say(&format!("neuro listening on http://{address}"));
    let state = AppState::new(service.clone(), HttpOptions::default());
    // Small answers must not wait for Nagle's timer.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let server = tokio::spawn(async move { axum::serve(listener, router(state)).await });
    let model = service.load(LoadOptions::new(args.model)).await?;
    say(&format!("neuro ready: model {} on {}", model.id, model.backend.device));
    server.await??;
    Ok(())
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}
