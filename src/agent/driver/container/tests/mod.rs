//! Real containers: root, a runtime and a static busybox are needed, so these run when `NEURO_TEST_AGENT` is 1 and print a
//! line otherwise. The shim is a program of its own: `NEURO_TEST_BINARY`, or `neuro` beside the tests.

mod adopt;
mod cable;
mod confine;
mod console;
mod leaks;
mod limits;
mod many;
mod stop;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use tempfile::TempDir;

use super::{ContainerDriver, ContainerOptions};
use crate::agent::driver::{Console, ConsoleInput, Driver as _, Ground, Handle};
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::image::{FileImage, Images, RootImage};
use crate::agent::options::{Network, Options};
use crate::agent::settings::AgentSettings;
use crate::agent::spec::{Disk, Kind, Limits, Spec};
use crate::agent::volume::Volumes;

/// One image: busybox under all its names.
#[derive(Debug)]
struct Busybox(PathBuf);

impl Busybox {
    fn install(folder: &Path) -> Self {
        let bin = folder.join("bin");
        if bin.is_dir() {
            return Self(folder.to_owned());
        }
        fs::create_dir_all(&bin).unwrap();
        for name in ["etc", "tmp", "var"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        fs::write(folder.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nsim:x:1000:1000::/:/bin/sh\n").unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is missing: /bin/busybox");
        let installed = Command::new("/bin/busybox").args(["--install", "-s"]).arg(&bin).status().unwrap();
        assert!(installed.success());
        for entry in fs::read_dir(&bin).unwrap().map(Result::unwrap) {
            if entry.file_name() != "busybox" {
                fs::remove_file(entry.path()).unwrap();
                std::os::unix::fs::symlink("busybox", entry.path()).unwrap();
            }
        }
        Self(folder.to_owned())
    }
}

impl Images for Busybox {
    fn root<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RootImage, AgentError>> {
        async move {
            if name != "busybox" {
                return Err(AgentError::not_found("image", name));
            }
            Ok(RootImage {
                name: name.to_owned(),
                layers: vec![self.0.clone()],
                cmd: vec!["/bin/sh".to_owned()],
                ..RootImage::default()
            })
        }
        .boxed()
    }

    fn file<'a>(&'a self, name: &'a str, _role: &'a str) -> BoxFuture<'a, Result<FileImage, AgentError>> {
        async move { Err(AgentError::not_found("image", name)) }.boxed()
    }
}

/// A driver in a folder of its own.
struct Yard {
    data: PathBuf,
    mark: String,
    driver: ContainerDriver,
    _folder: Option<TempDir>,
}

/// A yard, or nothing where these tests are not asked for.
fn yard() -> Option<Yard> {
    yard_with(AgentSettings::default())
}

fn yard_with(settings: AgentSettings) -> Option<Yard> {
    if !wanted() {
        return None;
    }
    let folder = tempfile::Builder::new().prefix("nv").tempdir().unwrap();
    let mut yard = Yard::at(folder.path(), settings);
    yard._folder = Some(folder);
    Some(yard)
}

fn wanted() -> bool {
    let wanted = std::env::var("NEURO_TEST_AGENT").is_ok_and(|value| value == "1");
    if !wanted {
        println!(
            "skipped: containers are tried when NEURO_TEST_AGENT is 1 (root, runc, busybox-static, e2fsprogs)"
        );
    }
    wanted
}

fn program() -> PathBuf {
    let given = std::env::var_os("NEURO_TEST_BINARY").map(PathBuf::from);
    let beside = || std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("neuro");
    let program = given.unwrap_or_else(beside);
    assert!(program.is_file(), "{} is missing: build it, or say NEURO_TEST_BINARY", program.display());
    program
}

impl Yard {
    fn at(data: &Path, settings: AgentSettings) -> Self {
        let images = Arc::new(Busybox::install(&data.join("images/busybox")));
        // Eight digits of the folder's own name tell tests that run at once apart.
        let mark = data
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .bytes()
            .fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let mark = format!("{mark:08x}");
        let driver = ContainerDriver::new(ContainerOptions {
            settings,
            mark: mark.clone(),
            data: data.to_owned(),
            binary: program(),
            images,
            volumes: Volumes::new(data, BTreeMap::new()),
        })
        .unwrap();
        Self { data: data.to_owned(), mark, driver, _folder: None }
    }

