//! `AttachConsole`: what is typed and what is said, over one stream.
//!
//! The instance is named by the metadata `instance-id`, or by the first `data`. A size that comes before is held until the
//! console is there. First comes what was said before, then what is said now. A client that has typed all it wanted to and
//! closes its side goes on reading. Typing waits for the console and never for reading; a client that reads slowly misses
//! something, is told how much, and holds nobody up.

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use super::{Edge, status};
use crate::agent::driver::ConsoleInput;
use crate::agent::error::AgentError;
use crate::agent::{Agent, Attached, Output};
use crate::telemetry::agent as telemetry;

/// How long a stream may say nothing at its beginning.
const FIRST_WORD: std::time::Duration = std::time::Duration::from_secs(30);

/// Longest piece of what was said before: clients allow 4 MiB.
const LONGEST_PIECE: usize = 64 << 10;

/// Longest piece of what is typed that is handed to a console.
const LONGEST_KEYS: usize = 16 << 10;

/// Metadata with the id.
const ID: &str = "instance-id";

/// What a client says, in either profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Keys, or the id.
    Data(Bytes),
    /// The size of its terminal.
    Resize {
        /// Columns.
        width: i32,
        /// Lines.
        height: i32,
    },
    /// A message without either.
    Nothing,
}

/// What is to be done with what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Nothing yet.
    Nothing,
    /// The console of this instance is wanted.
    Open(String),
    /// This goes to the console.
    Input(ConsoleInput),
}

/// What the messages of one stream mean: which instance, and what is for its console.
#[derive(Debug, Clone, Default)]
pub struct Dialogue {
    named: bool,
    held: Option<ConsoleInput>,
}

impl Dialogue {
    /// Of a stream whose instance is named already, or not yet.
    #[must_use]
    pub const fn new(named: bool) -> Self {
        Self { named, held: None }
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// `Invalid` for an id that is no text, and for a size that no terminal has.
    pub fn hear(&mut self, said: Said) -> Result<Heard, AgentError> {
        match said {
            Said::Nothing => Ok(Heard::Nothing),
            Said::Data(data) if self.named => Ok(match data.is_empty() {
                true => Heard::Nothing,
                false => Heard::Input(ConsoleInput::Data(data)),
            }),
            Said::Data(data) => {
                let expected =
                    "is no text; the first data, or the metadata `instance-id`, names the instance";
                let id = std::str::from_utf8(&data).map_err(|_| AgentError::invalid("data", expected))?;
                self.named = true;
                Ok(Heard::Open(id.to_owned()))
            }
            Said::Resize { width, height } => {
                let resize = ConsoleInput::Resize {
                    width: side("resize.width", width)?,
                    height: side("resize.height", height)?,
                };
                if self.named {
                    return Ok(Heard::Input(resize));
                }
                self.held = Some(resize);
                Ok(Heard::Nothing)
            }
        }
    }

    /// The size that came before the console was there.
    pub fn held(&mut self) -> Option<ConsoleInput> {
        self.held.take()
    }
}

fn side(field: &str, value: i32) -> Result<u16, AgentError> {
    let sound = u16::try_from(value).ok().filter(|value| *value > 0);
    sound.ok_or_else(|| AgentError::invalid(field, format!("is {value}; expected 1 to {}", u16::MAX)))
}

/// Opens a stream. What is wrong with an instance that the metadata names is the call's own status; everything else ends the
/// stream.
pub(super) fn attach<I, O>(
    edge: &Edge,
    request: Request<Streaming<I>>,
    show: impl Fn(Bytes) -> O + Send + 'static,
) -> Result<BoxStream<'static, Result<O, Status>>, Status>
where
    I: Into<Said> + Send + 'static,
    O: Send + 'static,
{
    let named = match request.metadata().get(ID) {
        Some(id) => Some(id.to_str().map_err(|_| wrong(&AgentError::invalid(ID, "is no text")))?.to_owned()),
        None => None,
    };
    let attached = match &named {
        Some(id) => Some(edge.agent.console(id).map_err(|error| wrong(&error))?),
        None => None,
    };
    // One place: what is not read yet stays in the console's ring.
    let (out, sent) = mpsc::channel(1);
    let session = Session { agent: edge.agent.clone(), stopping: edge.stopping.clone(), out };
    let inputs = request.into_inner();
    tokio::spawn(async move {
        let _counted = telemetry::attached();
        let out = session.out.clone();
        if let Err(status) = session.run(inputs, Dialogue::new(named.is_some()), attached).await {
            drop(out.send(Err(status)).await);
        }
    });
    Ok(ReceiverStream::new(sent).map(move |data: Result<Bytes, Status>| data.map(&show)).boxed())
}

struct Session {
    agent: Agent,
    stopping: watch::Receiver<bool>,
    out: mpsc::Sender<Result<Bytes, Status>>,
}

impl Session {
    async fn run<I: Into<Said>>(
        mut self,
        mut inputs: Streaming<I>,
        mut dialogue: Dialogue,
        attached: Option<Attached>,
    ) -> Result<(), Status> {
        let attached = match attached {
            Some(attached) => attached,
            None => self.first_word(&mut inputs, &mut dialogue).await?,
        };
        let Attached { scrollback, output, input } = attached;
        let mut stopping = self.stopping.clone();
        let out = self.out.clone();
        let reading = read(scrollback, output, self.out);
        let typing = async {
            let typed = type_in(inputs, dialogue, input).await;
            if typed.is_ok() {
                // All was typed; reading goes on.
                std::future::pending::<()>().await;
            }
            typed
        };
        tokio::select! {
            biased;
            () = reading => Ok(()),
            () = out.closed() => Ok(()),
            failed = typing => failed,
            _ = stopping.wait_for(|stop| *stop) => {
                Err(wrong(&AgentError::Unavailable("the agent ends; the instance goes on".to_owned())))
            }
        }
    }

