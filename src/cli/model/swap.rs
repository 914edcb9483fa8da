//! `neuro model swap URL DIR`: a running server loads another folder, checks it, and changes over; requests go on
//! being answered by the old one until then, and for good if the new one is refused.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::say;

/// Flags of `neuro model swap`.
#[derive(Debug, Args)]
pub struct SwapArgs {
    /// The server, as in http://127.0.0.1:8000.
    url: String,
    /// The model folder, as the server sees it.
    dir: PathBuf,
    /// The server's admin token.
    #[arg(long, env = "NEURO_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    admin_token: String,
}

/// Asks for a swap and waits for its end.
///
/// # Errors
/// [`Exit::Model`] when the server refused the folder, [`Exit::Failed`] when it could not be asked.
pub fn run(args: &SwapArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(swap(args))
}

async fn swap(args: &SwapArgs) -> Outcome {
    let url = format!("{}/admin/model", args.url.trim_end_matches('/'));
    let answer = reqwest::Client::new()
        .post(&url)
        .bearer_auth(&args.admin_token)
        .json(&json!({ "model": args.dir }))
        .send()
        .await
        .with_context(|| format!("cannot ask {url}"))?;
    let status = answer.status();
    let text = answer.text().await.with_context(|| format!("{url}: no whole answer"))?;
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_success() {
        let name = body.get("id").and_then(Value::as_str).unwrap_or("?");
        let seconds = body.get("load_seconds").and_then(Value::as_f64).unwrap_or_default();
        say(&format!("{} now serves {name}, loaded and checked in {seconds:.2} s", args.url))?;
        return Ok(Exit::Ok);
    }
    let exit = if status.as_u16() == 422 { Exit::Model } else { Exit::Failed };
    let reason = body.get("detail").and_then(Value::as_str).unwrap_or(&text);
    Err(Failure { exit, error: anyhow::anyhow!("{url} answered {status}: {reason}") })
}
