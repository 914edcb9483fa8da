//! What a machine is made of: its files out of the store, its disks, its end of a network.

use std::io;
use std::path::PathBuf;

use super::launch::absent;
use super::plan::{Accelerator, Link, Plan, Sockets, mac};
use super::{QemuDriver, disks};
use crate::agent::driver::Ground;
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::image::FileImage;
use crate::agent::net::{self, Cable, Cables};
use crate::agent::options::Network;
use crate::agent::spec::{Kind, Spec};

/// Files of the store.
struct Files {
    image: Option<FileImage>,
    kernel: Option<PathBuf>,
    initrd: Option<PathBuf>,
}

impl QemuDriver {
    async fn files(&self, spec: &Spec) -> Result<Files, AgentError> {
        let (images, qemu) = (&self.options.images, &self.options.settings.qemu);
        let image = match spec.image.as_str() {
            "" => None,
            name => Some(images.file(name, "disk").await?),
        };
        // The agent's own kernel brings its own initrd.
        let default = |name: &str| (self.kind == Kind::MicroVm && !name.is_empty()).then(|| name.to_owned());
        let (kernel, initrd) = match &spec.kernel {
            Some(kernel) => (Some(kernel.clone()), spec.initrd.clone()),
            None => (default(&qemu.kernel), spec.initrd.clone().or_else(|| default(&qemu.initrd))),
        };
        let mut paths = [None, None];
        for (path, (name, role)) in paths.iter_mut().zip([(kernel, "kernel"), (initrd, "initrd")]) {
            if let Some(name) = name {
                *path = Some(images.file(&name, role).await?.path);
            }
        }
        let [kernel, initrd] = paths;
        Ok(Files { image, kernel, initrd })
    }

    /// Makes what a start needs.
    pub(super) async fn make_parts(&self, ground: &Ground) -> Result<(), AgentError> {
        let files = self.files(&ground.spec).await?;
        if let Some(image) = &files.image {
            disks::inspect(image)?;
        }
        tokio::fs::create_dir_all(&ground.folder)
            .await
            .map_err(|error| AgentError::internal(ground.folder.display(), error))?;
        for (disk, size_bytes) in disks::plan(&ground.folder, files.image.as_ref(), &ground.spec.disks) {
            disks::make(&self.options.settings.qemu.img, &disk, size_bytes).await?;
        }
        Ok(())
    }

    /// Everything resolved.
    pub(super) async fn plan(&self, ground: &Ground, accelerator: Accelerator) -> Result<Plan, AgentError> {
        let spec = &ground.spec;
        let files = self.files(spec).await?;
        let disks = disks::plan(&ground.folder, files.image.as_ref(), &spec.disks);
        let link = self.link(&ground.id, spec);
        let address = self.cable(&ground.id, &link)?.map(|cable| (cable.guest, cable.prefix));
        let memory_bytes = match spec.memory_bytes {
            0 => self.options.settings.limits.memory_bytes,
            asked => asked,
        };
        Ok(Plan {
            kind: self.kind,
            name: self.run_name(&ground.id),
            accelerator,
            cpu_cores: spec.cpu_cores,
            memory_bytes,
            kernel: files.kernel,
            initrd: files.initrd,
            kernel_args: spec.kernel_args.clone(),
            disks: disks.into_iter().map(|(disk, _)| disk).collect(),
            limits: spec.limits.clone(),
            link,
            address,
            mac: mac(&ground.id),
            sockets: Sockets::in_folder(&ground.sockets),
            console_log: self.console_log(ground),
        })
    }

    /// Where its network device leads.
    pub(super) fn link(&self, id: &InstanceId, spec: &Spec) -> Link {
        match spec.options.network {
            Some(Network::None) => Link::None,
            Some(Network::Cable) => Link::Tap(net::device(id)),
            Some(Network::User | Network::Host) | None => Link::User,
        }
    }

    fn cables(&self) -> Result<Cables, AgentError> {
        let network = &self.options.settings.container.cable_network;
        Cables::new(network, &self.options.data, &self.options.mark)
    }

    /// The cable that it holds, leased when it has none.
    fn cable(&self, id: &InstanceId, link: &Link) -> Result<Option<Cable>, AgentError> {
        if matches!(link, Link::Tap(_)) { self.cables()?.lease(id).map(Some) } else { Ok(None) }
    }

    /// Gives the host's end of a cable its address. The device is QEMU's and goes with it.
    pub(super) async fn plug(&self, ground: &Ground, link: &Link) -> Result<(), AgentError> {
        match self.cable(&ground.id, link)? {
            Some(cable) => cable.dress().await,
            None => Ok(()),
        }
    }

    /// Gives the cable back.
    pub(super) fn unplug(&self, ground: &Ground) -> Result<(), AgentError> {
        self.cables()?.release(ground.id.as_str())
    }

    /// Of the guest, as the host reaches it.
    pub(super) fn guest_address(&self, ground: &Ground) -> String {
        let link = self.link(&ground.id, &ground.spec);
        self.cable(&ground.id, &link).ok().flatten().map_or_else(String::new, |cable| cable.guest.to_string())
    }
}

/// Bytes that went to the guest and came from it. QEMU's user network counts none.
pub(super) fn counters(link: &Link) -> (u64, u64) {
    let Link::Tap(device) = link else { return (0, 0) };
    let counted = net::counters(device).unwrap_or_default();
    (counted.received_bytes, counted.sent_bytes)
}

/// The folder itself is the agent's.
pub(super) fn remove_sockets(ground: &Ground) -> io::Result<()> {
    let Sockets { monitor, rescue, console } = Sockets::in_folder(&ground.sockets);
    [monitor, rescue, console].iter().try_for_each(|socket| absent(socket))
}
