//! The store: what was imported, by name. Contents lie under their digests, so that images share layers and no name is ever
//! a path. An import is made beside everything else and becomes visible with the list; whoever looks sees all of it or none.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;

use super::archive;
use super::digest::{Digest, Hashed};
use super::file;
use super::index::{Image, ImageKind, Index, Program, check_name};
use super::layer::Unpacker;
use super::oci::{self, Plan};
use super::source::Source;
use super::{FileImage, Images, RootImage};
use crate::agent::error::AgentError;

/// What is to be imported.
#[derive(Debug, Clone)]
pub struct Import {
    /// What requests will call it.
    pub name: String,
    /// A file or folder of this machine.
    pub from: PathBuf,
    /// What it is.
    pub what: What,
    /// Takes the place of another image of that name, when no instance uses it.
    pub replace: bool,
}

/// What an import is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An OCI layout or what `docker save` wrote, a folder or an archive; one of several images by its reference.
    Oci(Option<String>),
    /// A root file system, a folder or an archive.
    Rootfs,
    /// A disk; `raw` when it is not qcow2.
    Disk {
        /// Its bytes are those of the disk.
        raw: bool,
    },
    /// A kernel.
    Kernel,
    /// An initrd.
    Initrd,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// As it is in the list.
    pub image: Image,
    /// Devices and sockets that were not taken over.
    pub left_out: u64,
}

/// See the module. Cheap to clone; what it does blocks.
#[derive(Debug, Clone)]
pub struct ImageStore {
    folder: PathBuf,
}

