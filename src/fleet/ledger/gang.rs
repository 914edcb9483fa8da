//! Which instances make up a gang: labels, GPUs, memory, and slots of GPUs that several instances share.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::LedgerOptions;
use super::member::Missing;
use super::tables::{Tables, gpu_names};
use crate::fleet::ids::InstanceId;
use crate::fleet::rows::{Condition, InstanceRow, Role, SessionRow};
use crate::fleet::spec::{Requirements, SessionSpec};
use crate::proto::neuro::orchestrator::grpc_training_config::Algorithm;

/// Label of a trainer that names what it can train, separated by commas. One without it trains anything.
const ALGORITHMS: &str = "algorithms";

/// Trainers that are tried with the simulators beside them, where both want the same GPUs.
const TRAINERS_TRIED: usize = 16;

/// What a session still needs, and of what sort.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub missing: Missing,
    pub requires: Requirements,
    /// What its trainer must be able to train.
    pub algorithm: String,
    pub training_gpus: u32,
    pub training_memory_mb: u64,
    /// Most GPUs that its owner's quota leaves for its trainer.
    pub most_gpus: Option<u32>,
}

/// Instances for places of a gang, all or some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pick {
    pub trainer: Option<InstanceId>,
    /// By environment.
    pub simulators: Vec<(u32, InstanceId)>,
}

impl Pick {
    pub(super) fn completes(&self, wanted: &Wanted) -> bool {
        self.trainer.is_some() == wanted.missing.trainer
            && self.simulators.len() == wanted.missing.environments.len()
    }

    pub(super) fn instances(&self) -> impl Iterator<Item = InstanceId> {
        self.simulators.iter().map(|(_, id)| *id).chain(self.trainer)
    }
}

/// Whether an instance carries what is asked for. A label may hold several values, separated by commas.
pub(super) fn carries(row: &InstanceRow, requires: &Requirements) -> bool {
    requires.iter().all(|(key, wanted)| {
        row.labels.get(key).is_some_and(|has| wanted.is_empty() || has == wanted || lists(has, wanted))
    })
}

fn lists(values: &str, wanted: &str) -> bool {
    values.split(',').any(|value| value.trim().eq_ignore_ascii_case(wanted))
}

impl Wanted {
    pub(super) fn of(session: &SessionRow, missing: Missing, most_gpus: Option<u32>) -> Self {
        let mut algorithm = String::new();
        if missing.trainer
            && let Ok(spec) = SessionSpec::decode(session.spec.as_slice())
            && let Some(training) = spec.training
            && let Ok(known) = Algorithm::try_from(training.algorithm)
        {
            algorithm = known.as_str_name().to_owned();
        }
        Self {
            missing,
            requires: session.requires.clone(),
            algorithm,
            training_gpus: session.gang.training_gpus,
            training_memory_mb: session.gang.training_memory_mb,
            most_gpus,
        }
    }

    /// Whether an instance could serve, were it free.
    pub(super) fn suits(&self, row: &InstanceRow) -> bool {
        match row.role {
            Role::Simulator => carries(row, &self.requires),
            Role::Trainer => {
                let gpus = row.gpus.len() as u32;
                let trains = row.labels.get(ALGORITHMS).is_none_or(|list| lists(list, &self.algorithm));
                gpus >= self.training_gpus
                    && self.most_gpus.is_none_or(|most| gpus <= most)
                    && row.memory_mb >= self.training_memory_mb
                    && (trains || self.algorithm.is_empty())
            }
        }
    }

    /// `a trainer with 2 GPUs and 16384 MiB for SAC`.
    pub(super) fn trainer_text(&self) -> String {
        let mut text = "a trainer".to_owned();
        let mut join = " with";
        if self.training_gpus > 0 {
            text += &format!("{join} {} GPUs", self.training_gpus);
            join = " and";
        }
        if self.training_memory_mb > 0 {
            text += &format!("{join} {} MiB", self.training_memory_mb);
        }
        if !self.algorithm.is_empty() {
            text += &format!(" for {}", self.algorithm);
        }
        text
    }

    /// `2 simulators with rt_cores=yes`.
    pub(super) fn simulators_text(&self, count: usize) -> String {
        let mut text = if count == 1 { "1 simulator".to_owned() } else { format!("{count} simulators") };
        for (place, (key, value)) in self.requires.iter().enumerate() {
            text += if place == 0 { " with " } else { ", " };
            text += key;
            if !value.is_empty() {
                text = text + "=" + value;
            }
        }
        text
    }
}

/// Which instances are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supply {
    /// What can be given away now.
    Free,
    /// Everything that is there, as if nobody held any of it.
    Whole,
}

/// Instances on GPUs: those in use, and on top of them those that were picked or are kept for somebody.
#[derive(Clone)]
struct Load<'a> {
    tables: &'a Tables,
    supply: Supply,
    /// How many, and the fewest slots that any of them bears.
    extra: BTreeMap<String, (u32, u32)>,
}

