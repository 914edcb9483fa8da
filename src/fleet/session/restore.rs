//! Goes back to a saved state: of a session that runs, or of one that was made again from its manifest.

use std::path::{Path, PathBuf};

use super::checkpoint;
use super::driver::Driver;
use super::look::{Look, Seat};
use super::orders::{QUICK, SAVING};
use super::wish::RestoreWish;
use crate::fleet::error::FleetError;
use crate::fleet::link::Ask;
use crate::fleet::rows::Phase;
use crate::fleet::snapshot::manifest::Manifest;
use crate::proto::neuro::ext;

impl Driver {
    /// The snapshot that a session starts from, if it has not been restored yet. Every file is read and compared.
    pub(super) async fn snapshot_to_restore(
        &self,
        look: &Look,
    ) -> Result<Option<(Manifest, PathBuf)>, FleetError> {
        let wanted = &look.row.restore_from;
        if wanted.is_empty() || self.live.memo(|memo| memo.restored == *wanted) {
            return Ok(None);
        }
        let path = self.house.books.read(|tables| tables.snapshots.get(wanted).map(|row| row.path.clone()));
        let folder = PathBuf::from(path.ok_or_else(|| FleetError::not_found("snapshot", wanted))?);
        let manifest = read_verified(folder.clone()).await?;
        Ok(Some((manifest, folder)))
    }

    /// Gives one simulator its saved state. One without a state of its own gets that of environment 0.
    pub(super) async fn restore_scene(
        &self,
        seat: &Seat,
        manifest: &Manifest,
        folder: &Path,
    ) -> Result<(), FleetError> {
        let own = usize::try_from(seat.env_index).ok().and_then(|index| manifest.scenes.get(index));
        let Some(file) = own.or_else(|| manifest.scenes.first()) else { return Ok(()) };
        let restore = ext::RestoreScene { uri: checkpoint::uri(&folder.join(&file.path)) };
        self.order(seat, Ask::Restore(restore), SAVING).await.map(|_| ())
    }

    pub(super) async fn restore(&self, wish: RestoreWish) -> Result<(), FleetError> {
        let look = self.look_settled()?;
        let RestoreWish { folder, manifest, checkpoint } = wish;
        let changes = manifest.changes()?;
        let restored = look.simulators.iter().map(|seat| self.restore_scene(seat, &manifest, &folder));
        futures_util::future::join_all(restored).await.into_iter().collect::<Result<Vec<()>, _>>()?;
        self.live.edit(|memo| memo.changes = changes);
        self.keep();
        let Some(trainer) = look.trainer.as_ref().filter(|_| checkpoint) else { return Ok(()) };
        if manifest.checkpoint.is_empty() {
            let message = format!("snapshot {} holds no checkpoint", manifest.snapshot_id);
            return Err(FleetError::Precondition(message));
        }
        self.order(trainer, Ask::Stop(ext::Stop { cleanup: false, grace_ms: 0 }), QUICK).await?;
        let paused = look.row.phase == Phase::Paused;
        self.train(&look, trainer, Some((&manifest, &folder)), paused).await
    }
}

/// Reads a manifest and every file it names, off the async threads.
///
/// # Errors
/// As [`Manifest::read`].
pub async fn read_verified(folder: PathBuf) -> Result<Manifest, FleetError> {
    tokio::task::spawn_blocking(move || Manifest::read(&folder)).await.map_err(FleetError::internal)?
}
