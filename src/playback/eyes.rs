//! Who draws: the built-in renderer, or NuRec services, each behind its planner. Planners are made when first asked for
//! and shared by the sessions that look through them.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::docker::{self, DockerOptions};
use super::error::WorldError;
use crate::config::HostPort;
use crate::render::builtin::{Builtin, BuiltinError};
use crate::render::nurec::{NurecClient, NurecOptions};
use crate::render::plan::{FramePlanner, PlanOptions};

/// NuRec services known at once; the one asked for least recently is forgotten.
const MAX_SERVICES: usize = 8;
/// How long a restarted renderer may take to come up before the answer says "starting".
const STARTING_TIME: Duration = Duration::from_secs(45);
/// How long a renderer that is merely probed may take.
const PROBE_TIME: Duration = Duration::from_secs(5);
/// Between two looks at a renderer that is coming up.
const LOOK: Duration = Duration::from_millis(500);

/// Who draws.
#[derive(Debug, Clone)]
pub enum RendererKind {
    /// The renderer built into this binary.
    Embedded,
    /// NuRec services that somebody else runs.
    External,
    /// A NuRec container that this server runs.
    Docker(DockerOptions),
}

/// Settings of the eyes.
#[derive(Debug, Clone)]
pub struct EyesOptions {
    /// Who draws.
    pub kind: RendererKind,
    /// Where NuRec listens when a request does not say.
    pub nurec: HostPort,
    /// Pictures remembered of each renderer, in bytes.
    pub cache_bytes: u64,
}

/// Renderers behind planners.
pub struct Eyes {
    options: EyesOptions,
    plan: PlanOptions,
    /// Where it is the one that draws.
    builtin: Option<FramePlanner>,
    /// In the order they were last asked for.
    services: Mutex<HashMap<HostPort, (u64, FramePlanner)>>,
}

impl RendererKind {
    /// The word for it in settings and answers.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::External => "external",
            Self::Docker(_) => "docker",
        }
    }
}

impl Eyes {
    /// Who draws.
    #[must_use]
    pub fn kind(&self) -> &RendererKind {
        &self.options.kind
    }

    /// Opens them. Nothing is connected yet.
    ///
    /// # Errors
    /// When the built-in renderer gets no threads.
    pub fn open(options: EyesOptions) -> Result<Self, BuiltinError> {
        let plan = PlanOptions { cache_bytes: options.cache_bytes, ..PlanOptions::default() };
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let builtin = match options.kind {
            RendererKind::Embedded => Some(FramePlanner::new(Arc::new(Builtin::new(threads)?), plan)),
            RendererKind::External | RendererKind::Docker(_) => None,
        };
        Ok(Self { options, plan, builtin, services: Mutex::default() })
    }

    /// The planner to look through when a request names `nurec`, or nothing.
    ///
    /// # Errors
    /// [`WorldError::ForeignRenderer`]
    pub fn planner(&self, nurec: Option<&HostPort>) -> Result<FramePlanner, WorldError> {
        if let Some(builtin) = &self.builtin {
            return Ok(builtin.clone());
        }
        let place = self.place(nurec)?;
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = services.values().map(|(asked, _)| *asked).max().unwrap_or(0) + 1;
        if let Some((asked, planner)) = services.get_mut(&place) {
            *asked = newest;
            return Ok(planner.clone());
        }
        if services.len() >= MAX_SERVICES
            && let Some(oldest) =
                services.iter().min_by_key(|(_, (asked, _))| *asked).map(|(place, _)| place.clone())
        {
            services.remove(&oldest);
        }
        let options = NurecOptions { host: place.host.clone(), port: place.port, ..NurecOptions::default() };
        let client = NurecClient::new(options).map_err(|error| WorldError::Invalid(error.to_string()))?;
        let planner = FramePlanner::new(Arc::new(client), self.plan);
        services.insert(place, (newest, planner.clone()));
        Ok(planner)
    }

    /// Where NuRec is, when a request names `nurec`: this machine, or where the settings point.
    fn place(&self, nurec: Option<&HostPort>) -> Result<HostPort, WorldError> {
        let configured = &self.options.nurec;
        match nurec {
            None => Ok(configured.clone()),
            Some(asked) if asked.is_loopback() || asked.host == configured.host => Ok(asked.clone()),
            Some(asked) => Err(WorldError::ForeignRenderer {
                asked: asked.host.clone(),
                configured: configured.host.clone(),
            }),
        }
    }

    /// Gets a renderer ready for a scenario; returns its name, and whether it answers.
    ///
    /// # Errors
    /// [`WorldError::ForeignRenderer`], [`WorldError::Container`]
    pub async fn restart(&self, file: &Path, nurec: Option<&HostPort>) -> Result<(String, bool), WorldError> {
        let planner = self.planner(nurec)?;
        match &self.options.kind {
            RendererKind::Embedded => Ok(("embedded".to_owned(), true)),
            RendererKind::External => {
                let ready = wait_for(&planner, PROBE_TIME, None).await?;
                Ok((format!("external-{}", self.place(nurec)?), ready))
            }
            RendererKind::Docker(options) => {
                let place = self.place(nurec)?;
                if !place.is_loopback() {
                    let reason = format!("a container is started on this machine, not on {}", place.host);
                    return Err(WorldError::Container(reason));
                }
                let name = docker::restart(options, file, place.port).await?;
                let ready = wait_for(&planner, STARTING_TIME, Some((options, &name))).await?;
                Ok((name, ready))
            }
        }
    }
}

/// A container to keep an eye on while waiting.
type Container<'a> = (&'a DockerOptions, &'a str);

/// Looks at a renderer until it answers, its container ends, or the time is over.
async fn wait_for(
    planner: &FramePlanner,
    patience: Duration,
    container: Option<Container<'_>>,
) -> Result<bool, WorldError> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if planner.renderer().reachable().await {
            return Ok(true);
        }
        if let Some((options, name)) = container
            && !docker::running(options, name).await
        {
            let log = docker::last_log(options, name).await;
            return Err(WorldError::Container(format!("container {name} ended; its last lines:\n{log}")));
        }
        if tokio::time::Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
}
