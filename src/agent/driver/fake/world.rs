//! The machine of the fake driver: what runs there outlives the agent, breaks when it is told to, and notes what an agent
//! must never do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::agent::audit::now_ms;
use crate::agent::driver::{Ability, Ground, Usage};
use crate::agent::id::InstanceId;
use crate::agent::record::Exit;

/// Bytes of a run's output that are handed out again to a console that is opened later.
const KEPT_BYTES: usize = 64 << 10;

/// What goes wrong in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverFault {
    /// An error, and nothing was done.
    Fail,
    /// An error, and it was done.
    FailAfter,
    /// No answer, and nothing was done.
    Hang,
    /// No answer, and it was done.
    HangAfter,
    /// A panic, and nothing was done.
    Panic,
    /// A panic, and it was done.
    PanicAfter,
    /// An answer, late.
    Slow(Duration),
}

/// How something that runs behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manners {
    /// It does not end when it is asked to.
    pub deaf: bool,
    /// It ends as soon as it has started, with this code.
    pub ends_with: Option<i32>,
}

type Weather = Box<dyn FnMut(&'static str) -> Option<DriverFault> + Send>;

#[derive(Debug, Default)]
pub(super) struct Thing {
    pub prepared: bool,
    pub run: Option<Run>,
}

#[derive(Debug)]
pub(super) struct Run {
    pub number: u64,
    /// Of the output, what is kept; `first` counts what is not.
    pub output: VecDeque<u8>,
    pub first: u64,
    pub ended: Option<Exit>,
    pub devices: Vec<String>,
}

impl Run {
    pub(super) fn end(&self) -> u64 {
        self.first + self.output.len() as u64
    }
}

#[derive(Default)]
pub(super) struct Inside {
    pub things: BTreeMap<InstanceId, Thing>,
    pub manners: BTreeMap<InstanceId, Manners>,
    pub usage: BTreeMap<InstanceId, Usage>,
    pub ability: Option<Ability>,
    faults: BTreeMap<&'static str, VecDeque<DriverFault>>,
    weather: Option<Weather>,
    runs: u64,
    starts: BTreeMap<InstanceId, u64>,
    violations: Vec<String>,
}

/// See the module. Clones are the same machine.
#[derive(Clone)]
pub struct World {
    inside: Arc<Mutex<Inside>>,
    changes: watch::Sender<u64>,
}

impl Default for World {
    fn default() -> Self {
        Self { inside: Arc::default(), changes: watch::Sender::new(0) }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("World").field("things", &self.inside().things).finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The next call of this name goes wrong; several wait for their turn.
    pub fn plan(&self, call: &'static str, fault: DriverFault) {
        self.inside().faults.entry(call).or_default().push_back(fault);
    }

    /// Asked at every call what goes wrong in it.
    pub fn weather(&self, weather: impl FnMut(&'static str) -> Option<DriverFault> + Send + 'static) {
        self.inside().weather = Some(Box::new(weather));
    }

    /// Nothing goes wrong any more.
    pub fn calm(&self) {
        let mut inside = self.inside();
        inside.weather = None;
        inside.faults.clear();
    }

    pub(super) fn fault(&self, call: &'static str) -> Option<DriverFault> {
        let mut inside = self.inside();
        if let Some(fault) = inside.faults.get_mut(call).and_then(VecDeque::pop_front) {
            return Some(fault);
        }
        inside.weather.as_mut().and_then(|weather| weather(call))
    }

    /// How an instance behaves from its next start on; being deaf begins now.
    pub fn manners(&self, id: &InstanceId, manners: Manners) {
        self.inside().manners.insert(id.clone(), manners);
    }

    /// What an instance has used.
    pub fn uses(&self, id: &InstanceId, usage: Usage) {
        self.inside().usage.insert(id.clone(), usage);
    }

    /// What a probe finds; usable until this is called.
    pub fn ability(&self, ability: Ability) {
        self.inside().ability = Some(ability);
    }

    /// What runs ends by itself. Whether something ran.
    pub fn exits(&self, id: &InstanceId, code: i32) -> bool {
        let exited =
            self.inside().exit(id, Exit { code, signal: None, oom: false, at_ms: now_ms(), unseen: false });
        self.changed();
        exited
    }

    /// What runs writes to its console. Whether something ran.
    pub fn says(&self, id: &InstanceId, bytes: &[u8]) -> bool {
        let said = self.inside().say(id, bytes);
        self.changed();
        said
    }

    /// Everything that runs ends as if the machine was switched off, and nobody knows how.
    pub fn power_cut(&self) {
        for thing in self.inside().things.values_mut() {
            thing.run = None;
        }
        self.changed();
    }

    /// What ran is gone, and nobody knows how it ended.
    pub fn forget_run(&self, id: &InstanceId) {
        if let Some(thing) = self.inside().things.get_mut(id) {
            thing.run = None;
        }
        self.changed();
    }

    /// What runs.
    #[must_use]
    pub fn alive(&self) -> BTreeSet<InstanceId> {
        let inside = self.inside();
        let alive = inside.things.iter().filter(|(_, thing)| thing.lives());
        alive.map(|(id, _)| id.clone()).collect()
    }

    /// What was made and not taken apart.
    #[must_use]
    pub fn made(&self) -> BTreeSet<InstanceId> {
        self.inside().things.keys().cloned().collect()
    }

    /// How often an instance was started.
    #[must_use]
    pub fn starts(&self, id: &InstanceId) -> u64 {
        self.inside().starts.get(id).copied().unwrap_or(0)
    }

    /// What an agent did that it must never do.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.inside().violations.clone()
    }
}

impl Thing {
    pub(super) fn lives(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.ended.is_none())
    }
}

impl Inside {
    pub(super) fn violated(&mut self, what: String) {
        self.violations.push(what);
    }

    pub(super) fn say(&mut self, id: &InstanceId, bytes: &[u8]) -> bool {
        let run = self.things.get_mut(id).and_then(|thing| thing.run.as_mut());
        let Some(run) = run.filter(|run| run.ended.is_none()) else { return false };
        run.output.extend(bytes);
        let over = run.output.len().saturating_sub(KEPT_BYTES);
        run.output.drain(..over);
        run.first += over as u64;
        true
    }

    pub(super) fn exit(&mut self, id: &InstanceId, exit: Exit) -> bool {
        let run = self.things.get_mut(id).and_then(|thing| thing.run.as_mut());
        let Some(run) = run.filter(|run| run.ended.is_none()) else { return false };
        run.ended = Some(exit);
        true
    }

    /// The number of the new run.
    pub(super) fn begin(&mut self, ground: &Ground) -> u64 {
        let id = &ground.id;
        let thing = self.things.get(id);
        if !thing.is_some_and(|thing| thing.prepared) {
            self.violated(format!("{id} was started without being prepared"));
        }
        if self.things.get(id).is_some_and(Thing::lives) {
            self.violated(format!("{id} was started while it ran"));
        }
        let held = self.things.iter().filter(|(other, thing)| *other != id && thing.lives());
        let held: Vec<String> =
            held.flat_map(|(_, thing)| thing.run.iter().flat_map(|run| run.devices.clone())).collect();
        if let Some(device) = ground.devices.iter().find(|device| held.contains(device)) {
            self.violated(format!("{id} was started with {device}, which another has"));
        }
        self.runs += 1;
        *self.starts.entry(id.clone()).or_default() += 1;
        let run = Run {
            number: self.runs,
            output: format!("{id} says hello, run {}\r\n", self.runs).into_bytes().into(),
            first: 0,
            ended: None,
            devices: ground.devices.clone(),
        };
        self.things.entry(id.clone()).or_default().run = Some(run);
        if let Some(code) = self.manners.get(id).and_then(|manners| manners.ends_with) {
            self.exit(id, Exit { code, signal: None, oom: false, at_ms: now_ms(), unseen: false });
        }
        self.runs
    }
}
