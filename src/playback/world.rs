//! All sessions, and the way from a file's name to a scenario in one of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;

use super::error::WorldError;
use super::eyes::Eyes;
use super::session::Session;
use crate::config::HostPort;
use crate::render::plan::FramePlanner;
use crate::scene::shelf::Shelf;
use crate::scene::{LoadLimits, Scenario};

/// The session that plain paths mean.
pub const DEFAULT_SESSION: &str = "default";
/// Files read at once.
const LOADS: usize = 2;
/// How long a renderer gets to answer before a load that wants one is refused.
const RENDERER_TIME: Duration = Duration::from_secs(5);
/// How old the knowledge of a renderer may be before it is asked again.
const PROBE_AGE: Duration = Duration::from_secs(2);

/// Settings of the world.
pub struct WorldOptions {
    /// Where scenario files may be.
    pub shelf: Shelf,
    /// What a scenario may cost.
    pub limits: LoadLimits,
    /// Who draws.
    pub eyes: Eyes,
    /// Sessions open at once.
    pub max_sessions: usize,
}

/// A scenario to load.
#[derive(Debug, Clone)]
pub struct LoadOrder {
    /// The file, as the caller calls it.
    pub name: String,
    /// Where NuRec listens, if the caller says.
    pub nurec: Option<HostPort>,
    /// Whether the load fails when the renderer does not answer.
    pub wants_renderer: bool,
}

/// A renderer that was made ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Restarted {
    /// Name of the container, or of what stands for one.
    pub container_name: String,
    /// The scenario file, resolved.
    pub file: PathBuf,
    /// Whether it answers.
    pub ready: bool,
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSummary {
    /// Its name.
    pub name: String,
    /// What is loaded.
    pub sequence_id: Option<String>,
    /// Live viewers.
    pub viewers: usize,
    /// Whether its clock runs.
    pub is_playing: bool,
}

/// How the world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorldHealth {
    /// Whether something is loaded.
    pub scenario_loaded: bool,
    /// Whether the renderer answered when it was asked last.
    pub renderer_connected: bool,
    /// Who draws: `embedded`, `external` or `docker`.
    pub renderer: &'static str,
}

/// Sessions, files and eyes.
pub struct World {
    options: WorldOptions,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    loads: Semaphore,
    /// Scenarios in memory, so that sessions on one file share it.
    shared: Mutex<Vec<Shared>>,
    probe: Arc<Probe>,
}

struct Shared {
    file: PathBuf,
    modified: Option<SystemTime>,
    scenario: Weak<Scenario>,
}

/// What is known of a renderer's presence.
#[derive(Default)]
struct Probe {
    connected: AtomicBool,
    running: AtomicBool,
    asked: Mutex<Option<Instant>>,
}

impl World {
    /// A world with the default session. To be called within a runtime.
    ///
    /// # Errors
    /// When the eyes cannot be opened as configured.
    pub fn start(options: WorldOptions) -> Result<Arc<Self>, WorldError> {
        let planner = options.eyes.planner(None)?;
        let default = Arc::new(Session::new(DEFAULT_SESSION.to_owned(), planner));
        Ok(Arc::new(Self {
            options,
            sessions: Mutex::new(BTreeMap::from([(DEFAULT_SESSION.to_owned(), default)])),
            loads: Semaphore::new(LOADS),
            shared: Mutex::default(),
            probe: Arc::default(),
        }))
    }