impl Load<'_> {
    fn fits(&self, row: &InstanceRow) -> bool {
        let slots = self.tables.slots(&row.pool);
        gpu_names(row).all(|gpu| {
            let (mut users, mut bears) = self.extra.get(&gpu).copied().unwrap_or((0, slots));
            bears = bears.min(slots);
            if self.supply == Supply::Free {
                for user in self.tables.gpus.get(&gpu).into_iter().flatten() {
                    users += 1;
                    let pool = self.tables.instances.get(user).map_or("", |row| row.pool.as_str());
                    bears = bears.min(self.tables.slots(pool));
                }
            }
            users < bears
        })
    }

    fn add(&mut self, row: &InstanceRow) {
        let slots = self.tables.slots(&row.pool);
        for gpu in gpu_names(row) {
            let (users, bears) = self.extra.entry(gpu).or_insert((0, slots));
            *users += 1;
            *bears = slots.min(*bears);
        }
    }
}

impl Tables {
    /// Settings that the rules need beside the rows.
    pub(super) fn set_options(&mut self, options: &LedgerOptions) {
        self.default_quota = options.default_quota.clone();
        self.slots_per_gpu = options.slots_per_gpu.clone();
    }

    /// How many instances of a pool may use one GPU at once.
    pub(super) fn slots(&self, pool: &str) -> u32 {
        self.slots_per_gpu.get(pool).copied().unwrap_or(1).max(1)
    }

    /// Instances for what is wanted, as many as there are; none of `kept`.
    pub(super) fn pick(&self, wanted: &Wanted, supply: Supply, kept: &BTreeSet<InstanceId>) -> Pick {
        let mut load = Load { tables: self, supply, extra: BTreeMap::new() };
        for row in kept.iter().filter_map(|id| self.instances.get(id)) {
            load.add(row);
        }
        if !wanted.missing.trainer {
            return Pick { trainer: None, simulators: self.pick_simulators(wanted, kept, load) };
        }
        let mut best: Option<Pick> = None;
        let trainers =
            self.supply(supply, Role::Trainer, kept).filter(|row| wanted.suits(row) && load.fits(row));
        for trainer in trainers.take(TRAINERS_TRIED) {
            let mut load = load.clone();
            load.add(trainer);
            let simulators = self.pick_simulators(wanted, kept, load);
            let pick = Pick { trainer: Some(trainer.id), simulators };
            // A trainer without a GPU takes nothing from the simulators: another would not do better.
            if pick.completes(wanted) || trainer.gpus.is_empty() {
                return pick;
            }
            if best.as_ref().is_none_or(|best| pick.simulators.len() > best.simulators.len()) {
                best = Some(pick);
            }
        }
        best.unwrap_or_else(|| Pick {
            trainer: None,
            simulators: self.pick_simulators(wanted, kept, load.clone()),
        })
    }

    fn pick_simulators(
        &self,
        wanted: &Wanted,
        kept: &BTreeSet<InstanceId>,
        mut load: Load<'_>,
    ) -> Vec<(u32, InstanceId)> {
        let mut environments = wanted.missing.environments.iter();
        let mut picked = Vec::with_capacity(environments.len());
        for row in self.supply(load.supply, Role::Simulator, kept) {
            if picked.len() == wanted.missing.environments.len() {
                break;
            }
            if wanted.suits(row) && load.fits(row) {
                load.add(row);
                picked.extend(environments.next().map(|index| (*index, row.id)));
            }
        }
        picked
    }

    fn supply<'a>(
        &'a self,
        supply: Supply,
        role: Role,
        kept: &'a BTreeSet<InstanceId>,
    ) -> Box<dyn Iterator<Item = &'a InstanceRow> + 'a> {
        match supply {
            Supply::Free => {
                let idle = self.idle.get(&role).into_iter().flatten().map(|(_, _, id)| id);
                Box::new(idle.filter(move |id| !kept.contains(id)).filter_map(|id| self.instances.get(id)))
            }
            Supply::Whole => {
                let there =
                    |row: &&InstanceRow| row.condition != Condition::Lost && row.drain_until_ms.is_none();
                let all = self.instances.values().filter(there);
                Box::new(all.filter(move |row| row.role == role && !kept.contains(&row.id)))
            }
        }
    }

    /// What a session would get if nobody else were there.
    pub(super) fn best_case(&self, row: &SessionRow, wanted: &Wanted) -> Pick {
        let own = self.held.get(&row.id);
        self.pick(wanted, Supply::Whole, own.unwrap_or(&BTreeSet::new()))
    }

    /// Idle instances of a role: present, nobody's, not draining.
    #[must_use]
    pub fn idle(&self, role: Role) -> usize {
        self.idle.get(&role).map_or(0, BTreeSet::len)
    }
}
