//! `neuro agent console`: this terminal and an instance's console. In a terminal every key goes there and ctrl-] leaves;
//! from a file or a pipe everything is typed, and what is said is printed until the run or a silence ends it.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Streaming};

use super::link::{Where, refused};
use super::terminal::{Raw, Typed, keys, size};
use crate::cli::exit::{Exit, Failure, OrExit, Outcome};
use crate::cli::output::complain;
use crate::cli::signals::Signals;
use crate::proto::hypervisor::v1::agent_console_input::Input;
use crate::proto::hypervisor::v1::{AgentConsoleInput, AgentConsoleOutput, AgentConsoleResize};

/// Flags of `neuro agent console`.
#[derive(Debug, Args)]
pub(super) struct ConsoleArgs {
    #[command(flatten)]
    at: Where,
    /// The instance's id.
    id: String,
    /// When all was typed that came from a file or a pipe: end after so many seconds of silence; 0 waits for the run's end.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    quiet: f64,
}

/// Attaches until the run ends, the key is pressed, or all was typed and said.
///
/// # Errors
/// When the agent refuses, or the line breaks.
pub(super) async fn run(args: &ConsoleArgs) -> Outcome {
    let quiet = Duration::try_from_secs_f64(args.quiet).or_exit_with(Exit::Usage, "--quiet")?;
    let mut link = args.at.connect().await?;
    let (typing, typed) = mpsc::channel(16);
    let mut request = Request::new(ReceiverStream::new(typed));
    let id =
        MetadataValue::try_from(&args.id).or_exit_with(Exit::Usage, format!("{:?} is no id", args.id))?;
    request.metadata_mut().insert("instance-id", id);
    let said = link.attach_console(request).await.map_err(|status| refused(&status))?.into_inner();

    let raw = Raw::enter()?;
    let terminal = raw.is_terminal();
    if terminal {
        complain(&format!("attached to {}; ctrl-] leaves\r", args.id));
    }
    let ended = both(said, typing, terminal, quiet).await;
    drop(raw);
    if terminal {
        complain("");
    }
    ended.map(|()| Exit::Ok)
}

async fn both(
    mut said: Streaming<AgentConsoleOutput>,
    typing: mpsc::Sender<AgentConsoleInput>,
    terminal: bool,
    quiet: Duration,
) -> Result<(), Failure> {
    let mut keys = keys(terminal)?;
    let mut signals = Signals::catch()?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut typing = Some(typing);
    if let (Some(typing), true) = (&typing, terminal) {
        drop(typing.send(resize()).await);
    }
    loop {
        let silence = async {
            match typing {
                None if !quiet.is_zero() => tokio::time::sleep(quiet).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            message = said.message() => match message.map_err(|status| refused(&status))? {
                Some(message) => {
                    let mut out = std::io::stdout().lock();
                    out.write_all(&message.data)?;
                    out.flush()?;
                }
                None => return Ok(()),
            },
            typed = keys.recv(), if typing.is_some() => match typed {
                Some(Typed::Keys(data)) => {
                    if let Some(typing) = &typing {
                        drop(typing.send(AgentConsoleInput { input: Some(Input::Data(data)) }).await);
                    }
                }
                Some(Typed::Leave) => return Ok(()),
                // The other side hears that no more comes, and goes on talking.
                None => typing = None,
            },
            _ = resized.recv() => if let Some(typing) = &typing {
                drop(typing.send(resize()).await);
            },
            () = silence => return Ok(()),
            // The terminal is given back as it was.
            _ = signals.next() => return Ok(()),
        }
    }
}

fn resize() -> AgentConsoleInput {
    let input = size().map(|(width, height)| Input::Resize(AgentConsoleResize { width, height }));
    AgentConsoleInput { input }
}
