//! What a machine is made of and what it has used.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::FirecrackerDriver;
use super::api::{Api, Request};
use crate::agent::driver::qemu::{USUAL_DISK_BYTES, absent, qcow2};
use crate::agent::driver::{Ground, Handle, Usage};
use crate::agent::error::AgentError;
use crate::agent::image::FileImage;
use crate::agent::net::{self, Cable, Cables};
use crate::agent::options::Network;
use crate::agent::spec::Spec;

impl FirecrackerDriver {
    pub(super) fn cable(&self, ground: &Ground) -> Result<Option<Cable>, AgentError> {
        if ground.spec.options.network != Some(Network::Cable) {
            return Ok(None);
        }
        self.cables()?.lease(&ground.id).map(Some)
    }

    pub(super) fn cables(&self) -> Result<Cables, AgentError> {
        let network = &self.options.settings.container.cable_network;
        Cables::new(network, &self.options.data, &self.options.mark)
    }

    pub(super) fn disks(ground: &Ground, image: bool) -> Vec<(PathBuf, u64)> {
        let asked = ground.spec.disks.iter().enumerate().map(|(number, disk)| match disk.size_bytes {
            0 if !image || number > 0 => USUAL_DISK_BYTES,
            asked => asked,
        });
        let sizes: Vec<u64> = if image && ground.spec.disks.is_empty() { vec![0] } else { asked.collect() };
        sizes
            .into_iter()
            .enumerate()
            .map(|(number, size)| (ground.folder.join(format!("disk{number}.raw")), size))
            .collect()
    }

    pub(super) async fn image(&self, spec: &Spec) -> Result<Option<FileImage>, AgentError> {
        match spec.image.as_str() {
            "" => Ok(None),
            name => self.options.images.file(name, "disk").await.map(Some),
        }
    }

    /// Firecracker reads raw files alone: each instance has a copy of its image.
    pub(super) async fn make_parts(&self, ground: &Ground) -> Result<(), AgentError> {
        let failed = |error: std::io::Error| AgentError::internal(format!("parts of {}", ground.id), error);
        tokio::fs::create_dir_all(&ground.folder).await.map_err(failed)?;
        let image = self.image(&ground.spec).await?;
        for (number, (disk, size)) in Self::disks(ground, image.is_some()).into_iter().enumerate() {
            if disk.exists() {
                continue;
            }
            let draft = disk.with_extension("draft");
            absent(&draft).map_err(failed)?;
            if let (0, Some(image)) = (number, &image) {
                self.copy(image, &draft).await?;
            }
            let file =
                tokio::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&draft).await;
            let file = file.map_err(failed)?;
            let length = file.metadata().await.map_err(failed)?.len();
            file.set_len(length.max(size)).await.map_err(failed)?;
            tokio::fs::rename(&draft, &disk).await.map_err(failed)?;
        }
        Ok(())
    }

    pub(super) async fn copy(&self, image: &FileImage, to: &Path) -> Result<(), AgentError> {
        if image.format == "qcow2" {
            let head = qcow2::Head::read(&image.path);
            let trouble = match &head {
                Ok(head) => head.trouble().map(str::to_owned),
                Err(error) => Some(error.to_string()),
            };
            if let Some(trouble) = trouble {
                return Err(AgentError::Precondition(format!("image {:?}: {trouble}", image.name)));
            }
        }
        let img = &self.options.settings.qemu.img;
        let mut command = Command::new(img);
        command.args(["convert", "-f", &image.format, "-O", "raw"]).arg(&image.path).arg(to);
        let done = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let done = done.map_err(|error| AgentError::internal(img, error))?;
        if done.status.success() {
            return Ok(());
        }
        Err(AgentError::internal(format!("{img} convert"), String::from_utf8_lossy(&done.stderr).trim()))
    }

    pub(super) async fn measure(&self, ground: &Ground, handle: &Handle) -> Result<Usage, AgentError> {
        let gone = || AgentError::Precondition(format!("instance {} does not run", ground.id));
        let stat = self.run(ground, handle)?.process.stat().ok_or_else(gone)?;
        let mut usage = Usage {
            cpu_time_ns: stat.cpu_time_ns,
            memory_used_bytes: stat.resident_bytes,
            processes: stat.threads,
            ..Usage::default()
        };
        let api = Api::new(&Self::files(ground).socket);
        let api = api.map_err(|error| AgentError::Internal(error.to_string()))?;
        if let Ok(stats) = api.send(&Request::get("/balloon/statistics")).await {
            let number = |name: &str| stats.get(name).and_then(serde_json::Value::as_u64);
            if let (Some(total), Some(free)) = (number("total_memory"), number("free_memory")) {
                let taken = total.saturating_sub(free);
                usage.memory_cache_bytes = number("disk_caches").unwrap_or(0).min(taken);
                usage.memory_used_bytes = taken - usage.memory_cache_bytes;
            }
        }
        for (disk, _) in Self::disks(ground, !ground.spec.image.is_empty()) {
            let blocks = disk.metadata().map_or(0, |data| std::os::unix::fs::MetadataExt::blocks(&data));
            usage.disk_used_bytes = usage.disk_used_bytes.saturating_add(blocks.saturating_mul(512));
        }
        if let Some(cable) = self.cable(ground)? {
            let counted = net::counters(&cable.device).unwrap_or_default();
            usage.network_received_bytes = counted.received_bytes;
            usage.network_sent_bytes = counted.sent_bytes;
        }
        Ok(usage)
    }
}
