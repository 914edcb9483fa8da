//! Snapshots as the wire shows them, and whose they are.

use std::collections::HashMap;

use tonic::Status;

use super::call::Call;
use super::{Edge, status};
use crate::fleet::FleetError;
use crate::fleet::access::Role;
use crate::fleet::rows::SnapshotRow;
use crate::fleet::snapshot::manifest::Manifest;
use crate::proto::neuro::orchestrator::{GrpcSnapshotInfo, RestoreSessionSnapshotRequest};

fn manifest(row: &SnapshotRow) -> Manifest {
    serde_json::from_str(&row.manifest).unwrap_or_default()
}

/// One snapshot; `metadata` as the caller gave it.
pub(super) fn info(row: &SnapshotRow, metadata: HashMap<String, String>) -> GrpcSnapshotInfo {
    let manifest = manifest(row);
    let folder = row.path.trim_start_matches("file://").trim_end_matches('/');
    let url = |path: &str| format!("file://{folder}/{path}");
    GrpcSnapshotInfo {
        snapshot_id: row.id.clone(),
        session_id: row.session.to_string(),
        scene_snapshot_urls: manifest.scenes.iter().map(|file| url(&file.path)).collect(),
        checkpoint_url: manifest.checkpoint.first().map(|file| url(&file.path)).unwrap_or_default(),
        created_at: row.created_ms,
        file_size_bytes: i64::try_from(row.size_bytes).unwrap_or(i64::MAX),
        metadata,
    }
}

impl Edge {
    /// Whether the caller may have the snapshot of a request: an owner has its own.
    ///
    /// # Errors
    /// `NOT_FOUND` for those of others, and for folders that no snapshot of the books is in.
    pub(super) fn may_restore(
        &self,
        call: &Call,
        asked: &RestoreSessionSnapshotRequest,
    ) -> Result<(), Status> {
        if call.identity.role == Role::Admin {
            return Ok(());
        }
        let (id, path) =
            (asked.snapshot_id.as_str(), asked.nucleus_snapshot_path.trim_start_matches("file://"));
        let meant = |row: &&SnapshotRow| match (id, path) {
            ("", "") => row.session.as_str() == asked.session_id,
            ("", path) => row.path.trim_end_matches('/') == path.trim_end_matches('/'),
            (id, _) => row.id == id,
        };
        let owners = self.orchestrator.books().read(|tables| {
            let rows = tables.snapshots.values().filter(meant);
            rows.map(|row| manifest(row).owner).collect::<Vec<_>>()
        });
        if !owners.is_empty() && owners.iter().all(|owner| call.identity.sees(owner)) {
            return Ok(());
        }
        let wanted = if id.is_empty() { path } else { id };
        Err(status::of(&FleetError::not_found("snapshot", wanted)))
    }
}
