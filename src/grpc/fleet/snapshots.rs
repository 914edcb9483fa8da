//! Snapshots as the wire shows them.

use std::collections::HashMap;

use crate::fleet::rows::SnapshotRow;
use crate::fleet::snapshot::manifest::Manifest;
use crate::proto::neuro::orchestrator::GrpcSnapshotInfo;

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