    /// The session of that name.
    ///
    /// # Errors
    /// [`WorldError::NoSession`]
    pub fn session(&self, name: &str) -> Result<Arc<Session>, WorldError> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(name).cloned().ok_or_else(|| WorldError::NoSession(name.to_owned()))
    }

    /// Opens a session, under a name of its own when none is given.
    ///
    /// # Errors
    /// A name that cannot be or is taken, or too many sessions.
    pub fn create(&self, name: Option<String>) -> Result<Arc<Session>, WorldError> {
        let name = name.unwrap_or_else(|| uuid::Uuid::now_v7().simple().to_string());
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(letter) {
            return Err(WorldError::SessionName(name));
        }
        let planner = self.options.eyes.planner(None)?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.contains_key(&name) {
            return Err(WorldError::SessionExists(name));
        }
        if sessions.len() >= self.options.max_sessions {
            return Err(WorldError::TooManySessions(self.options.max_sessions));
        }
        let session = Arc::new(Session::new(name.clone(), planner));
        sessions.insert(name, Arc::clone(&session));
        Ok(session)
    }

    /// Closes a session. The default one is emptied and stays.
    ///
    /// # Errors
    /// [`WorldError::NoSession`]
    pub fn close(&self, name: &str) -> Result<(), WorldError> {
        let session = self.session(name)?;
        session.unload(self.options.eyes.planner(None)?);
        if name != DEFAULT_SESSION {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
        Ok(())
    }

    /// All sessions, by name.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionSummary> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let summary = |session: &Arc<Session>| {
            let view = session.view();
            SessionSummary {
                name: session.name().to_owned(),
                sequence_id: view.scenario.map(|scenario| scenario.sequence_id.clone()),
                viewers: session.viewers(),
                is_playing: view.state.is_some_and(|state| state.is_playing),
            }
        };
        sessions.values().map(summary).collect()
    }

    /// Scenario files that may be loaded; reads folders.
    pub async fn files(&self) -> Vec<PathBuf> {
        let shelf = self.options.shelf.clone();
        tokio::task::spawn_blocking(move || shelf.list()).await.unwrap_or_default()
    }

    /// Loads a scenario into a session. When that fails, the session stays as it was.
    ///
    /// # Errors
    /// A file that is not on the shelf or no scenario, or a renderer that does not answer.
    pub async fn load(&self, session: &Session, order: LoadOrder) -> Result<Arc<Scenario>, WorldError> {
        let file = self.find(order.name).await?;
        let planner = self.options.eyes.planner(order.nurec.as_ref())?;
        let scenario = self.scenario(file).await?;
        if order.wants_renderer {
            require(&planner).await?;
        }
        session.load(Arc::clone(&scenario), planner);
        Ok(scenario)
    }

    /// Gets the renderer ready for a scenario and empties the session.
    ///
    /// # Errors
    /// A file that is not on the shelf, or a container that does not start.
    pub async fn restart(&self, session: &Session, order: LoadOrder) -> Result<Restarted, WorldError> {
        let file = self.find(order.name).await?;
        let (container_name, ready) = self.options.eyes.restart(&file, order.nurec.as_ref()).await?;
        session.unload(self.options.eyes.planner(order.nurec.as_ref())?);
        Ok(Restarted { container_name, file, ready })
    }

    async fn find(&self, name: String) -> Result<PathBuf, WorldError> {
        let shelf = self.options.shelf.clone();
        let found = tokio::task::spawn_blocking(move || shelf.find(&name)).await;
        Ok(found.map_err(|_| WorldError::Ended)??)
    }

    /// The scenario in a file: shared while somebody holds it and the file is the same.
    async fn scenario(&self, file: PathBuf) -> Result<Arc<Scenario>, WorldError> {
        let _place = self.loads.acquire().await.map_err(|_| WorldError::Ended)?;
        let modified = std::fs::metadata(&file).and_then(|meta| meta.modified()).ok();
        if let Some(scenario) = self.shared(&file, modified) {
            return Ok(scenario);
        }
        let (limits, path) = (self.options.limits.clone(), file.clone());
        let opened = tokio::task::spawn_blocking(move || Scenario::open(&path, &limits)).await;
        let opened = opened.map_err(|error| WorldError::Unusable(format!("loading failed: {error}")))?;
        let scenario = Arc::new(opened.map_err(|error| WorldError::Unusable(error.to_string()))?);
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|known| known.scenario.strong_count() > 0 && known.file != file);
        shared.push(Shared { file, modified, scenario: Arc::downgrade(&scenario) });
        Ok(scenario)
    }

    fn shared(&self, file: &PathBuf, modified: Option<SystemTime>) -> Option<Arc<Scenario>> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shared.iter().find(|known| known.file == *file && known.modified == modified)?;
        known.scenario.upgrade()
    }

    /// How a session is, at once: a renderer is asked behind the answer, and its answer is the next one's.
    #[must_use]
    pub fn health(&self, session: &Session) -> WorldHealth {
        let view = session.view();
        self.probe.refresh(&view.planner);
        WorldHealth {
            scenario_loaded: view.scenario.is_some(),
            renderer_connected: self.probe.connected.load(Ordering::Relaxed),
            renderer: self.options.eyes.kind().name(),
        }
    }

    /// Asks the default session's renderer once, so that the first health answer knows.
    pub async fn look(&self) {
        if let Ok(session) = self.session(DEFAULT_SESSION) {
            self.probe.ask(&session.view().planner).await;
        }
    }
}

impl Probe {
    fn refresh(self: &Arc<Self>, planner: &FramePlanner) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = asked.is_some_and(|asked| asked.elapsed() < PROBE_AGE);
        if fresh || self.running.swap(true, Ordering::Relaxed) {
            return;
        }
        *asked = Some(Instant::now());
        let (probe, planner) = (Arc::clone(self), planner.clone());
        tokio::spawn(async move { probe.ask(&planner).await });
    }

    async fn ask(&self, planner: &FramePlanner) {
        let connected = planner.renderer().reachable().await;
        self.connected.store(connected, Ordering::Relaxed);
        self.running.store(false, Ordering::Relaxed);
    }
}

async fn require(planner: &FramePlanner) -> Result<(), WorldError> {
    let renderer = planner.renderer();
    let deadline = Instant::now() + RENDERER_TIME;
    while !renderer.reachable().await {
        if Instant::now() >= deadline {
            return Err(WorldError::RendererAway(format!(
                "{} does not answer; check that it runs, that nurec_host and nurec_port are right, and its log",
                renderer.place()
            )));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
