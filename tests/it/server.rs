//! The real binary on a free loopback port, ended when it goes out of scope.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::golden::root;

/// How long a server may take to come up.
const STARTUP: Duration = Duration::from_secs(120);

/// A running `neuro serve`.
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
}

impl Server {
    /// Starts `neuro serve --host 127.0.0.1 --port 0` with more flags and waits until the model is ready.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_until(flags, "neuro ready")
    }

    /// As [`Server::start`], waiting for another line of its output.
    pub fn start_until(flags: &[&str], line: &str) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_neuro")), flags, line)
    }

    /// As [`Server::start`], with a prepared command (environment, working directory).
    pub fn spawn(mut command: Command, flags: &[&str], wait_for: &str) -> Self {
        let mut child = command
            .current_dir(root())
            .args(["serve", "--host", "127.0.0.1", "--port", "0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, seen) = mpsc::sync_channel(1024);
        let stdout = child.stdout.take().unwrap();
        let reader = move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                drop(lines.try_send(line));
            }
        };
        std::thread::Builder::new().name("server-stdout".into()).spawn(reader).unwrap();
        // Kept flowing so that the server never blocks on a full pipe.
        let mut stderr = child.stderr.take().unwrap();
        let (errors, errors_seen) = mpsc::sync_channel(1);
        let drain = move || {
            let mut text = String::new();
            drop(stderr.read_to_string(&mut text));
            drop(errors.try_send(text));
        };
        std::thread::Builder::new().name("server-stderr".into()).spawn(drain).unwrap();

        let mut server = Self { child, url: String::new() };
        loop {
            match seen.recv_timeout(STARTUP) {
                Ok(line) => {
                    if let Some(url) = line.strip_prefix("neuro listening on ") {
                        server.url = url.trim().to_owned();
                    }
                    if line.contains(wait_for) && !server.url.is_empty() {
                        return server;
                    }
                }
                Err(error) => {
                    let stderr = errors_seen.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
                    panic!("the server did not come up: {error}; it said: {stderr}");
                }
            }
        }
    }

    /// `http://127.0.0.1:PORT/path`.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Process id, for signals.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to end and returns its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn the_binary_listens_where_it_says() {
    let server = Server::start(&["--model", "models/tiny"]);
    assert!(server.pid() > 0 && server.url.starts_with("http://127.0.0.1:"));
    assert!(reqwest::get(server.at("/")).await.is_ok());
}
