//! Saves a session: every simulator and the trainer write into one folder, which gets its name when all is there.

use std::path::{Path, PathBuf};

use super::checkpoint::{self, IN_SNAPSHOT};
use super::driver::Driver;
use super::look::Look;
use super::orders::SAVING;
use super::wish::SaveWish;
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ledger::Command;
use crate::fleet::link::Ask;
use crate::fleet::rows::SnapshotRow;
use crate::fleet::snapshot::manifest::{self, Manifest};
use crate::proto::neuro::ext;

impl Driver {
    pub(super) async fn save(&self, wish: SaveWish) -> Result<SnapshotRow, FleetError> {
        let look = self.look_settled()?;
        let partial = partial(&wish.folder);
        make(&partial, self.house.snapshots.path())?;
        let saved = self.save_into(&look, &partial, wish).await;
        if saved.is_err() {
            drop(std::fs::remove_dir_all(&partial));
        }
        saved
    }

    async fn save_into(
        &self,
        look: &Look,
        partial: &Path,
        wish: SaveWish,
    ) -> Result<SnapshotRow, FleetError> {
        let snapshot = |name: String| {
            Ask::Snapshot(ext::Snapshot { uri: checkpoint::uri(&partial.join(name)), checkpoint: false })
        };
        self.order_all(&look.simulators, SAVING, |seat| snapshot(scene_name(seat.env_index))).await?;
        let with_trainer = look.trainer.as_ref().filter(|_| wish.checkpoint);
        if let Some(trainer) = with_trainer {
            let order = checkpoint::order(&partial.join(IN_SNAPSHOT));
            self.order(trainer, Ask::Snapshot(order), SAVING).await?;
        }
        let mut manifest = Manifest::new(look.row.mode, &look.spec);
        manifest.snapshot_id.clone_from(&wish.id);
        manifest.session_id = look.row.id.to_string();
        manifest.owner.clone_from(&look.row.owner);
        manifest.created_at_ms = now_ms();
        manifest.metadata.clone_from(&wish.metadata);
        manifest.set_changes(&self.live.memo(|memo| memo.changes.clone()));
        let scenes: Vec<String> = look.simulators.iter().map(|seat| scene_name(seat.env_index)).collect();
        let (from, to, with_trainer) = (partial.to_owned(), wish.folder.clone(), with_trainer.is_some());
        let written = tokio::task::spawn_blocking(move || write(manifest, &scenes, with_trainer, &from, &to));
        let (manifest, text) = written.await.map_err(FleetError::internal)??;
        let row = SnapshotRow {
            id: wish.id,
            session: look.row.id.clone(),
            created_ms: manifest.created_at_ms,
            path: wish.folder.display().to_string(),
            size_bytes: manifest.size_bytes(),
            manifest: text,
        };
        self.house.books.apply(Command::AddSnapshot(row.clone())).await?;
        Ok(row)
    }
}

/// What a simulator writes.
fn scene_name(env_index: u32) -> String {
    format!("scene-{env_index}.json")
}

/// Where a snapshot is written before it is whole.
fn partial(folder: &Path) -> PathBuf {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    folder.with_file_name(format!(".{name}.partial"))
}

/// Makes the folder, which must not lie elsewhere by a link.
fn make(partial: &Path, root: &Path) -> Result<(), FleetError> {
    std::fs::create_dir_all(root).map_err(|error| manifest::disk(root, &error))?;
    std::fs::create_dir_all(partial).map_err(|error| manifest::disk(partial, &error))?;
    let real = partial.canonicalize().map_err(|error| manifest::disk(partial, &error))?;
    let root = root.canonicalize().map_err(|error| manifest::disk(root, &error))?;
    if real.starts_with(&root) {
        return Ok(());
    }
    drop(std::fs::remove_dir(partial));
    Err(FleetError::invalid("nucleus_base_path", "leads out of the snapshot root by a link"))
}

/// Reads every file that was to be written, then gives the folder its name.
fn write(
    mut manifest: Manifest,
    scenes: &[String],
    with_trainer: bool,
    from: &Path,
    to: &Path,
) -> Result<(Manifest, String), FleetError> {
    for name in scenes {
        manifest.scenes.push(manifest::describe(from, name)?);
    }
    if with_trainer {
        manifest.checkpoint = manifest::describe_all(from, IN_SNAPSHOT)?;
        if manifest.checkpoint.is_empty() {
            let folder = from.join(IN_SNAPSHOT);
            return Err(FleetError::Precondition(format!(
                "the trainer wrote nothing to {}",
                folder.display()
            )));
        }
    }
    let text = manifest.write(from)?;
    std::fs::rename(from, to).map_err(|error| manifest::disk(to, &error))?;
    if let Some(parent) = to.parent() {
        let parent_file = std::fs::File::open(parent).map_err(|error| manifest::disk(parent, &error))?;
        parent_file.sync_all().map_err(|error| manifest::disk(parent, &error))?;
    }
    Ok((manifest, text))
}
