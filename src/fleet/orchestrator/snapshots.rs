//! Saving and restoring, as callers ask for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Orchestrator;
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ids::SessionId;
use crate::fleet::ledger::Command;
use crate::fleet::request::{CreateSession, RestoreSnapshot, SaveSnapshot, SessionOptions};
use crate::fleet::rows::{SnapshotRow, ended};
use crate::fleet::session::memo::Memo;
use crate::fleet::session::restore::read_verified;
use crate::fleet::session::wish::{RestoreWish, SaveWish, Wish};
use crate::fleet::snapshot::manifest::Manifest;
use crate::fleet::view::SessionView;
use crate::proto::neuro::orchestrator::{GrpcOmniverseConnectionInfo, GrpcResourceRequirements};

/// How long a save or restore may take, everything in it.
const LIMIT: Duration = Duration::from_secs(150);
/// Most entries of a snapshot's metadata, and their longest text.
const MOST_METADATA: usize = 64;
const LONGEST_METADATA: usize = 4096;

impl Orchestrator {
    /// Saves every simulator's scene and, if asked, the trainer's checkpoint, with a manifest of all files.
    ///
    /// # Errors
    /// `Invalid` for a path that leads out of the root; `Precondition` before the scene is loaded, or when an instance
    /// wrote nothing that can be read here.
    pub async fn save_snapshot(&self, request: SaveSnapshot) -> Result<SnapshotRow, FleetError> {
        let SaveSnapshot { session, base_path, checkpoint, metadata } = request;
        check_metadata(&metadata)?;
        let live = self.live(&session)?;
        let id = uuid::Uuid::new_v4().to_string();
        let folder = self.house().snapshots.folder(&base_path, &session, &id)?;
        live.ask(LIMIT, |reply| Wish::Save(SaveWish { id, folder, checkpoint, metadata }, reply)).await
    }

    /// Saves a session before it is stopped for another.
    pub(super) async fn save_for(
        &self,
        session: &SessionId,
        checkpoint: bool,
        reason: &str,
    ) -> Result<SnapshotRow, FleetError> {
        let metadata = BTreeMap::from([("reason".to_owned(), reason.chars().take(1000).collect())]);
        let base_path = String::new();
        self.save_snapshot(SaveSnapshot { session: session.clone(), base_path, checkpoint, metadata }).await
    }

    /// Goes back to a saved state. A session that has ended, or never was, is made again from the manifest and waits
    /// for its instances like any other.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` when a file is not what was saved; as [`create`](Self::create) for one that is made
    /// again.
    pub async fn restore_snapshot(&self, request: RestoreSnapshot) -> Result<SessionView, FleetError> {
        let folder = self.snapshot_folder(&request)?;
        let manifest = read_verified(folder.clone()).await?;
        if !request.caller.sees(&manifest.owner) {
            return Err(FleetError::not_found("snapshot", &manifest.snapshot_id));
        }
        if !request.snapshot_id.is_empty() && manifest.snapshot_id != request.snapshot_id {
            let problem = format!("is {:?}; the path holds {:?}", request.snapshot_id, manifest.snapshot_id);
            return Err(FleetError::invalid("snapshot_id", problem));
        }
        let phase = self.books().read(|tables| tables.sessions.get(&request.session).map(|row| row.phase));
        if phase.is_some_and(|phase| !ended(phase)) {
            let wish = RestoreWish { folder, manifest, checkpoint: request.checkpoint };
            self.live(&request.session)?.ask(LIMIT, |reply| Wish::Restore(wish, reply)).await?;
            return self.session(&request.session);
        }
        self.make_again(request, folder, &manifest).await
    }

    fn snapshot_folder(&self, request: &RestoreSnapshot) -> Result<PathBuf, FleetError> {
        if !request.path.is_empty() {
            return self.house().snapshots.find(&request.path);
        }
        let found = self.books().read(|tables| {
            if !request.snapshot_id.is_empty() {
                return tables.snapshots.get(&request.snapshot_id).map(|row| row.path.clone());
            }
            let own = tables.snapshots.values().filter(|row| row.session == request.session);
            own.max_by_key(|row| row.created_ms).map(|row| row.path.clone())
        });
        let wanted = if request.snapshot_id.is_empty() {
            format!("of session {}", request.session)
        } else {
            request.snapshot_id.clone()
        };
        found.map(PathBuf::from).ok_or_else(|| FleetError::not_found("snapshot", wanted))
    }

