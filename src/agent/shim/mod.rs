//! What stays with a container when the agent ends: one small process that holds its terminal, waits for it and writes down
//! how it ended. It has one thread and no runtime, because a node runs hundreds of them.
//!
//! The agent starts it with pipes as standard input and output. It makes the container, says so in a line, waits for a line
//! if there is a cable to plug, starts the container and says so in another line; then the agent lets go of the
//! pipes and speaks to it by its socket. When the agent dies before the word to start, what was made is taken away again.

mod client;
mod files;
mod frame;
mod launch;
mod serve;
mod source;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process::Process;

pub use files::{ExitFile, RunFile, note, read, write};
pub use frame::{Frame, HEADER_BYTES, LONGEST_PAYLOAD, Reply, Request};
pub use launch::failure;

/// What a shim is told on its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimOptions {
    /// Of the agent.
    pub mark: String,
    /// Of the instance.
    pub id: String,
    /// The instance's.
    pub folder: PathBuf,
    /// Where it listens.
    pub socket: PathBuf,
    /// The OCI runtime.
    pub runtime: PathBuf,
    /// The container has a terminal.
    pub tty: bool,
    /// It waits for a word between making and starting.
    pub hold: bool,
}

/// Lines that a shim says to the agent that started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The container is made; its first process waits.
    Created(Process),
    /// It runs.
    Started(RunFile),
    /// It does not, and nothing is left of it.
    Failed(String),
}

/// What the agent answers to [`Word::Created`].
pub const START: &str = "start\n";

impl ShimOptions {
    /// The command line, from the program's sub-command on.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut words = vec!["agent".to_owned(), "shim".to_owned()];
        for (name, value) in [
            ("--mark", self.mark.clone()),
            ("--id", self.id.clone()),
            ("--folder", path(&self.folder)),
            ("--socket", path(&self.socket)),
            ("--runtime", path(&self.runtime)),
        ] {
            words.extend([name.to_owned(), value]);
        }
        words.extend(self.tty.then(|| "--tty".to_owned()));
        words.extend(self.hold.then(|| "--hold".to_owned()));
        words
    }

    /// Out of what follows `agent shim`.
    ///
    /// # Errors
    /// A sentence with the argument that is unknown or missing.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut found = Self {
            mark: String::new(),
            id: String::new(),
            folder: PathBuf::new(),
            socket: PathBuf::new(),
            runtime: PathBuf::new(),
            tty: false,
            hold: false,
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--mark" => found.mark = value()?,
                "--id" => found.id = value()?,
                "--folder" => found.folder = value()?.into(),
                "--socket" => found.socket = value()?.into(),
                "--runtime" => found.runtime = value()?.into(),
                "--tty" => found.tty = true,
                "--hold" => found.hold = true,
                _ => return Err(format!("unknown argument {word:?}")),
            }
        }
        let missing = [
            ("--mark", found.mark.is_empty()),
            ("--id", found.id.is_empty()),
            ("--folder", found.folder.as_os_str().is_empty()),
            ("--socket", found.socket.as_os_str().is_empty()),
            ("--runtime", found.runtime.as_os_str().is_empty()),
        ];
        match missing.into_iter().find(|(_, missing)| *missing) {
            Some((name, _)) => Err(format!("{name} is missing")),
            None => Ok(found),
        }
    }
}

/// The whole life of a shim. It ends when it is told to after the container has ended, or when the instance's folder is gone.
///
/// # Errors
/// A sentence; the agent has been told the same.
pub fn run(options: &ShimOptions) -> Result<(), String> {
    let Some(run) = launch::launch(options)? else { return Ok(()) };
    serve::serve(options, run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_leads_back_to_its_options() {
        let options = ShimOptions {
            mark: "0badcafe".to_owned(),
            id: "a.b-c".to_owned(),
            folder: "/d/instances/a.b-c".into(),
            socket: "/d/run/0123/shim".into(),
            runtime: "/usr/sbin/runc".into(),
            tty: true,
            hold: false,
        };
        let words = options.arguments();
        assert_eq!(words[..2], ["agent", "shim"]);
        assert_eq!(ShimOptions::parse(words[2..].to_vec()), Ok(options));
        assert_eq!(ShimOptions::parse(["--mark".to_owned()]), Err("--mark needs a value".to_owned()));
        assert_eq!(
            ShimOptions::parse(["--mark".to_owned(), "x".to_owned()]),
            Err("--id is missing".to_owned())
        );
        assert!(ShimOptions::parse(["--what".to_owned()]).unwrap_err().contains("--what"));
    }
}
