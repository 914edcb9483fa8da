//! Which instances there are, and what they hold together: one lock, so that two that come at once cannot both have the
//! last of something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::actor::Message;
use super::audit::now_ms;
use super::capacity::{self, Amount};
use super::console::Hub;
use super::error::AgentError;
use super::face::Face;
use super::gpu::{Devices, Inventory};
use super::id::InstanceId;
use super::record::{Record, State, Wanted};
use super::settings::AgentSettings;
use super::spec::Spec;
use super::store::{Store, VERSION};

/// Requests that wait for an actor.
const INBOX: usize = 64;

/// An instance: what is seen of it, and where its actor is asked.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub face: Arc<Face>,
    pub inbox: mpsc::Sender<Message>,
}

/// What became of a wish for an instance.
pub(super) enum Admitted {
    /// It is there, and was asked for in the same words.
    Known,
    /// It is new, and its actor is to be started.
    Fresh(Entry, mpsc::Receiver<Message>),
}

#[derive(Debug, Default)]
struct Books {
    entries: BTreeMap<InstanceId, Entry>,
    damaged: BTreeMap<InstanceId, String>,
    devices: Devices,
    inventory: Inventory,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Registry {
    books: Mutex<Books>,
    machine: Amount,
}

impl Registry {
    pub(super) fn new(machine: Amount, damaged: Vec<(InstanceId, String)>, inventory: Inventory) -> Self {
        let damaged = damaged.into_iter().collect();
        Self { books: Mutex::new(Books { damaged, inventory, ..Books::default() }), machine }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for an instance, or finds that it is there.
    pub(super) fn admit(
        &self,
        id: &InstanceId,
        spec: Spec,
        settings: &AgentSettings,
        store: &Store,
        draining: bool,
    ) -> Result<Admitted, AgentError> {
        let mut books = self.books();
        if let Some(entry) = books.entries.get(id) {
            if entry.face.spec.request == spec.request {
                return Ok(Admitted::Known);
            }
            return Err(other_spec(id));
        }
        if let Some(reason) = books.damaged.get(id) {
            let text = format!("instance {id} is there and its record cannot be read: {reason}");
            return Err(AgentError::AlreadyExists(text));
        }
        if draining {
            return Err(AgentError::Unavailable(
                "the node is draining: it takes no new instances".to_owned(),
            ));
        }
        if books.entries.len() >= settings.limits.instances as usize {
            let most = settings.limits.instances;
            return Err(AgentError::Exhausted(format!("the node has {most} instances, the most it takes")));
        }
        let given = books.entries.values().map(|entry| Amount::of(&entry.face.spec));
        let given = given.fold(Amount::default(), Amount::plus);
        capacity::admit(self.machine, given, Amount::of(&spec), &settings.limits)?;
        let Books { devices, inventory, .. } = &mut *books;
        let devices = devices.take(id, &spec.options, inventory, &settings.cdi)?;
        let record = fresh(id.clone(), spec, devices);
        let (entry, inbox) = self.entry(record, settings, store);
        books.entries.insert(id.clone(), entry.clone());
        Ok(Admitted::Fresh(entry, inbox))
    }

    /// An instance of an earlier life.
    pub(super) fn restore(
        &self,
        record: Record,
        settings: &AgentSettings,
        store: &Store,
    ) -> (Entry, mpsc::Receiver<Message>) {
        let id = record.id.clone();
        let mut books = self.books();
        let Books { devices, inventory, .. } = &mut *books;
        devices.restore(&id, &record.devices, inventory, &settings.cdi);
        let (entry, inbox) = self.entry(record, settings, store);
        books.entries.insert(id, entry.clone());
        (entry, inbox)
    }

    fn entry(
        &self,
        record: Record,
        settings: &AgentSettings,
        store: &Store,
    ) -> (Entry, mpsc::Receiver<Message>) {
        let folder = store.folder(&record.id).join("console");
        let hub = Arc::new(Hub::new(folder, &settings.limits));
        let spec = Arc::new(record.spec.clone());
        let (inbox, messages) = mpsc::channel(INBOX);
        (Entry { face: Arc::new(Face::new(record, spec, hub)), inbox }, messages)
    }

    /// It is gone, and holds nothing any more.
    pub(super) fn forget(&self, id: &InstanceId) {
        let mut books = self.books();
        books.devices.release(id);
        books.entries.remove(id);
    }

    pub(super) fn get(&self, id: &InstanceId) -> Option<Entry> {
        self.books().entries.get(id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Entry> {
        self.books().entries.values().cloned().collect()
    }

    /// Every id that means something here, also those whose record cannot be read.
    pub(super) fn known(&self) -> BTreeSet<InstanceId> {
        let books = self.books();
        books.entries.keys().chain(books.damaged.keys()).cloned().collect()
    }

    pub(super) fn machine(&self) -> Amount {
        self.machine
    }

    pub(super) fn see(&self, inventory: Inventory) {
        self.books().inventory = inventory;
    }

    /// Cards of a kind: all, and those that are held.
    pub(super) fn cards(&self, kind: &str) -> (usize, usize) {
        let books = self.books();
        (super::gpu::count(&books.inventory, kind), books.devices.held(&books.inventory, kind))
    }
}

/// The id stands for something else.
pub(super) fn other_spec(id: &InstanceId) -> AgentError {
    AgentError::AlreadyExists(format!("instance {id} is there and was asked for with another spec"))
}

fn fresh(id: InstanceId, spec: Spec, devices: Vec<String>) -> Record {
    let now = now_ms();
    Record {
        version: VERSION,
        id,
        state: State::Pending,
        wanted: if spec.options.autostart { Wanted::Running } else { Wanted::Stopped },
        spec,
        operation: None,
        reason: String::new(),
        driver: String::new(),
        handle: None,
        exit: None,
        restarts: 0,
        failures: 0,
        ready: false,
        devices,
        ip: String::new(),
        created_ms: now,
        updated_ms: now,
        started_ms: 0,
        ended_ms: 0,
    }
}