    /// The console that the first data names.
    async fn first_word<I: Into<Said>>(
        &mut self,
        inputs: &mut Streaming<I>,
        dialogue: &mut Dialogue,
    ) -> Result<Attached, Status> {
        let word = async {
            loop {
                let Some(message) = inputs.message().await? else {
                    let problem =
                        "is missing: the first data, or the metadata `instance-id`, names the instance";
                    return Err(wrong(&AgentError::invalid("data", problem)));
                };
                if let Heard::Open(id) = dialogue.hear(message.into()).map_err(|error| wrong(&error))? {
                    return self.agent.console(&id).map_err(|error| wrong(&error));
                }
            }
        };
        let late =
            || Status::deadline_exceeded(format!("no instance was named within {} s", FIRST_WORD.as_secs()));
        tokio::select! {
            () = self.out.closed() => Err(Status::cancelled("the client is gone")),
            _ = self.stopping.wait_for(|stop| *stop) => {
                Err(wrong(&AgentError::Unavailable("the agent ends".to_owned())))
            }
            word = tokio::time::timeout(FIRST_WORD, word) => word.map_err(|_| late())?,
        }
    }
}

/// Hands out what was said before and what is said, until the run or the client ends.
async fn read(mut before: Bytes, mut output: crate::agent::Reader, out: mpsc::Sender<Result<Bytes, Status>>) {
    while !before.is_empty() {
        let piece = before.split_to(before.len().min(LONGEST_PIECE));
        if out.send(Ok(piece)).await.is_err() {
            return;
        }
    }
    loop {
        // Only who can take something is given something: the rest stays in the ring, and may go from there.
        let Ok(place) = out.reserve().await else { return };
        match output.recv().await {
            Some(Output::Data(data)) => place.send(Ok(data)),
            Some(Output::Skipped { bytes }) => {
                place.send(Ok(Bytes::from(format!("\r\n[neuro: {bytes} bytes were not shown]\r\n"))));
            }
            None => return,
        }
    }
}

/// Hands on what is typed, as fast as the console takes it.
async fn type_in<I: Into<Said>>(
    mut inputs: Streaming<I>,
    mut dialogue: Dialogue,
    input: mpsc::Sender<ConsoleInput>,
) -> Result<(), Status> {
    if let Some(size) = dialogue.held() {
        drop(input.send(size).await);
    }
    while let Some(message) = inputs.message().await? {
        if let Heard::Input(typed) = dialogue.hear(message.into()).map_err(|error| wrong(&error))? {
            for piece in pieces(typed) {
                // A console that takes no more has ended; its reader says so.
                drop(input.send(piece).await);
            }
        }
    }
    Ok(())
}

/// What waits for a console that is slow to read is bounded in pieces, so pieces are small.
fn pieces(typed: ConsoleInput) -> Vec<ConsoleInput> {
    match typed {
        ConsoleInput::Data(data) if data.len() > LONGEST_KEYS => {
            // Copied, so that a piece that waits does not hold the whole message.
            let pieces = data.chunks(LONGEST_KEYS).map(Bytes::copy_from_slice);
            pieces.map(ConsoleInput::Data).collect()
        }
        typed => vec![typed],
    }
}

fn wrong(error: &AgentError) -> Status {
    status::of(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_at_once_goes_on_in_small_pieces() {
        let keys: Bytes = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
        let cut = pieces(ConsoleInput::Data(keys.clone()));
        let mut whole = Vec::new();
        for piece in &cut {
            let ConsoleInput::Data(data) = piece else { panic!("{piece:?}") };
            assert!(data.len() <= LONGEST_KEYS);
            whole.extend_from_slice(data);
        }
        assert_eq!((cut.len(), whole.as_slice()), (7, &keys[..]));
        assert_eq!(pieces(ConsoleInput::Data(Bytes::new())).len(), 1);
    }

    fn data(text: &'static str) -> Said {
        Said::Data(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn the_first_data_names_the_instance_and_a_size_before_it_is_held() {
        let mut dialogue = Dialogue::new(false);
        for (width, height) in [(80, 24), (123, 41)] {
            assert_eq!(dialogue.hear(Said::Resize { width, height }), Ok(Heard::Nothing));
        }
        assert_eq!(dialogue.hear(Said::Nothing), Ok(Heard::Nothing));
        assert_eq!(dialogue.hear(data("box-1")), Ok(Heard::Open("box-1".into())));
        assert_eq!(dialogue.held(), Some(ConsoleInput::Resize { width: 123, height: 41 }));
        assert_eq!(dialogue.held(), None);
        let typed = Heard::Input(ConsoleInput::Data(Bytes::from_static(b"box-1")));
        assert_eq!(dialogue.hear(data("box-1")), Ok(typed));
        assert_eq!(dialogue.hear(data("")), Ok(Heard::Nothing));
    }

    #[test]
    fn where_the_metadata_names_it_the_first_data_is_typed() {
        let mut dialogue = Dialogue::new(true);
        let size = Heard::Input(ConsoleInput::Resize { width: 1, height: 65535 });
        assert_eq!(dialogue.hear(Said::Resize { width: 1, height: 65535 }), Ok(size));
        let typed = Heard::Input(ConsoleInput::Data(Bytes::from_static(b"ls\n")));
        assert_eq!(dialogue.hear(data("ls\n")), Ok(typed));
    }

    #[test]
    fn sizes_that_no_terminal_has_and_ids_that_are_no_text_are_refused_by_field() {
        for (width, height, field) in
            [(0, 24, "resize.width"), (80, -1, "resize.height"), (65536, 1, "resize.width")]
        {
            let error = Dialogue::new(true).hear(Said::Resize { width, height }).unwrap_err();
            assert!(matches!(&error, AgentError::Invalid { field: named, .. } if named == field), "{error}");
        }
        let error = Dialogue::new(false).hear(Said::Data(Bytes::from_static(b"\xff"))).unwrap_err();
        assert!(matches!(&error, AgentError::Invalid { field, .. } if field == "data"), "{error}");
    }
}
