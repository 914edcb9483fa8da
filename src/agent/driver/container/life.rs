//! What becomes of a run, and taking away what it leaves.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;

use super::run::{self, PlanFile, Run};
use super::{ContainerDriver, blocking, link, orphan, rootfs};
use crate::agent::driver::{Driver as _, Ground, Handle, Observed};
use crate::agent::error::AgentError;
use crate::agent::net;
use crate::agent::record::Exit;
use crate::agent::shim::{self, ExitFile, RunFile};

const SIGTERM: i32 = 15;

/// Files and folders of a run and of the driver in an instance's folder, its root left out.
const FILES: [&str; 8] = [
    "init.pid",
    "runtime.log",
    "runtime.err",
    "shim.log",
    "plan.json",
    "run.json",
    "exit.json",
    "run.json.draft",
];
const FOLDERS: [&str; 3] = ["bundle", "names", "runtime"];

impl ContainerDriver {
    /// Sends the image's signal to the first process.
    pub(super) async fn ask(&self, ground: &Ground, run: &Run) -> Result<(), AgentError> {
        let number = match run.plan.stop_signal.as_str() {
            "" => SIGTERM,
            name => run::signal_number(name).unwrap_or_else(|| {
                tracing::warn!(id = %ground.id, signal = name, "the image's stop signal is none; SIGTERM is sent");
                SIGTERM
            }),
        };
        if let Some(signal) = Signal::from_named_raw(number) {
            return run.file.init.signal(signal).map_err(|error| AgentError::internal("stop signal", error));
        }
        // Real-time signals have no names; the runtime takes their numbers.
        let number = number.to_string();
        Self::call(ground, &run.plan, &["kill", ground.id.as_str(), &number]).await
    }

    /// The run of a handle, or of the instance's folder when the handle was not written.
    pub(super) async fn find(
        &self,
        ground: &Ground,
        handle: Option<&Handle>,
    ) -> Result<Option<(Handle, Observed)>, AgentError> {
        let run = match handle {
            Some(handle) => Some(Run::of(handle)?),
            None => self.begun(ground).await,
        };
        let Some(run) = run else {
            self.tidy(ground, None).await?;
            return Ok(None);
        };
        let handle = run.handle(self.name())?;
        let observed = match run.exit(&ground.folder) {
            Some(exit) => Observed::Ended(exit),
            None if run.file.shim.runs() => Observed::Running,
            None => {
                let (folder, group) = (ground.folder.clone(), self.group(&ground.id));
                Observed::Ended(blocking(move || run.unseen(&folder, &group)).await?)
            }
        };
        Ok(Some((handle, observed)))
    }

    /// A shim that was on its way when the agent ended either starts its container soon or takes it away.
    async fn begun(&self, ground: &Ground) -> Option<Run> {
        for _ in 0..200 {
            if let Some(run) = Run::found(&ground.folder) {
                return Some(run);
            }
            if run::strays(&self.options.mark, ground.id.as_str()).is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Run::found(&ground.folder)
    }

    /// Waits for the end. A shim that answers no more is looked after until it is known to be gone.
    pub(super) async fn outcome(&self, ground: &Ground, run: &Run) -> Result<Exit, AgentError> {
        loop {
            if let Some(exit) = run.exit(&ground.folder) {
                return Ok(exit);
            }
            if let Ok(file) = link::watch(&Self::socket(ground)).await
                && file.init == run.file.init
            {
                return Ok(file.exit);
            }
            if !run.file.shim.runs() {
                let (run, folder, group) = (run.clone(), ground.folder.clone(), self.group(&ground.id));
                return blocking(move || run.unseen(&folder, &group)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Takes away what a run left: processes, what the runtime wrote down, control groups, mounts, its cable's device. How it
    /// ended stays until the next one begins.
    pub(super) async fn tidy(&self, ground: &Ground, run: Option<&Run>) -> Result<(), AgentError> {
        let found = Run::found(&ground.folder);
        let socket = Self::socket(ground);
        for run in run.into_iter().chain(&found) {
            let (init, group) = (run.file.init, self.group(&ground.id));
            blocking(move || run::end(init, &group)).await?;
            run::dismiss(run.file.shim, &socket).await;
        }
        if run.is_none() && found.is_none() {
            for stray in run::strays(&self.options.mark, ground.id.as_str()) {
                stray.signal(Signal::KILL).ok();
            }
        }
        let plan = shim::read::<PlanFile>(&ground.folder, PlanFile::NAME);
        let states = ground.folder.join("runtime");
        if let Some(plan) = &plan
            && states.join(ground.id.as_str()).exists()
        {
            Self::call(ground, plan, &["delete", "--force", ground.id.as_str()]).await.ok();
        }
        if let Some(device) = plan.and_then(|plan| plan.device) {
            net::remove(&device).await?;
        }
        let (group, rootfs, folder) = (self.group(&ground.id), Self::rootfs(ground), ground.folder.clone());
        blocking(move || {
            if group.exists() {
                orphan::remove(&group)?;
            }
            rootfs.unmount()?;
            rootfs::gone(fs::remove_dir_all(&states))
                .map_err(|error| AgentError::internal("runtime", error))?;
            for file in [socket.with_extension("pty"), socket, folder.join(RunFile::NAME)] {
                rootfs::gone(fs::remove_file(&file))
                    .map_err(|error| AgentError::internal(file.display(), error))?;
            }
            Ok(())
        })
        .await
    }

    /// Everything, from whatever state.
    pub(super) async fn take_apart(&self, ground: &Ground) -> Result<(), AgentError> {
        self.tidy(ground, None).await?;
        self.cables.release(ground.id.as_str())?;
        let (rootfs, folder, sockets) = (Self::rootfs(ground), ground.folder.clone(), ground.sockets.clone());
        blocking(move || {
            rootfs.destroy()?;
            let failed = |name: &str| {
                let name = name.to_owned();
                move |error| AgentError::internal(name, error)
            };
            for name in FILES {
                rootfs::gone(fs::remove_file(folder.join(name))).map_err(failed(name))?;
            }
            let draft = format!("{}.draft", ExitFile::NAME);
            rootfs::gone(fs::remove_file(folder.join(&draft))).map_err(failed(&draft))?;
            for name in FOLDERS {
                rootfs::gone(fs::remove_dir_all(folder.join(name))).map_err(failed(name))?;
            }
            // Somebody else's files keep it.
            fs::remove_dir(&sockets).ok();
            Ok(())
        })
        .await
    }

    async fn call(ground: &Ground, plan: &PlanFile, words: &[&str]) -> Result<(), AgentError> {
        let name = plan.runtime.display().to_string();
        let mut command = Command::new(&plan.runtime);
        command.arg("--root").arg(ground.folder.join("runtime")).args(words).current_dir("/");
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(30), command.output())
            .await
            .map_err(|_| AgentError::Internal(format!("{name} {words:?} took longer than 30 s")))?
            .map_err(|error| AgentError::internal(&name, error))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(AgentError::internal(format!("{name} {words:?}"), said.trim()))
    }
}