    async fn make_again(
        &self,
        request: RestoreSnapshot,
        folder: PathBuf,
        manifest: &Manifest,
    ) -> Result<SessionView, FleetError> {
        let (mode, spec) = manifest.session_spec()?;
        let known = self.books().read(|tables| tables.snapshots.contains_key(&manifest.snapshot_id));
        if !known {
            let text = std::fs::read_to_string(folder.join(crate::fleet::snapshot::manifest::FILE_NAME));
            let row = SnapshotRow {
                id: manifest.snapshot_id.clone(),
                session: request.session.clone(),
                created_ms: manifest.created_at_ms,
                path: folder.display().to_string(),
                size_bytes: manifest.size_bytes(),
                manifest: text.map_err(FleetError::internal)?,
            };
            self.books().apply(Command::AddSnapshot(row)).await?;
        }
        let signed = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let wait = crate::fleet::session::house::seconds(self.fleet_settings().sessions.create_wait_s);
        let again = CreateSession {
            id: request.session.clone(),
            mode,
            scene: Some(spec.scene),
            stream: Some(spec.stream),
            training: spec.training,
            resources: Some(GrpcResourceRequirements {
                training_gpus: signed(spec.training_gpus),
                training_memory_gb: signed(spec.training_memory_gb),
                isaac_sim_instances: signed(spec.simulators),
            }),
            human_demo: spec.human_demo,
            options: SessionOptions {
                owner: self.owner_of(&request.session).unwrap_or_else(|| manifest.owner.clone()),
                requires: spec.requires,
                policy: spec.policy,
                instruction: spec.instruction,
                ..SessionOptions::default()
            },
            wait: wait.unwrap_or(Duration::from_secs(30)),
        };
        // What is remembered of its earlier life is not its state any more.
        self.house().forget(&request.session);
        let before = self.house().memos.load(&request.session);
        let memo = Memo { without_checkpoint: !request.checkpoint, ..Memo::default() };
        self.house().memos.save(&request.session, &memo)?;
        let made = self.create_from(again, manifest.snapshot_id.clone()).await;
        let still = self.books().read(|tables| tables.sessions.get(&request.session).map(|row| row.phase));
        if made.is_err() && still.is_some_and(ended) {
            // Refused: what is known of its end stays.
            self.house().forget(&request.session);
            self.house().memos.save(&request.session, &before)?;
        }
        made
    }

    fn owner_of(&self, session: &SessionId) -> Option<String> {
        self.books().read(|tables| tables.sessions.get(session).map(|row| row.owner.clone()))
    }

    /// Where the scene store is, from the configuration.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` when none is configured.
    pub fn omniverse(&self, session: &SessionId) -> Result<GrpcOmniverseConnectionInfo, FleetError> {
        self.live(session)?;
        let Some(settings) = &self.fleet_settings().omniverse else {
            let message = "no scene store is configured: [omniverse] is not in the settings";
            return Err(FleetError::Precondition(message.to_owned()));
        };
        let place = |path: &str| path.replace("{session}", session.as_str());
        let life_ms = i64::try_from(settings.token_life_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        Ok(GrpcOmniverseConnectionInfo {
            nucleus_url: settings.nucleus_url.clone(),
            http_proxy_url: settings.http_proxy_url.clone(),
            session_path: place(&settings.session_path),
            snapshot_path: place(&settings.snapshot_path),
            access_token: settings.access_token.clone(),
            token_expires_at: if life_ms == 0 { 0 } else { now_ms().saturating_add(life_ms) },
        })
    }
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), FleetError> {
    if metadata.len() > MOST_METADATA {
        let problem = format!("holds {} entries; expected at most {MOST_METADATA}", metadata.len());
        return Err(FleetError::invalid("metadata", problem));
    }
    let longest = metadata.iter().map(|(key, value)| key.len().max(value.len())).max().unwrap_or(0);
    if longest > LONGEST_METADATA {
        let problem = format!("holds a text of {longest} bytes; expected at most {LONGEST_METADATA}");
        return Err(FleetError::invalid("metadata", problem));
    }
    Ok(())
}