impl ImageStore {
    /// Opens the store of a data folder, and makes it where there is none.
    ///
    /// # Errors
    /// `Internal` when the folder cannot be made.
    pub fn open(data: &Path) -> Result<Self, AgentError> {
        let folder = data.join("images");
        // Images hold programs that run as somebody else: nobody of this machine but its owner may come near them.
        for part in ["", "layers", "files", "new"] {
            let path = folder.join(part);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|error| AgentError::internal(format!("making {}", path.display()), error))?;
        }
        Ok(Self { folder })
    }

    /// Everything that is there.
    ///
    /// # Errors
    /// `Internal` when the list cannot be read.
    pub fn list(&self) -> Result<Vec<Image>, AgentError> {
        Ok(Index::read(&self.folder)?.images)
    }

    /// A container's image.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` for one of another kind.
    pub fn root(&self, name: &str) -> Result<RootImage, AgentError> {
        let image = self.find(name, ImageKind::Root)?;
        let Program { entrypoint, cmd, env, working_dir, user, stop_signal } = image.program;
        let layers = image.layers.iter().rev().map(|layer| self.layer(layer)).collect();
        let digest = image.digest.to_string();
        Ok(RootImage {
            name: image.name,
            digest,
            layers,
            entrypoint,
            cmd,
            env,
            working_dir,
            user,
            stop_signal,
        })
    }

    /// A disk, kernel or initrd.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` for one of another kind.
    pub fn file(&self, name: &str, role: &str) -> Result<FileImage, AgentError> {
        let kind = [ImageKind::Disk, ImageKind::Kernel, ImageKind::Initrd];
        let kind = kind.into_iter().find(|kind| kind.name() == role);
        let kind = kind.ok_or_else(|| AgentError::Internal(format!("{role:?} is no role of an image")))?;
        let image = self.find(name, kind)?;
        let path = self.folder.join("files").join(image.digest.hex());
        let digest = image.digest.to_string();
        Ok(FileImage { name: image.name, digest, path, format: image.format, size_bytes: image.size_bytes })
    }

    /// Takes an image in. `used`: names that instances have.
    ///
    /// # Errors
    /// `Invalid` for what is damaged, unknown or would escape; `AlreadyExists` when the name is taken.
    pub fn import(&self, import: &Import, used: &BTreeSet<String>) -> Result<Imported, AgentError> {
        check_name(&import.name)?;
        let _lock = self.lock()?;
        self.clear_new()?;
        let (mut image, left_out) = match &import.what {
            What::Oci(reference) => self.container(import, reference.as_deref())?,
            What::Rootfs => self.rootfs(import)?,
            What::Disk { raw } => (self.single(import, ImageKind::Disk, *raw)?, 0),
            What::Kernel => (self.single(import, ImageKind::Kernel, false)?, 0),
            What::Initrd => (self.single(import, ImageKind::Initrd, false)?, 0),
        };
        let mut index = Index::read(&self.folder)?;
        if let Some(there) = index.find(&import.name) {
            let same = there.digest == image.digest && there.kind == image.kind;
            if !same && !import.replace {
                let message =
                    format!("an image {:?} is there already, with the digest {}", there.name, there.digest);
                self.collect(&index)?;
                return Err(AgentError::AlreadyExists(message));
            }
            if !same && used.contains(&import.name) {
                self.collect(&index)?;
                return Err(in_use(&import.name));
            }
            if same {
                image.imported_ms = there.imported_ms;
            }
        }
        index.images.retain(|there| there.name != import.name);
        index.images.push(image.clone());
        index.write(&self.folder)?;
        self.collect(&index)?;
        Ok(Imported { image, left_out })
    }

    /// Forgets an image, and takes away what no other one shares.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` while an instance has it.
    pub fn remove(&self, name: &str, used: &BTreeSet<String>) -> Result<Image, AgentError> {
        let _lock = self.lock()?;
        let mut index = Index::read(&self.folder)?;
        let image = index.find(name).cloned().ok_or_else(|| AgentError::not_found("image", name))?;
        if used.contains(name) {
            return Err(in_use(name));
        }
        index.images.retain(|there| there.name != name);
        index.write(&self.folder)?;
        self.collect(&index)?;
        Ok(image)
    }

    fn find(&self, name: &str, kind: ImageKind) -> Result<Image, AgentError> {
        check_name(name)?;
        let index = Index::read(&self.folder)?;
        let image = index.find(name).cloned().ok_or_else(|| AgentError::not_found("image", name))?;
        if image.kind == kind {
            return Ok(image);
        }
        let (is, wanted) = (image.kind.name(), kind.name());
        Err(AgentError::Precondition(format!("image {name:?} is of the kind {is}; expected {wanted}")))
    }

    fn container(&self, import: &Import, reference: Option<&str>) -> Result<(Image, u64), AgentError> {
        let source = Source::open(&import.from, &self.folder.join("new/archive"))?;
        let Plan { digest, layers, program } = oci::plan(&source, reference)?;
        let (mut size_bytes, mut left_out) = (0_u64, 0_u64);
        for layer in &layers {
            if self.layer(&layer.plain).is_dir() {
                continue;
            }
            let mut packed = Hashed::new(source.reader(&layer.name)?);
            let (new, mut into) = self.new_layer(true)?;
            let plain = archive::unpack(archive::plain(&mut packed, &layer.name)?, &layer.name, &mut into)?;
            let failed = |error| AgentError::internal(format!("reading {}", layer.name), error);
            let (found, _) = packed.finish().map_err(failed)?;
            if let Some(announced) = &layer.packed {
                announced.expect(&found, &layer.name)?;
            }
            layer.plain.expect(&plain, &layer.name)?;
            left_out = left_out.saturating_add(self.keep(&new, into, &layer.plain)?);
        }
        for layer in &layers {
            size_bytes = size_bytes.saturating_add(self.layer_bytes(&layer.plain));
        }
        let layers = layers.into_iter().map(|layer| layer.plain).collect();
        let name = import.name.clone();
        let kind = ImageKind::Root;
        let format = "oci".to_owned();
        Ok((
            Image { name, kind, format, digest, size_bytes, layers, program, imported_ms: now_ms() },
            left_out,
        ))
    }

    fn rootfs(&self, import: &Import) -> Result<(Image, u64), AgentError> {
        let (new, mut into) = self.new_layer(false)?;
        let shown = import.from.display().to_string();
        let digest = if import.from.is_dir() {
            archive::copy(&import.from, &mut into)?
        } else {
            let file = File::open(&import.from)
                .map_err(|error| AgentError::internal(format!("reading {shown}"), error))?;
            archive::unpack(archive::plain(file, &shown)?, &shown, &mut into)?
        };
        let left_out = self.keep(&new, into, &digest)?;
        let image = Image {
            name: import.name.clone(),
            kind: ImageKind::Root,
            format: "rootfs".to_owned(),
            size_bytes: self.layer_bytes(&digest),
            layers: vec![digest.clone()],
            digest,
            program: Program::default(),
            imported_ms: now_ms(),
        };
        Ok((image, left_out))
    }

    fn single(&self, import: &Import, kind: ImageKind, raw: bool) -> Result<Image, AgentError> {
        let new = self.folder.join("new/file");
        let failed =
            |error: std::io::Error| AgentError::internal(format!("reading {}", import.from.display()), error);
        let mut from = File::open(&import.from).map_err(failed)?;
        if !from.metadata().map_err(failed)?.is_file() {
            return Err(AgentError::invalid(import.from.display().to_string(), "is no file"));
        }
        let mut into = File::options().write(true).create_new(true).open(&new).map_err(failed)?;
        std::io::copy(&mut from, &mut into).map_err(failed)?;
        into.sync_all().map_err(failed)?;
        // Looked at and hashed as it lies in the store: the original may change meanwhile.
        let about = file::about(&new, kind, raw).map_err(|error| named(error, &import.from))?;
        let (digest, _) = Hashed::new(File::open(&new).map_err(failed)?).finish().map_err(failed)?;
        let mode: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        fs::set_permissions(&new, mode).map_err(failed)?;
        self.place(&new, &self.folder.join("files").join(digest.hex()))?;
        Ok(Image {
            name: import.name.clone(),
            kind,
            format: about.format.to_owned(),
            digest,
            size_bytes: about.size_bytes,
            layers: Vec::new(),
            program: Program::default(),
            imported_ms: now_ms(),
        })
    }

    fn layer(&self, digest: &Digest) -> PathBuf {
        self.folder.join("layers").join(digest.hex())
    }

    fn layer_bytes(&self, digest: &Digest) -> u64 {
        let file = self.folder.join("layers").join(format!("{}.bytes", digest.hex()));
        fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    fn new_layer(&self, layered: bool) -> Result<(PathBuf, Unpacker), AgentError> {
        let new = self.folder.join("new/layer");
        fs::create_dir(&new)
            .map_err(|error| AgentError::internal(format!("making {}", new.display()), error))?;
        Ok((new.clone(), Unpacker::into(&new, layered)?))
    }

    fn keep(&self, new: &Path, into: Unpacker, digest: &Digest) -> Result<u64, AgentError> {
        let unpacked = into.finish()?;
        let place = self.layer(digest);
        let size = self.folder.join("layers").join(format!("{}.bytes", digest.hex()));
        fs::write(&size, unpacked.bytes.to_string())
            .map_err(|error| AgentError::internal(format!("writing {}", size.display()), error))?;
        self.place(new, &place)?;
        Ok(unpacked.left_out)
    }

    /// Moves what is complete to where it stays; what is there already is the same.
    fn place(&self, new: &Path, place: &Path) -> Result<(), AgentError> {
        let failed =
            |error: std::io::Error| AgentError::internal(format!("making {}", place.display()), error);
        if place.exists() {
            return if new.is_dir() { fs::remove_dir_all(new) } else { fs::remove_file(new) }.map_err(failed);
        }
        fs::rename(new, place).map_err(failed)?;
        let folder = place.parent().unwrap_or(&self.folder);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    fn lock(&self) -> Result<File, AgentError> {
        let path = self.folder.join("lock");
        let failed =
            |error: std::io::Error| AgentError::internal(format!("locking {}", path.display()), error);
        let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    /// Takes away what an import left that did not come to its end.
    fn clear_new(&self) -> Result<(), AgentError> {
        let new = self.folder.join("new");
        let failed =
            |error: std::io::Error| AgentError::internal(format!("clearing {}", new.display()), error);
        fs::remove_dir_all(&new).map_err(failed)?;
        DirBuilder::new().mode(0o700).create(&new).map_err(failed)
    }

    /// Takes away what no image of the list has.
    fn collect(&self, index: &Index) -> Result<(), AgentError> {
        let kept = index.kept();
        for part in ["layers", "files"] {
            let folder = self.folder.join(part);
            let failed =
                |error: std::io::Error| AgentError::internal(format!("clearing {}", folder.display()), error);
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                if kept.contains(stem) {
                    continue;
                }
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
                    .map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl Images for ImageStore {
    fn root<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RootImage, AgentError>> {
        let (store, name) = (self.clone(), name.to_owned());
        Box::pin(look(move || store.root(&name)))
    }

    fn file<'a>(&'a self, name: &'a str, role: &'a str) -> BoxFuture<'a, Result<FileImage, AgentError>> {
        let (store, name, role) = (self.clone(), name.to_owned(), role.to_owned());
        Box::pin(look(move || store.file(&name, &role)))
    }
}

async fn look<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, AgentError> + Send + 'static,
) -> Result<T, AgentError> {
    let looked = tokio::task::spawn_blocking(look).await;
    looked.map_err(|error| AgentError::internal("looking for an image", error))?
}

fn in_use(name: &str) -> AgentError {
    AgentError::Precondition(format!("image {name:?} is in use: an instance was made of it"))
}

/// Names the file that was given, not its copy.
fn named(error: AgentError, from: &Path) -> AgentError {
    match error {
        AgentError::Invalid { problem, .. } => {
            AgentError::Invalid { field: from.display().to_string(), problem }
        }
        other => other,
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
