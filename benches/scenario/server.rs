//! The servers under comparison, as processes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::Client;

/// Of the kernel's clock that counts CPU time, a second.
const CLOCK_TICKS: f64 = 100.0;

/// A server process, ended with the value.
pub struct Server {
    pub name: &'static str,
    pub address: String,
    child: Child,
}

impl Server {
    /// The binary under test, with the smallest model.
    pub fn neuro(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_neuro"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["serve", "--host", "127.0.0.1", "--port", "0", "--model", "models/tiny"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let listening = lines.find(|line| line.contains("listening")).unwrap();
        let address = listening.rsplit("http://").next().unwrap().trim().to_owned();
        lines.find(|line| line.contains("ready")).unwrap();
        Self { name: "neuro", address, child }
    }

    /// The original, when there is one.
    pub fn viewer() -> Option<Self> {
        let backend = PathBuf::from(std::env::var_os("BENCH_VIEWER")?).join("backend");
        let python = std::env::var_os("BENCH_VIEWER_PYTHON")?;
        // The first start of a fresh checkout only writes the wire's modules: it cannot load anything.
        if !backend.join(".cache/proto_generated").exists() {
            drop(Self::start_viewer(&python, &backend));
        }
        let server = Self::start_viewer(&python, &backend);
        let health: Value = serde_json::from_slice(&Client::to(&server).get("/api/health").1).unwrap();
        assert_eq!(health["nurec_available"], true, "the original has no wire modules");
        Some(server)
    }

    fn start_viewer(python: &std::ffi::OsStr, backend: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(python)
            .current_dir(backend)
            .args([
                "-m",
                "uvicorn",
                "main:app",
                "--host",
                "127.0.0.1",
                "--log-level",
                "error",
                "--no-access-log",
            ])
            .args(["--port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = format!("127.0.0.1:{port}");
        let server = Self { name: "the original", address, child };
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(&server.address).is_err() {
            assert!(Instant::now() < deadline, "the original did not come up");
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    /// CPU seconds of all its threads so far.
    pub fn cpu_s(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let behind_name = stat.rsplit(") ").next().unwrap();
        let times = behind_name.split_whitespace().skip(11).take(2);
        times.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / CLOCK_TICKS
    }

    /// A line of its memory's status, such as `VmRSS:`.
    pub fn memory_mib(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
