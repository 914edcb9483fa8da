//! Machines that really run, when `NEURO_TEST_AGENT=1`: they want QEMU, root, and a guest that tests/agent/guest/build makes.
//! What is only looked at needs none of that.

mod adoption;
mod broken;
mod command_line;
mod endings;
mod firmware;
mod full;
mod injection;
mod network;
mod refusals;
mod whole_life;
mod yard;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::qcow2::Head;
use super::{Body, QemuDriver};
use crate::agent::driver::{Console, ConsoleInput, Driver as _, Ground, Handle};
use crate::agent::error::AgentError;
use crate::agent::image::{FileImage, Images, RootImage};
use crate::agent::options::{Network, Options};
use crate::agent::process::Process;
use crate::agent::spec::{Kind, Limits, Spec};

/// How long a guest has until it is ready: this machine emulates it, and others run beside it.
const BOOT: Duration = Duration::from_secs(300);
const READY: &str = "neuro-guest ready";

/// The folder with kernel and initrd.
fn guest() -> &'static Path {
    static GUEST: OnceLock<PathBuf> = OnceLock::new();
    GUEST.get_or_init(|| {
        let build = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agent/guest/build");
        let done = std::process::Command::new(build).output().expect("the script of the guest");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).lines().last().expect("its folder").into()
    })
}

/// A store: disks in a folder, kernel and initrd of the guest.
#[derive(Debug)]
struct Shelf(PathBuf);

impl Images for Shelf {
    fn root<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RootImage, AgentError>> {
        Box::pin(async move { Err(AgentError::not_found("image", name)) })
    }

    fn file<'a>(&'a self, name: &'a str, role: &'a str) -> BoxFuture<'a, Result<FileImage, AgentError>> {
        Box::pin(async move {
            let path = if role == "disk" { self.0.join(name) } else { guest().join(name) };
            let size_bytes = path.metadata().map_err(|_| AgentError::not_found("image", name))?.len();
            let head = Head::read(&path).ok();
            let format = match (role, head) {
                ("disk", Some(_)) => "qcow2",
                ("disk", None) => "raw",
                _ => role,
            };
            Ok(FileImage {
                name: name.to_owned(),
                digest: String::new(),
                path,
                format: format.to_owned(),
                size_bytes: head.map_or(size_bytes, |head| head.size_bytes),
            })
        })
    }
}

/// A guest of 128 MiB without disk and network.
fn spec(kind: Kind, kernel_args: &str) -> Spec {
    Spec {
        request: Vec::new(),
        name: "test".to_owned(),
        kind,
        image: String::new(),
        cpu_cores: 1,
        memory_bytes: 128 << 20,
        disks: Vec::new(),
        kernel: Some("kernel".to_owned()),
        initrd: Some("initrd".to_owned()),
        kernel_args: kernel_args.to_owned(),
        command: Vec::new(),
        args: Vec::new(),
        env: Default::default(),
        mounts: Vec::new(),
        limits: Limits::default(),
        labels: Default::default(),
        options: Options { network: Some(Network::None), ..Options::default() },
    }
}

/// The QEMU behind a handle.
fn process(handle: &Handle) -> Process {
    serde_json::from_value::<Body>(handle.body.clone()).expect("a handle of QEMU").process
}

/// A console that is read like a person would.
struct Screen {
    console: Console,
    text: String,
}

impl Screen {
    async fn attach(driver: &QemuDriver, ground: &Ground, handle: &Handle) -> Self {
        Self { console: driver.console(ground, handle).await.expect("a console"), text: String::new() }
    }

    /// Reads until these words are there after the place `from`.
    async fn until(&mut self, words: &str, from: usize) {
        let limit = Instant::now() + BOOT;
        while !self.text.get(from..).is_some_and(|text| text.contains(words)) {
            let left = limit.saturating_duration_since(Instant::now());
            let piece = tokio::time::timeout(left, self.console.output.recv()).await;
            let piece = piece.unwrap_or_else(|_| panic!("no {words:?} in:\n{}", self.text));
            let piece = piece.unwrap_or_else(|| panic!("console ended without {words:?}:\n{}", self.text));
            self.text.push_str(&String::from_utf8_lossy(&piece));
        }
    }

    async fn type_in(&self, keys: &str) {
        let keys = Bytes::copy_from_slice(keys.as_bytes());
        self.console.input.send(ConsoleInput::Data(keys)).await.expect("a console that takes keys");
    }

    /// Types a command and reads until these words come.
    async fn run(&mut self, command: &str, words: &str) -> String {
        let from = self.text.len();
        self.type_in(&format!("{command}\n")).await;
        self.until(words, from).await;
        self.text.split_off(from)
    }
}

/// Started, and ready.
async fn boot(driver: &QemuDriver, ground: &Ground) -> (Handle, Screen) {
    driver.check(&ground.spec).expect("a sound spec");
    driver.prepare(ground).await.expect("its parts");
    let started = Instant::now();
    let handle = driver.start(ground).await.expect("a start");
    println!("{}: monitor after {:?}", ground.id, started.elapsed());
    let mut screen = Screen::attach(driver, ground, &handle).await;
    screen.until(READY, 0).await;
    println!("{}: ready after {:?}", ground.id, started.elapsed());
    (handle, screen)
}
