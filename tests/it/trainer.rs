//! `neuro trainer` as a process: on simulators that are `neuro simulate`, and what it refuses.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::golden::root;

/// A program of the binary, ended when it goes out of scope.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(flags: &[&str]) -> Self {
        let mut child = command(flags).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The rest of the first line that begins with `start`.
    fn says(&mut self, start: &str) -> String {
        loop {
            let line =
                self.lines.next().unwrap_or_else(|| panic!("it ended before saying {start:?}")).unwrap();
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
    }

    /// The next line of JSON that `wanted` likes.
    fn tells(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.next().expect("it ended").unwrap();
            let told: Value = serde_json::from_str(&line).unwrap();
            if wanted(&told) {
                return told;
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        let patience = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < patience, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neuro"));
    command.current_dir(root()).args(flags).stdin(Stdio::null());
    command
}

fn refused(flags: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command(flags).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// Simulators of the balance task, and their endpoints as the trainer takes them.
fn simulators(count: usize) -> (Vec<Running>, String) {
    let mut running = Vec::new();
    let mut endpoints = Vec::new();
    for _ in 0..count {
        let mut simulator = Running::start(&["simulate", "--port", "0", "--zmq-port", "0"]);
        endpoints.push(simulator.says("neuro simulate steps on "));
        simulator.says("neuro simulate ready");
        running.push(simulator);
    }
    (running, endpoints.join(","))
}

#[test]
fn the_arm_learns_to_balance_and_the_model_is_written() {
    let (_simulators, endpoints) = simulators(4);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let set = ["--set", "target_reward=450", "--steps", "150000", "--checkpoints", path];
    let mut trainer = Running::start(&[&["trainer", "--endpoints", &endpoints][..], &set].concat());
    let end = trainer.tells(|told| told["final"] == true);
    assert!(end["success"] == true && end["avg_reward"].as_f64().unwrap() >= 450.0, "{end}");
    assert_eq!(trainer.wait().code(), Some(0));
    assert!(folder.path().join("model.safetensors").is_file());
    assert!(folder.path().join("model.safetensors.sha256").is_file());
}

#[test]
fn a_stopped_run_goes_on_from_its_checkpoint() {
    let (_simulators, endpoints) = simulators(2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let flags = ["trainer", "--endpoints", &endpoints, "--steps", "1000000", "--checkpoints", path];
    let mut trainer = Running::start(&flags);
    trainer.tells(|told| told["update"].as_f64() >= Some(2.0));
    trainer.signal("TERM");
    let kept = trainer.tells(|told| told["stopped"] == "SIGTERM");
    assert!(kept["checkpoint_uri"].as_str().unwrap().starts_with("file://"), "{kept}");
    assert_eq!(trainer.wait().code(), Some(0));
    let mut again = Running::start(&[&flags[..], &["--restore-from", path]].concat());
    let first = again.tells(|told| told["update"].is_number());
    assert!(first["update"].as_f64() >= Some(3.0), "{first}");
}

#[test]
fn a_killed_simulator_does_not_stop_the_others() {
    let (simulators, endpoints) = simulators(2);
    let set = ["--set", "step_timeout_ms=500", "--steps", "1000000"];
    let mut trainer = Running::start(&[&["trainer", "--endpoints", &endpoints][..], &set].concat());
    trainer.tells(|told| told["away"] == 0.0);
    simulators[1].signal("KILL");
    let alone = trainer.tells(|told| told["away"] == 1.0)["steps"].as_u64().unwrap();
    let later = trainer.tells(|told| told["steps"].as_u64() > Some(alone));
    assert_eq!(later["away"], 1.0, "{later}");
}

#[test]
fn what_cannot_be_trained_is_refused_with_the_flag_or_key() {
    let (code, said) = refused(&["trainer", "--endpoints", "tcp://127.0.0.1:1", "--set", "gama=1"]);
    assert!(code == Some(2) && said.contains("\"gama\" is not known"), "{said}");
    let (code, said) = refused(&["trainer", "--endpoints", "127.0.0.1:1"]);
    assert!(code == Some(2) && said.contains("is not tcp://HOST:PORT"), "{said}");
    let (code, said) = refused(&["trainer", "--orchestrator", "127.0.0.1:1"]);
    assert!(code == Some(2) && said.contains("http://"), "{said}");
    let nobody = ["trainer", "--endpoints", "tcp://127.0.0.1:1", "--set", "away_limit_s=1"];
    let (code, said) = refused(&nobody);
    assert!(code == Some(1) && said.contains("no environment answered for 1 s"), "{said}");
    let (code, _) = refused(&["trainer"]);
    assert_eq!(code, Some(2));
}

#[test]
fn a_trainer_without_an_orchestrator_ends_by_itself() {
    let mut trainer = Running::start(&["trainer", "--orchestrator", "http://127.0.0.1:1", "--orphan-s", "1"]);
    trainer.says("neuro trainer trainer attaches to http://127.0.0.1:1");
    assert_eq!(trainer.wait().code(), Some(0));
}
