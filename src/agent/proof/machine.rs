//! Random requests, faults, hang-ups, crashes and power cuts against what must always hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::agent::driver::fake::DriverFault::{self, Fail, FailAfter, Hang, HangAfter, Panic, PanicAfter};

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Far from the end of a fuse.
const NO_FUSE: i64 = i64::MAX / 2;

/// What the trials did: a trial in which nothing is made proves nothing.
#[derive(Debug, Default)]
struct Tally {
    steps: AtomicUsize,
    made: AtomicUsize,
    started: AtomicUsize,
    stopped: AtomicUsize,
    deleted: AtomicUsize,
    /// Lives that ended while something ran.
    cut: AtomicUsize,
    /// Lives that ended in the middle of an operation.
    burnt: AtomicUsize,
}

fn one_more(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    Create,
    Start,
    Stop { force: bool },
    Restart { force: bool },
    Delete { force: bool },
}

#[derive(Debug, Clone)]
enum Step {
    /// Somebody asks, and perhaps hangs up after some milliseconds.
    Ask { who: usize, wish: Wish, patience_ms: Option<u64> },
    /// Two ask at once.
    Both { who: usize, wishes: [Wish; 2] },
    /// Something ends by itself.
    Exit { who: usize, code: i32 },
    /// So many calls of a hundred go wrong from now on.
    Weather { percent: u64, seed: u64 },
    /// The agent is cut off in the middle of an operation, when its journal has come so many steps farther.
    Fuse { steps: i64 },
    /// The agent is cut off.
    Crash,
    /// It ends in good order.
    Shutdown,
    /// So is everything that runs.
    PowerCut,
}