    fn ground(&self, id: &str, spec: Spec) -> Ground {
        let id: InstanceId = id.parse().unwrap();
        let folder = self.data.join("instances").join(id.as_str());
        fs::create_dir_all(&folder).unwrap();
        let sockets = self.data.join("run").join(id.short());
        Ground { id, spec: Arc::new(spec), folder, sockets, devices: Vec::new() }
    }

    /// Made and started.
    async fn started(&self, id: &str, spec: Spec) -> (Ground, Handle) {
        let ground = self.ground(id, spec);
        self.driver.check(&ground.spec).unwrap();
        self.driver.prepare(&ground).await.unwrap();
        let handle = self.driver.start(&ground).await.unwrap();
        (ground, handle)
    }

    /// Everything of it, by the book.
    async fn end(&self, ground: &Ground, handle: &Handle) {
        self.driver.kill(ground, handle).await.unwrap();
        self.driver.settle(ground, handle).await.unwrap();
        self.driver.destroy(ground).await.unwrap();
    }

    /// What it wrote from its start to its end, and how it ended.
    async fn transcript(&self, id: &str, spec: Spec) -> (String, crate::agent::record::Exit) {
        let (ground, handle) = self.started(id, spec).await;
        let mut console = self.driver.console(&ground, &handle).await.unwrap();
        let mut text = Vec::new();
        while let Some(piece) = console.output.recv().await {
            text.extend(piece);
        }
        let exit = self.driver.ended(&ground, &handle).await.unwrap();
        self.driver.settle(&ground, &handle).await.unwrap();
        self.driver.destroy(&ground).await.unwrap();
        (String::from_utf8_lossy(&text).replace("\r\n", "\n"), exit)
    }
}

impl Drop for Yard {
    /// A test that failed leaves its containers: they are found by the mark as any orphan is.
    fn drop(&mut self) {
        if self._folder.is_none() {
            return;
        }
        let tidy = async {
            for _ in 0..3 {
                for orphan in
                    self.driver.orphans(&std::collections::BTreeSet::new()).await.unwrap_or_default()
                {
                    self.driver.sweep(&orphan).await.ok();
                }
            }
        };
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .spawn_scoped(scope, || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(tidy);
                })
                .unwrap();
        });
        for tree in crate::agent::cgroup::Hierarchy::of_this_machine().unwrap().trees() {
            fs::remove_dir(tree.join(format!("neuro-{}", self.mark))).ok();
        }
    }
}

/// A container that runs a line of shell, without a terminal unless the test wants one.
fn shell(line: &str) -> Spec {
    Spec {
        request: Vec::new(),
        name: "test".to_owned(),
        kind: Kind::Container,
        image: "busybox".to_owned(),
        cpu_cores: 1,
        memory_bytes: 64 << 20,
        disks: Vec::new(),
        kernel: None,
        initrd: None,
        kernel_args: String::new(),
        command: ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
        args: vec![line.to_owned()],
        env: BTreeMap::new(),
        mounts: Vec::new(),
        limits: Limits::default(),
        labels: BTreeMap::new(),
        options: Options { tty: Some(false), network: Some(Network::None), ..Options::default() },
    }
}

fn terminal(line: &str) -> Spec {
    let mut spec = shell(line);
    spec.options.tty = Some(true);
    spec
}

fn disk(mut spec: Spec, size_bytes: u64) -> Spec {
    spec.disks = vec![Disk { name: "root".to_owned(), size_bytes, boot: true }];
    spec
}

async fn keys(console: &Console, text: &str) {
    console.input.send(ConsoleInput::Data(Bytes::copy_from_slice(text.as_bytes()))).await.unwrap();
}

/// Reads until the console said `wanted`; what it said so far.
async fn said(console: &mut Console, wanted: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(wanted) {
            let piece = console.output.recv().await.unwrap_or_else(|| panic!("ended before {wanted:?}"));
            text.push_str(&String::from_utf8_lossy(&piece));
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), reading).await.is_ok();
    assert!(in_time, "no {wanted:?} in {text:?}");
    text
}

fn timed<T>(what: &str, since: Instant, value: T) -> T {
    println!("{what}: {:.1} ms", since.elapsed().as_secs_f64() * 1e3);
    value
}
