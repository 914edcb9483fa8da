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
use super::options::Options;
use super::record::{Record, State, Wanted};
use super::settings::AgentSettings;
use super::spec::{Kind, Limits, Spec};
use super::store::{Store, VERSION};

/// Requests that wait for an actor.
const INBOX: usize = 64;
/// Most bytes of a list of all instances: a client takes 4 MiB unless it is told otherwise, and what is said of failures may
/// be longer than [`SAID_BYTES`].
const MOST_LISTED_BYTES: usize = (7 << 20) / 2;
/// What a list says of an instance beside the request: its state, its times, its address, a sentence. With requests of 1 KiB
/// that is room for 1792 instances; a node takes 1000 unless it is told otherwise.
const SAID_BYTES: usize = 1 << 10;

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
    /// Instances that nobody keeps, and why: as much of their records as is known.
    unkept: BTreeMap<InstanceId, Record>,
    /// Those of them that are being taken apart.
    claimed: BTreeSet<InstanceId>,
    devices: Devices,
    inventory: Inventory,
}

impl Books {
    fn specs(&self) -> impl Iterator<Item = &Spec> {
        let kept = self.entries.values().map(|entry| &*entry.face.spec);
        kept.chain(self.unkept.values().map(|record| &record.spec))
    }

    fn given(&self) -> Amount {
        self.specs().map(Amount::of).fold(Amount::default(), Amount::plus)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Registry {
    books: Mutex<Books>,
    machine: Amount,
}

impl Registry {
    pub(super) fn new(machine: Amount, damaged: Vec<(InstanceId, String)>, inventory: Inventory) -> Self {
        let unkept = damaged.into_iter().map(|(id, reason)| (id.clone(), unreadable(id, &reason))).collect();
        Self { books: Mutex::new(Books { unkept, inventory, ..Books::default() }), machine }
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
        if let Some(record) = books.unkept.get(id) {
            let text = format!("instance {id} is there: {}", record.reason);
            return Err(AgentError::AlreadyExists(text));
        }
        if draining {
            return Err(draining_refusal("it takes no new instances"));
        }
        if books.entries.len() + books.unkept.len() >= settings.limits.instances as usize {
            let most = settings.limits.instances;
            return Err(AgentError::Exhausted(format!("the node has {most} instances, the most it takes")));
        }
        listed(books.specs().map(|spec| spec.request.len()), spec.request.len())?;
        capacity::admit(self.machine, books.given(), Amount::of(&spec), &settings.limits)?;
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
        books.entries.keys().chain(books.unkept.keys()).cloned().collect()
    }

    /// What instances were given together.
    pub(super) fn given(&self) -> Amount {
        self.books().given()
    }

    /// Its keeper broke. It holds what it held, and can only be deleted until the agent begins anew.
    pub(super) fn lose(&self, face: &Arc<Face>, reason: String) {
        let mut books = self.books();
        let record = Record { state: State::Failed, reason, ..Record::clone(&face.record()) };
        if books.entries.get(&record.id).is_some_and(|entry| Arc::ptr_eq(&entry.face, face)) {
            books.entries.remove(&record.id);
            books.unkept.insert(record.id.clone(), record);
        }
    }

    /// One that nobody keeps.
    pub(super) fn unkept(&self, id: &InstanceId) -> Option<Record> {
        self.books().unkept.get(id).cloned()
    }

    /// How all instances stand, in the order of their ids.
    pub(super) fn records(&self) -> Vec<Record> {
        let books = self.books();
        let kept = books.entries.values().map(|entry| Record::clone(&entry.face.record()));
        let mut records: Vec<Record> = kept.chain(books.unkept.values().cloned()).collect();
        records.sort_by(|one, two| one.id.cmp(&two.id));
        records
    }

    /// One that nobody keeps is to be taken apart, by one at a time.
    pub(super) fn claim(&self, id: &InstanceId) -> Result<Record, AgentError> {
        let mut books = self.books();
        let Some(record) = books.unkept.get(id).cloned() else {
            return Err(AgentError::not_found("instance", id));
        };
        if !books.claimed.insert(id.clone()) {
            return Err(AgentError::Unavailable(format!("instance {id} is being taken apart")));
        }
        Ok(record)
    }

    /// Whether it is gone now.
    pub(super) fn unclaim(&self, id: &InstanceId, gone: bool) {
        let mut books = self.books();
        books.claimed.remove(id);
        if gone {
            books.unkept.remove(id);
            books.devices.release(id);
        }
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

/// Refuses what would make the list of all instances longer than clients take.
fn listed(there: impl Iterator<Item = usize>, asked: usize) -> Result<(), AgentError> {
    let there: usize = there.map(|bytes| bytes.saturating_add(SAID_BYTES)).sum();
    let needed = asked.saturating_add(SAID_BYTES);
    let free = MOST_LISTED_BYTES.saturating_sub(there);
    if needed <= free {
        return Ok(());
    }
    Err(AgentError::Exhausted(format!(
        "the request takes {needed} bytes in a list of all instances; {free} of {MOST_LISTED_BYTES} are free, the most that \
         clients take at once"
    )))
}

/// The node starts nothing new, and how that ends.
pub(super) fn draining_refusal(what: &str) -> AgentError {
    AgentError::Unavailable(format!(
        "the node is draining: {what}. The cluster's drain command with undo=true ends that; so does removing the file \
         `draining` from the agent's data folder and restarting the agent"
    ))
}

/// The id stands for something else.
pub(super) fn other_spec(id: &InstanceId) -> AgentError {
    AgentError::AlreadyExists(format!("instance {id} is there and was asked for with another spec"))
}

/// All that can be said of an instance whose record is lost.
fn unreadable(id: InstanceId, reason: &str) -> Record {
    let spec = Spec {
        request: Vec::new(),
        name: id.to_string(),
        kind: Kind::Container,
        image: String::new(),
        cpu_cores: 0,
        memory_bytes: 0,
        disks: Vec::new(),
        kernel: None,
        initrd: None,
        kernel_args: String::new(),
        command: Vec::new(),
        args: Vec::new(),
        env: BTreeMap::new(),
        mounts: Vec::new(),
        limits: Limits::default(),
        labels: BTreeMap::new(),
        options: Options::default(),
    };
    let reason = format!("its record cannot be read: {reason}");
    Record { state: State::Failed, reason, created_ms: 0, updated_ms: 0, ..fresh(id, spec, Vec::new()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_usual_instances_fit_in_a_list_as_a_node_takes() {
        let most = AgentSettings::default().limits.instances as usize;
        assert!(listed(std::iter::repeat_n(1 << 10, most - 1), 1 << 10).is_ok());
        assert!(matches!(
            listed(std::iter::repeat_n(1 << 10, 2 * most), 1 << 10),
            Err(AgentError::Exhausted(_))
        ));
    }
}