fn wishes() -> impl Strategy<Value = Wish> {
    prop_oneof![
        4 => Just(Wish::Create),
        3 => Just(Wish::Start),
        2 => any::<bool>().prop_map(|force| Wish::Stop { force }),
        1 => any::<bool>().prop_map(|force| Wish::Restart { force }),
        1 => any::<bool>().prop_map(|force| Wish::Delete { force }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let who = 0..NAMES.len();
    prop_oneof![
        12 => (who.clone(), wishes(), prop::option::weighted(0.3, 0..12_u64))
            .prop_map(|(who, wish, patience_ms)| Step::Ask { who, wish, patience_ms }),
        3 => (who.clone(), wishes(), wishes()).prop_map(|(who, one, two)| Step::Both { who, wishes: [one, two] }),
        4 => (who, 0..2).prop_map(|(who, code)| Step::Exit { who, code }),
        2 => (0..40_u64, any::<u64>()).prop_map(|(percent, seed)| Step::Weather { percent, seed }),
        2 => (0..12_i64).prop_map(|steps| Step::Fuse { steps }),
        1 => Just(Step::Crash),
        1 => Just(Step::Shutdown),
        1 => Just(Step::PowerCut),
    ]
}

/// What was answered, and must stay so until somebody asks for something else.
#[derive(Debug, Default)]
struct Promises {
    /// How often it had been started when its stop was answered.
    stopped: BTreeMap<usize, u64>,
    /// Its creation was answered.
    there: BTreeMap<usize, bool>,
}

async fn ask(agent: &Agent, who: usize, wish: Wish) -> Result<Record, AgentError> {
    let name = NAMES[who];
    match wish {
        Wish::Create => {
            let policy = ["always", "on-failure:3", "never"][who];
            let mut request = with(name, &[("restart", policy), ("gpu-count", "1")]);
            request.annotations.insert("hypervisor.io/autostart".to_owned(), (who == 0).to_string());
            agent.create(request, "me").await
        }
        Wish::Start => agent.start(name, "me").await,
        Wish::Stop { force } => agent.stop(name, force, 0, "me").await,
        Wish::Restart { force } => agent.restart(name, force, "me").await,
        Wish::Delete { force } => agent.delete(name, force, "me").await,
    }
}

impl Promises {
    fn asked(&mut self, who: usize, wish: Wish) {
        match wish {
            Wish::Start | Wish::Restart { .. } | Wish::Create => {
                self.stopped.remove(&who);
            }
            Wish::Delete { .. } => {
                self.stopped.remove(&who);
                self.there.remove(&who);
            }
            Wish::Stop { .. } => {}
        }
    }

    fn answered(&mut self, world: &World, who: usize, wish: Wish, answer: &Result<Record, AgentError>) {
        match (wish, answer) {
            (Wish::Stop { .. }, Ok(_)) => {
                self.stopped.insert(who, world.starts(&id(NAMES[who])));
            }
            (Wish::Create, Ok(_)) => {
                self.there.insert(who, true);
            }
            _ => {}
        }
    }

    fn check(&self, house: &House, agent: &Agent) {
        assert_eq!(house.world.violations(), Vec::<String>::new());
        for (who, starts) in &self.stopped {
            assert_eq!(
                house.world.starts(&id(NAMES[*who])),
                *starts,
                "{} was stopped, and revived",
                NAMES[*who]
            );
        }
        for who in self.there.keys() {
            assert!(agent.get(NAMES[*who]).is_ok(), "{} was created, and is lost", NAMES[*who]);
        }
        let mut held: Vec<String> = agent.list().into_iter().flat_map(|record| record.devices).collect();
        let count = held.len();
        held.sort();
        held.dedup();
        assert_eq!(held.len(), count, "a card has two holders");
        let before = house.world.alive();
        let written = |id: &InstanceId| {
            house.folder.path().join("instances").join(id.as_str()).join("record.json").exists()
        };
        let unwritten: Vec<_> = before.iter().filter(|id| !written(id)).collect();
        let after = house.world.alive();
        assert!(!unwritten.iter().any(|id| after.contains(*id)), "{unwritten:?} run without a record");
    }
}

fn weather(world: &World, percent: u64, mut seed: u64) {
    world.weather(move |_| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let kinds: [DriverFault; 7] = [
            Fail,
            FailAfter,
            Hang,
            HangAfter,
            Panic,
            PanicAfter,
            DriverFault::Slow(Duration::from_millis(5)),
        ];
        (seed % 100 < percent).then(|| kinds[(seed >> 32) as usize % kinds.len()])
    });
}

async fn live(
    house: &House,
    agent: &Agent,
    promises: &mut Promises,
    steps: &mut impl Iterator<Item = Step>,
    (fuse, tally): (&AtomicI64, &Tally),
) -> bool {
    for step in steps.by_ref() {
        one_more(&tally.steps);
        match step {
            Step::Ask { who, wish, patience_ms } => {
                promises.asked(who, wish);
                let asked = ask(agent, who, wish);
                let answer = match patience_ms {
                    None => Ok(asked.await),
                    Some(ms) => tokio::time::timeout(Duration::from_millis(ms), asked).await,
                };
                if let Ok(answer) = answer {
                    tally.count(wish, &answer);
                    promises.answered(&house.world, who, wish, &answer);
                }
            }
            Step::Both { who, wishes: [one, two] } => {
                promises.asked(who, one);
                promises.asked(who, two);
                drop(tokio::join!(ask(agent, who, one), ask(agent, who, two)));
                promises.stopped.remove(&who);
            }
            Step::Exit { who, code } => {
                house.world.exits(&id(NAMES[who]), code);
            }
            Step::Weather { percent, seed } => weather(&house.world, percent, seed | 1),
            Step::Fuse { steps } => fuse.store(steps, Ordering::SeqCst),
            Step::Crash => return true,
            Step::Shutdown => {
                agent.shutdown().await;
                return true;
            }
            Step::PowerCut => {
                house.world.power_cut();
                return true;
            }
        }
        if fuse.load(Ordering::SeqCst) < 0 {
            one_more(&tally.burnt);
            return true;
        }
        promises.check(house, agent);
    }
    false
}

impl Tally {
    fn count(&self, wish: Wish, answer: &Result<Record, AgentError>) {
        match (wish, answer) {
            (Wish::Create, Ok(_)) => one_more(&self.made),
            (Wish::Start | Wish::Restart { .. }, Ok(_)) => one_more(&self.started),
            (Wish::Stop { .. }, Ok(_)) => one_more(&self.stopped),
            (Wish::Delete { .. }, Ok(_)) => one_more(&self.deleted),
            (_, Err(_)) => {}
        }
    }
}

fn trial(steps: Vec<Step>, tally: &Tally) {
    let mut house = House::new();
    let fuse = Arc::new(AtomicI64::new(NO_FUSE));
    let burning = fuse.clone();
    house.crash = Some(Arc::new(move |step| {
        let left = burning.fetch_sub(1, Ordering::SeqCst);
        assert!(left > 0, "cut off at {step}");
    }));
    let ms = Duration::from_millis;
    let limit = ms(25);
    house.patience = Patience {
        probe: limit,
        probe_again: limit,
        sweep: limit,
        prepare: limit,
        start: limit,
        ask: limit,
        kill: limit,
        recover: limit,
        settle: limit,
        destroy: limit,
        usage: limit,
        last_words: ms(10),
        first_delay: ms(5),
        longest_delay: ms(20),
        calm_run: ms(1000),
    };
    house.settings.limits.stop_s = 0.03;
    let cdi = house.folder.path().join("cdi");
    std::fs::create_dir(&cdi).unwrap();
    let cards =
        r#"{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [{"name": "0"}, {"name": "1"}]}"#;
    std::fs::write(cdi.join("gpu.json"), cards).unwrap();
    house.settings.cdi.folders = vec![cdi];
    let mut promises = Promises::default();
    let mut steps = steps.into_iter();
    let mut goes_on = true;
    while goes_on {
        fuse.store(NO_FUSE, Ordering::SeqCst);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        goes_on = runtime.block_on(async {
            let agent = house.open().await;
            promises.check(&house, &agent);
            live(&house, &agent, &mut promises, &mut steps, (&fuse, tally)).await
        });
        drop(runtime);
        if !house.world.alive().is_empty() {
            one_more(&tally.cut);
        }
    }
    fuse.store(NO_FUSE, Ordering::SeqCst);
    house.world.calm();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let agent = house.open().await;
        promises.check(&house, &agent);
        for _ in 0..500 {
            for name in NAMES {
                agent.delete(name, true, "me").await.ok();
            }
            if agent.list().is_empty() {
                break;
            }
            tokio::time::sleep(ms(10)).await;
        }
        assert!(agent.list().is_empty(), "deletes converge: {:?}", agent.list());
        assert_eq!((house.folders(), house.world.made().len()), ((0, 0), 0), "nothing is left");
        assert_eq!(agent.allocated(), v1::Resources::default());
        assert_eq!(house.world.violations(), Vec::<String>::new());
    });
}

#[test]
fn what_is_promised_holds_through_faults_hang_ups_and_crashes() {
    let trials = std::env::var("NEURO_AGENT_TRIALS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let config = ProptestConfig { cases: trials, max_shrink_iters: 60, ..ProptestConfig::default() };
    let tally = Tally::default();
    let tried = TestRunner::new(ProptestConfig { source_file: Some(file!()), ..config }).run(
        &prop::collection::vec(steps(), 20..120),
        |steps| {
            trial(steps, &tally);
            Ok(())
        },
    );
    tried.unwrap_or_else(|error| panic!("{error}"));
    println!("{tally:?}");
    let Tally { made, started, stopped, deleted, cut, burnt, .. } = &tally;
    for (what, count) in [
        ("made", made),
        ("started", started),
        ("stopped", stopped),
        ("deleted", deleted),
        ("cut", cut),
        ("burnt", burnt),
    ] {
        let count = count.load(Ordering::Relaxed);
        assert!(count * 8 >= trials as usize, "{count} {what} in {trials} trials");
    }
}
