//! NuRec in a container: started and restarted as the settings say, arguments passed as a vector, without sudo.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::error::WorldError;

/// How long one docker command may take; an image that must be pulled first takes longer than anybody waits.
const COMMAND_TIME: Duration = Duration::from_secs(60);
/// Lines of the container's log shown when it does not come up.
const LOG_LINES: &str = "20";

/// How the container is run.
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// The program: `docker`, or one that takes the same arguments.
    pub program: String,
    /// The image.
    pub image: String,
}

/// Replaces the container that listens on `port` by one that has the scenario; returns its name.
///
/// # Errors
/// [`WorldError::Container`] in docker's own words.
pub async fn restart(options: &DockerOptions, file: &Path, port: u16) -> Result<String, WorldError> {
    let name = std::env::var("NUREC_CONTAINER_NAME").unwrap_or_else(|_| format!("nurec-grpc-{port}"));
    let folder = file.parent().unwrap_or(Path::new("/"));
    let (Some(folder), Some(file)) = (folder.to_str(), file.to_str()) else {
        return Err(WorldError::Container(format!("{} is no UTF-8 path", file.display())));
    };
    if folder.contains([',', '"']) {
        return Err(WorldError::Container(format!(
            "{folder} cannot be mounted: it holds a comma or a quote"
        )));
    }
    // There may be no container of that name; then this fails, and that is well.
    drop(docker(options, &["rm", "-f", &name]).await?);
    let device = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_else(|_| "0".to_owned());
    let allocation =
        std::env::var("PYTORCH_CUDA_ALLOC_CONF").unwrap_or_else(|_| "expandable_segments:True".to_owned());
    let (device, allocation) =
        (format!("CUDA_VISIBLE_DEVICES={device}"), format!("PYTORCH_CUDA_ALLOC_CONF={allocation}"));
    let (publish, port) = (format!("127.0.0.1:{port}:{port}"), port.to_string());
    // `--mount` and not `-v`: a colon in a path is part of the path.
    let mount = format!("type=bind,source={folder},target={folder},readonly");
    #[rustfmt::skip]
    let arguments = [
        "run", "-d", "--name", &name, "--gpus", "all", "--ipc=host", "-e", &device, "-e", &allocation,
        "-p", &publish, "--mount", &mount, &options.image,
        "--artifact-glob", file, "--port", &port, "--host", "0.0.0.0", "--test-scenes-are-valid",
    ];
    let output = docker(options, &arguments).await?;
    if output.status.success() {
        return Ok(name);
    }
    let reason =
        last_line(&output.stderr).unwrap_or_else(|| "Failed to start NuRec docker container".to_owned());
    Err(WorldError::Container(reason))
}

/// Whether the container still runs.
pub async fn running(options: &DockerOptions, name: &str) -> bool {
    let output = docker(options, &["inspect", "-f", "{{.State.Running}}", name]).await;
    output.is_ok_and(|output| output.stdout.starts_with(b"true"))
}

/// The container's last log lines, as far as docker tells.
pub async fn last_log(options: &DockerOptions, name: &str) -> String {
    let Ok(output) = docker(options, &["logs", "--tail", LOG_LINES, name]).await else {
        return String::new();
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

async fn docker(options: &DockerOptions, arguments: &[&str]) -> Result<Output, WorldError> {
    let failed = |reason: String| WorldError::Container(format!("{}: {reason}", options.program));
    let mut command = Command::new(&options.program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    match tokio::time::timeout(COMMAND_TIME, command.output()).await {
        Ok(output) => output.map_err(|error| failed(error.to_string())),
        Err(_) => {
            let seconds = COMMAND_TIME.as_secs();
            let what = arguments.first().copied().unwrap_or_default();
            Err(failed(format!("`{what}` took more than {seconds} s; pull the image beforehand")))
        }
    }
}

fn last_line(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}
