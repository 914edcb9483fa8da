//! OCI runtimes: found by name, believed when one has run a container here. A runtime that is installed may still refuse the
//! machine's control groups or namespaces, and only a try tells.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::config::{self, Plan};
use crate::agent::image::RootImage;
use crate::agent::options::{Network, Options};
use crate::agent::spec::{Kind, Limits, Spec};

const PATIENCE: Duration = Duration::from_secs(20);
const CANARY: &str = "/bin/true";

/// A runtime and what became of trying it.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    /// As the settings have it.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Its version, or why it does not work.
    pub(super) outcome: Result<String, String>,
}

/// Tries a runtime of the settings.
pub(super) async fn try_out(name: &str, data: &Path, mark: &str) -> Tried {
    let Some(path) = find(name) else {
        return Tried {
            name: name.to_owned(),
            path: PathBuf::new(),
            outcome: Err("is not installed".to_owned()),
        };
    };
    let outcome = match version(&path).await {
        Ok(version) => canary(name, &path, data, mark).await.map(|()| version),
        Err(problem) => Err(problem),
    };
    Tried { name: name.to_owned(), path, outcome }
}

/// A path, or a name in PATH or where runtimes use to be.
fn find(name: &str) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_absolute()).filter(runs);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/bin".into()]);
    folders.map(|folder| folder.join(name)).find(runs)
}

async fn version(path: &Path) -> Result<String, String> {
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .map_err(|_| "does not say its version".to_owned())?
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Runs a container that does nothing, confined as every other, out of the host's own programs.
async fn canary(name: &str, path: &Path, data: &Path, mark: &str) -> Result<(), String> {
    let short: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let id = format!(".canary-{short}");
    let folder = data.join("canary").join(&short);
    let call = |words: &[&str]| {
        let mut command = Command::new(path);
        command.arg("--root").arg(folder.join("runtime")).args(words);
        command.arg(&id).current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
        command
    };
    call(&["delete", "--force"]).stdout(Stdio::null()).stderr(Stdio::null()).status().await.ok();
    bundle(&folder, &id, mark).map_err(|problem| format!("canary: {problem}"))?;
    let place = folder.join("bundle").display().to_string();
    let outcome = tokio::time::timeout(PATIENCE, call(&["run", "--bundle", &place]).output()).await;
    call(&["delete", "--force"]).stdout(Stdio::null()).stderr(Stdio::null()).status().await.ok();
    std::fs::remove_dir_all(&folder).ok();
    let output = outcome
        .map_err(|_| format!("a container that only ends did not within {} s", PATIENCE.as_secs()))?
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!(
        "cannot run a container here: {} ({})",
        last.chars().take(400).collect::<String>(),
        output.status
    ))
}

fn bundle(folder: &Path, id: &str, mark: &str) -> Result<(), String> {
    let root = folder.join("rootfs");
    std::fs::create_dir_all(&root).map_err(|error| error.to_string())?;
    let spec = spec();
    let image = RootImage { name: "canary".to_owned(), ..RootImage::default() };
    let plan = Plan {
        id,
        mark,
        spec: &spec,
        image: &image,
        root: root.clone(),
        names: None,
        user: (0, 0),
        volumes: Vec::new(),
        disk: None,
        capabilities: &[],
        pids: 64,
        swap: false,
        spared: false,
        edits: Vec::new(),
    };
    let mut config = config::config(&plan).map_err(|error| error.to_string())?;
    for name in ["usr", "bin", "lib", "lib64"] {
        let host = Path::new("/").join(name);
        if let Ok(target) = std::fs::read_link(&host) {
            let link = root.join(name);
            std::fs::remove_file(&link).ok();
            std::os::unix::fs::symlink(target, link).map_err(|error| error.to_string())?;
        } else if host.is_dir()
            && let Some(mounts) = config["mounts"].as_array_mut()
        {
            let options = ["bind", "ro", "nosuid", "nodev"];
            mounts.push(serde_json::json!({ "destination": host, "type": "bind", "source": host, "options": options }));
        }
    }
    config::write(&folder.join("bundle"), &config).map_err(|error| error.to_string())
}

fn spec() -> Spec {
    Spec {
        request: Vec::new(),
        name: String::new(),
        kind: Kind::Container,
        image: String::new(),
        cpu_cores: 1,
        memory_bytes: 64 << 20,
        disks: Vec::new(),
        kernel: None,
        initrd: None,
        kernel_args: String::new(),
        command: vec![CANARY.to_owned()],
        args: Vec::new(),
        env: BTreeMap::new(),
        mounts: Vec::new(),
        limits: Limits::default(),
        labels: BTreeMap::new(),
        options: Options { tty: Some(false), network: Some(Network::None), ..Options::default() },
    }
}
