//! Starting and ending. A start adopts what the store holds: sessions get their drivers, instances one lease to come back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};

use super::{Inner, Orchestrator, OrchestratorOptions, keeper, route};
use crate::fleet::books::Books;
use crate::fleet::control::{ControlOptions, Controls};
use crate::fleet::error::FleetError;
use crate::fleet::ledger::{Command, LedgerOptions, Notice};
use crate::fleet::leftovers;
use crate::fleet::link::Links;
use crate::fleet::pool::{Launch, Pools};
use crate::fleet::rows::Quota;
use crate::fleet::session::house::{House, seconds};
use crate::fleet::session::memo::Memos;
use crate::fleet::settings::{FleetSettings, QuotaSettings};
use crate::fleet::signalling::Signalling;
use crate::fleet::sink::redis::RedisSink;
use crate::fleet::snapshot::root::SnapshotRoot;
use crate::fleet::store::SqliteStore;

impl Orchestrator {
    /// Opens the store, adopts what it holds, starts the pools. Needs a Tokio runtime. (`start` is a session's.)
    ///
    /// # Errors
    /// When the store cannot be opened, a folder not be made, or a setting makes no sense.
    pub async fn open(options: OrchestratorOptions) -> Result<Self, FleetError> {
        let begun = tokio::time::Instant::now();
        let (books, notices) = open_books(&options).await?;
        let settings = &options.settings;
        sweep(&options).await;
        let (links, reports) = Links::new(books.clone(), settings.leases.clone());
        apply_quotas(&books, settings).await?;
        let controls = Controls::start(
            books.clone(),
            links.clone(),
            ControlOptions {
                settings: settings.control.clone(),
                data: options.data.clone(),
                demonstrations: options.folder(&settings.storage.demonstrations, "demonstrations"),
                http_url: options.public_url().to_owned(),
                policy: options.policy.clone(),
            },
        )?;
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => std::env::current_exe().map_err(FleetError::internal)?,
        };
        let launch = Launch {
            binary,
            orchestrator_url: options.grpc_url.clone(),
            http_url: options.http_url.clone(),
            data: options.folder(&PathBuf::new(), ""),
            key_file: options.key_file.clone(),
        };
        let pools = Pools::start(&settings.pool, books.clone(), links.clone(), launch)?;
        let signalling = Signalling::new(books.clone());
        let url = &settings.events.redis_url;
        let sink = || RedisSink::start(url, books.clone(), options.public_url());
        let redis = (!url.is_empty()).then(sink).transpose()?;
        let nucleus = settings.omniverse.as_ref().map_or("", |omniverse| omniverse.nucleus_url.as_str());
        let house = Arc::new(House::new(
            books,
            links,
            settings.clone(),
            Memos::open(options.data.join("sessions"))?,
            SnapshotRoot::new(options.folder(&settings.storage.snapshots, "snapshots"), nucleus),
            options.folder(&settings.storage.checkpoints, "checkpoints"),
        ));
        let inner = Inner { options, house, controls, signalling, pools, redis, tasks: Mutex::default() };
        let this = Self { inner: Arc::new(inner) };
        let adopted = this.adopt();
        this.keep_task(tokio::spawn(route::notices(this.downgrade(), notices)));
        this.keep_task(tokio::spawn(route::reports(this.downgrade(), reports)));
        this.keep_task(tokio::spawn(keeper::run(this.downgrade())));
        info!(sessions = adopted, ms = begun.elapsed().as_millis(), "the fleet is open");
        Ok(this)
    }

    /// Gives every session that has not ended its driver; how many there are.
    fn adopt(&self) -> usize {
        let active: Vec<_> = self.books().read(|tables| tables.active().map(|row| row.id.clone()).collect());
        active.iter().filter(|session| self.house().live(session).is_some()).count()
    }

    /// A plain end: instances and sessions go on and are adopted by the next start. Nothing of this orchestrator writes
    /// any more when it returns.
    pub async fn shutdown(&self) {
        let tasks = std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            drop(task.await);
        }
        self.house().end_drivers().await;
        self.controls().shutdown().await;
        self.books().close().await;
    }
}

/// Nothing of this orchestrator writes yet.
async fn sweep(options: &OrchestratorOptions) {
    let storage = &options.settings.storage;
    let snapshots = options.folder(&storage.snapshots, "snapshots");
    let demonstrations = options.folder(&storage.demonstrations, "demonstrations");
    match tokio::task::spawn_blocking(move || leftovers::sweep(&snapshots, &demonstrations)).await {
        Ok(0) => {}
        Ok(swept) => info!(swept, "removed what was half written when the last orchestrator ended"),
        Err(error) => warn!(%error, "half-written folders stay"),
    }
}

async fn open_books(
    options: &OrchestratorOptions,
) -> Result<(Books, tokio::sync::mpsc::Receiver<Notice>), FleetError> {
    let data = options.data.clone();
    let ledger = ledger_options(&options.settings);
    let open = move || {
        std::fs::create_dir_all(&data)
            .map_err(|error| FleetError::Internal(format!("{}: {error}", data.display())))?;
        let store = SqliteStore::open(&data.join("fleet.db")).map_err(FleetError::internal)?;
        Books::open(Box::new(store), ledger)
    };
    tokio::task::spawn_blocking(open).await.map_err(FleetError::internal)?
}

fn ledger_options(settings: &FleetSettings) -> LedgerOptions {
    let slots = settings.pool.iter().filter(|pool| pool.slots_per_gpu > 0);
    let slots: BTreeMap<String, u32> = slots.map(|pool| (pool.name.clone(), pool.slots_per_gpu)).collect();
    LedgerOptions {
        default_quota: quota(&settings.quota),
        slots_per_gpu: slots,
        patience: seconds(settings.queue.patience_s).unwrap_or_default(),
        events_kept: settings.sessions.events_kept,
    }
}

fn quota(settings: &QuotaSettings) -> Quota {
    Quota {
        max_sessions: settings.max_sessions,
        max_simulators: settings.max_simulators,
        max_training_gpus: settings.max_training_gpus,
        gpu_hours_per_month: settings.gpu_hours_per_month,
        weight: settings.weight.max(1),
    }
}

/// Owners that the file names have what the file says, whatever was set meanwhile.
async fn apply_quotas(books: &Books, settings: &FleetSettings) -> Result<(), FleetError> {
    for (owner, limits) in &settings.owners {
        let limits = quota(limits);
        if books.read(|tables| tables.quotas.get(owner) == Some(&limits)) {
            continue;
        }
        let set = Command::SetQuota { owner: owner.clone(), quota: limits };
        if let Err(error) = books.apply(set).await {
            warn!(owner, %error, "its quota was not set");
            return Err(error);
        }
    }
    Ok(())
}
