//! Whole runs on real sockets: learning, going on, and everything that happens to simulators meanwhile.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Checkpoint, Hyper, News, Plan, Run, TrainerError, start};
use crate::instance::contract::Step;
use crate::instance::demonstration::Line;
use crate::instance::step::cart::{Cart, Knobs, serve};
use crate::instance::step::{
    ActionSpace, Answer, Begun, Handler, Info, Request, Spec, StepClient, StepServer, Stepped,
};
use crate::proto::neuro::ext;

const LIMIT: Duration = Duration::from_secs(120);

struct Carts {
    servers: Vec<StepServer>,
    knobs: Vec<Arc<Knobs>>,
}

async fn carts(count: u64) -> Carts {
    let (mut servers, mut knobs) = (Vec::new(), Vec::new());
    for seed in 0..count {
        let (server, knob) = serve(seed * 77 + 5).await;
        servers.push(server);
        knobs.push(knob);
    }
    Carts { servers, knobs }
}

impl Carts {
    fn plan(&self, given: &[(&str, &str)]) -> Plan {
        let usual = [("step_timeout_ms", "300")];
        let hyper = Hyper::read(usual.iter().chain(given).copied()).unwrap();
        Plan {
            hyper,
            total_episodes: 0,
            endpoints: self.servers.iter().map(|server| server.endpoint().to_owned()).collect(),
            resume: None,
            checkpoints: None,
            demonstrations: Vec::new(),
        }
    }
}

async fn progress(news: &mut mpsc::Receiver<News>) -> ext::Progress {
    match timeout(LIMIT, news.recv()).await.unwrap().unwrap() {
        News::Progress(progress) => progress,
        News::End(end) => panic!("it ended: {end:?}"),
    }
}

async fn end(news: &mut mpsc::Receiver<News>) -> ext::TrainingEnd {
    timeout(LIMIT, async {
        loop {
            if let News::End(end) = news.recv().await.unwrap() {
                return end;
            }
        }
    })
    .await
    .unwrap()
}

/// The next progress that `wanted` likes.
async fn until(
    news: &mut mpsc::Receiver<News>,
    wanted: impl Fn(&HashMap<String, f64>) -> bool,
) -> ext::Progress {
    loop {
        let progress = progress(news).await;
        if wanted(&progress.metrics) {
            return progress;
        }
    }
}

fn begin(plan: Plan) -> (Run, mpsc::Receiver<News>) {
    start(plan).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_learns_to_balance_a_pole() {
    let carts = carts(4).await;
    let folder = tempfile::tempdir().unwrap();
    let mut plan = carts.plan(&[("total_steps", "150000"), ("target_reward", "450")]);
    plan.checkpoints = Some(folder.path().to_owned());
    let (_run, mut news) = begin(plan);
    let end = end(&mut news).await;
    assert!(end.success && end.final_reward >= 450.0, "{end:?}");
    assert!(end.success_rate > 0.1 && end.metrics["steps"] < 150_000.0, "{end:?}");
    let model = Checkpoint::find(&super::local_path(&end.model_uri).unwrap()).unwrap().unwrap();
    assert_eq!(model.environment, "cart");
    assert!(end.checkpoint_uri.starts_with("file://"));
}

#[tokio::test]
async fn a_run_goes_on_where_its_checkpoint_was_written() {
    let carts = carts(2).await;
    let folder = tempfile::tempdir().unwrap();
    let mut plan = carts.plan(&[("total_steps", "3000"), ("horizon", "64"), ("checkpoint_every", "3")]);
    plan.checkpoints = Some(folder.path().to_owned());
    let (run, mut news) = begin(plan);
    until(&mut news, |metrics| metrics["update"] >= 4.0).await;
    let kept = run.stop(true).await.unwrap().unwrap();
    let before = Checkpoint::find(folder.path()).unwrap().unwrap();
    assert_eq!(kept.path.parent(), Some(folder.path()));
    assert!(before.adam.steps >= 64 && before.counters.updates >= 4, "{:?}", before.counters);
    assert!(matches!(run.pause(true).await, Err(TrainerError::Over)));

    let mut plan = carts.plan(&[("total_steps", "3000"), ("horizon", "64")]);
    plan.resume = super::resume(&folder.path().to_string_lossy()).unwrap();
    let (_run, mut news) = begin(plan);
    let first = progress(&mut news).await;
    assert!(
        first.steps as u64 >= before.counters.steps + 128,
        "{} after {}",
        first.steps,
        before.counters.steps
    );
    assert_eq!(first.metrics["update"], before.counters.updates as f64 + 1.0);
    assert!(end(&mut news).await.metrics["steps"] < 3_200.0, "the steps before count");
}

#[tokio::test]
async fn a_simulator_that_dies_in_a_step_holds_nobody_up_and_is_taken_back() {
    let mut carts = carts(3).await;
    let (_run, mut news) = begin(carts.plan(&[("horizon", "64"), ("total_steps", "1000000")]));
    progress(&mut news).await;
    carts.knobs[1].stuck.store(true, Relaxed);
    until(&mut news, |metrics| metrics["environments_away"] == 1.0).await;
    let before = carts.knobs[0].steps.load(Relaxed);
    let endpoint = carts.servers[1].endpoint().to_owned();
    let other = serve(1).await;
    drop(std::mem::replace(&mut carts.servers[1], other.0));
    for _ in 0..3 {
        assert_eq!(progress(&mut news).await.metrics["environments_away"], 1.0);
    }
    assert!(carts.knobs[0].steps.load(Relaxed) > before + 128, "the others go on");
    let knobs = Arc::new(Knobs::default());
    let again = loop {
        match StepServer::bind(&endpoint, Cart::new(9, knobs.clone())).await {
            Ok(server) => break server,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    until(&mut news, |metrics| metrics["environments_away"] == 0.0).await;
    until(&mut news, |_| knobs.steps.load(Relaxed) > 64).await;
    drop(again);
}

#[tokio::test]
async fn one_stuck_simulator_costs_the_others_a_tenth_of_a_second_once() {
    let carts = carts(2).await;
    let plan = carts.plan(&[("horizon", "16"), ("total_steps", "1000000")]);
    let plan = Plan { hyper: Hyper { step_timeout: LIMIT, ..plan.hyper }, ..plan };
    let (_run, mut news) = begin(plan);
    progress(&mut news).await;
    carts.knobs[1].stuck.store(true, Relaxed);
    let before = carts.knobs[0].steps.load(Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let done = carts.knobs[0].steps.load(Relaxed) - before;
    assert!(done > 200, "{done} steps beside a stuck one");
}

#[tokio::test]
async fn an_environment_in_a_persons_hand_is_neither_waited_for_nor_learnt_from() {
    let carts = carts(2).await;
    carts.knobs[1].by_hand.store(true, Relaxed);
    let (_run, mut news) = begin(carts.plan(&[("horizon", "128"), ("total_steps", "1000000")]));
    until(&mut news, |metrics| metrics["environments_by_hand"] == 1.0).await;
    let (policy, hand) = (carts.knobs[0].steps.load(Relaxed), carts.knobs[1].steps.load(Relaxed));
    let first = progress(&mut news).await;
    let began = std::time::Instant::now();
    let last = loop {
        let progress = progress(&mut news).await;
        if began.elapsed() > Duration::from_millis(600) {
            break progress;
        }
    };
    let policy = carts.knobs[0].steps.load(Relaxed) - policy;
    let hand = carts.knobs[1].steps.load(Relaxed) - hand;
    assert!(hand >= 10, "the person goes on: {hand} steps");
    assert!(policy > 10 * hand, "{policy} steps beside {hand} by hand");
    let counted = u64::try_from(last.steps - first.steps).unwrap();
    assert!(counted <= policy, "{counted} counted of {policy} the policy's");
    carts.knobs[1].by_hand.store(false, Relaxed);
    until(&mut news, |metrics| metrics["environments_by_hand"] == 0.0).await;
    let before = carts.knobs[1].steps.load(Relaxed);
    progress(&mut news).await;
    progress(&mut news).await;
    assert!(carts.knobs[1].steps.load(Relaxed) >= before + 64, "it is back in the round");
}

#[tokio::test]
async fn a_replaced_environment_is_begun_anew_and_the_old_one_left_alone() {
    let carts = carts(2).await;
    let (run, mut news) = begin(carts.plan(&[("horizon", "32"), ("total_steps", "1000000")]));
    progress(&mut news).await;
    let (server, knobs) = serve(3).await;
    run.replace(1, server.endpoint()).await.unwrap();
    until(&mut news, |_| knobs.steps.load(Relaxed) > 40).await;
    assert!(knobs.resets.load(Relaxed) > 0);
    let old = carts.knobs[1].steps.load(Relaxed);
    progress(&mut news).await;
    assert_eq!(carts.knobs[1].steps.load(Relaxed), old);
    let wrong = run.replace(2, server.endpoint()).await.unwrap_err().to_string();
    assert!(wrong.contains("no environment 2; there are 2"), "{wrong}");
    assert!(run.replace(0, "nonsense").await.is_err());
}

#[tokio::test]
async fn orders_are_answered_while_it_trains() {
    let carts = carts(1).await;
    let folder = tempfile::tempdir().unwrap();
    let (run, mut news) = begin(carts.plan(&[("total_steps", "1000000")]));
    progress(&mut news).await;
    let uri = format!("file://{}/deep/snap", folder.path().display());
    let written = run.snapshot(&uri).await.unwrap();
    assert_eq!(written.uri(), format!("{uri}/checkpoint.safetensors"));
    assert!(Checkpoint::read(&written.path).unwrap().counters.steps > 0);
    assert!(run.snapshot("s3://bucket/a").await.is_err());
    let wrong = run.learn("/nowhere/at/all").await.unwrap_err().to_string();
    assert!(wrong.contains("/nowhere/at/all"), "{wrong}");
    run.pause(true).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = carts.knobs[0].steps.load(Relaxed);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(carts.knobs[0].steps.load(Relaxed), before, "it stands still");
    while news.try_recv().is_ok() {}
    run.pause(false).await.unwrap();
    progress(&mut news).await;
    assert_eq!(run.stop(false).await.unwrap(), None);
    while news.recv().await.is_some() {}
}

#[tokio::test]
async fn demonstrations_are_imitated() {
    let carts = carts(1).await;
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (-50_i32..50)
        .map(|at| {
            let tilt = f64::from(at) / 100.0;
            format!(
                "{{\"observation\":[0,0,{tilt},{tilt}],\"action\":[{}],\"controller\":\"human\"}}\n",
                i32::from(at > 0)
            )
        })
        .collect();
    fs::write(folder.path().join("meta.json"), "{}").unwrap();
    fs::write(folder.path().join("steps.jsonl"), lines).unwrap();
    let mut plan = carts.plan(&[("total_steps", "1000000"), ("imitation", "2")]);
    plan.demonstrations = vec![folder.path().to_string_lossy().into_owned(), "/nowhere".to_owned()];
    let (_run, mut news) = begin(plan);
    let first = progress(&mut news).await;
    assert_eq!(first.metrics["demonstration_steps"], 100.0);
    let learnt = until(&mut news, |metrics| metrics["update"] >= 8.0).await;
    assert!(learnt.metrics["imitation_loss"] < 0.35, "{:?}", learnt.metrics);
}

/// What is recorded of a person who holds a cart and does nothing: pushes that take one another back, until it falls.
async fn idle(folder: &Path, steps: usize) {
    let (server, _knobs) = serve(99).await;
    let mut client = StepClient::new(server.endpoint()).unwrap();
    let mut lines = String::new();
    let mut observation = client.reset(None, LIMIT).await.unwrap().observation;
    for at in 0..steps {
        let action = vec![f64::from(u8::from(at % 2 == 0))];
        let stepped = client.step(action.clone(), None, LIMIT).await.unwrap();
        let step = Step {
            observation: observation.clone(),
            action,
            reward: stepped.reward,
            done: stepped.done,
            controller: "human".to_owned(),
            ..Step::default()
        };
        lines += &serde_json::to_string(&Line { step, ..Line::default() }).unwrap();
        lines.push('\n');
        observation = stepped.observation;
        if stepped.done {
            observation = client.reset(None, LIMIT).await.unwrap().observation;
        }
    }
    fs::write(folder.join("meta.json"), "{}").unwrap();
    fs::write(folder.join("steps.jsonl"), lines).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_showed_nothing_worth_learning_holds_nobody_up_for_long() {
    let carts = carts(4).await;
    let folder = tempfile::tempdir().unwrap();
    idle(folder.path(), 99).await;
    let mut plan = carts.plan(&[("total_steps", "150000"), ("target_reward", "450")]);
    plan.demonstrations = vec![folder.path().to_string_lossy().into_owned()];
    let (_run, mut news) = begin(plan);
    let first = progress(&mut news).await.metrics;
    assert_eq!((first["demonstration_steps"], first["imitation_weight"]), (99.0, 0.5));
    let later = until(&mut news, |metrics| metrics["update"] >= 11.0).await.metrics;
    assert!((later["imitation_weight"] - 0.5 * 0.95_f64.powi(10)).abs() < 1e-12, "{later:?}");
    let end = end(&mut news).await;
    assert!(end.success && end.final_reward >= 450.0, "{end:?}");
}

#[tokio::test]
async fn a_demonstration_goes_on_fading_in_a_run_taken_up_again() {
    let carts = carts(1).await;
    let (shown, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    idle(shown.path(), 20).await;
    let mut plan = carts.plan(&[("total_steps", "1000000"), ("horizon", "32")]);
    plan.demonstrations = vec![shown.path().to_string_lossy().into_owned()];
    plan.checkpoints = Some(kept.path().to_owned());
    let (run, mut news) = begin(plan);
    until(&mut news, |metrics| metrics["update"] >= 5.0).await;
    run.stop(true).await.unwrap().unwrap();
    let mut plan = carts.plan(&[("total_steps", "1000000"), ("horizon", "32")]);
    plan.demonstrations = vec![shown.path().to_string_lossy().into_owned()];
    plan.resume = super::resume(&kept.path().to_string_lossy()).unwrap();
    let (_run, mut news) = begin(plan);
    let first = progress(&mut news).await.metrics;
    let expected = 0.5 * 0.95_f64.powf(first["update"] - 1.0);
    assert!(first["update"] > 5.0 && (first["imitation_weight"] - expected).abs() < 1e-12, "{first:?}");
}

#[tokio::test]
async fn a_pause_before_the_first_simulator_answers_is_kept_and_costs_no_patience() {
    let place = serve(1).await.0.endpoint().to_owned();
    let hyper = Hyper::read([("away_limit_s", "1"), ("horizon", "64"), ("step_timeout_ms", "300")]).unwrap();
    let plan = Plan {
        hyper,
        total_episodes: 0,
        endpoints: vec![place.clone()],
        resume: None,
        checkpoints: None,
        demonstrations: Vec::new(),
    };
    let (run, mut news) = begin(plan);
    run.pause(true).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(news.try_recv().is_err(), "nobody answers, and that is no end while it is paused");
    let knobs = Arc::new(Knobs::default());
    let _server = StepServer::bind(&place, Cart::new(3, knobs.clone())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(knobs.steps.load(Relaxed), 0, "it stands still");
    run.pause(false).await.unwrap();
    assert!(progress(&mut news).await.steps >= 64);
}

/// A dot on a line that is to go to a mark, which it is shown in units that hardly differ.
struct Dot {
    at: f64,
    mark: f64,
    steps: u32,
}

impl Dot {
    fn seen(&self) -> Vec<f64> {
        vec![self.at, 50.0 + 0.02 * self.mark]
    }
}

impl Handler for Dot {
    async fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::Reset { seed } => {
                let mark = 2.0 * super::random::Random::new(seed.unwrap_or(0)).uniform() - 1.0;
                *self = Self { at: 0.0, mark, steps: 0 };
                Answer::Begun(Begun { observation: self.seen(), info: Info::default() })
            }
            Request::Step { action, timestamp } => {
                self.at += 0.1 * action.first().copied().unwrap_or(0.0);
                self.steps += 1;
                let done = self.steps >= 25;
                let (reward, info) =
                    (-(self.at - self.mark).abs(), Info { truncated: done, ..Info::default() });
                Answer::Stepped(Stepped { observation: self.seen(), reward, done, info, timestamp })
            }
            Request::Spec => Answer::Spec(Spec {
                environment: "dot".to_owned(),
                observation_size: 2,
                action: ActionSpace::Continuous { continuous: 1, low: -1.0, high: 1.0 },
                max_episode_steps: 25,
            }),
            Request::Close => Answer::Closed { status: "ok" },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_learns_to_go_to_a_mark_whose_place_shows_in_the_fourth_digit() {
    let folder = tempfile::tempdir().unwrap();
    let mut carts = Carts { servers: Vec::new(), knobs: Vec::new() };
    for _ in 0..2 {
        let dot = Dot { at: 0.0, mark: 0.0, steps: 0 };
        carts.servers.push(StepServer::bind("tcp://127.0.0.1:0", dot).await.unwrap());
    }
    let mut plan = carts.plan(&[("total_steps", "40000"), ("horizon", "256")]);
    plan.checkpoints = Some(folder.path().to_owned());
    let (_run, mut news) = begin(plan);
    let end = end(&mut news).await;
    // Standing still earns -12.5 on average, going there at full speed -1.8.
    assert!(end.success && end.final_reward > -5.0, "{end:?}");
    let kept = Checkpoint::find(folder.path()).unwrap().unwrap();
    assert!(kept.scale.is_some(), "the model is of no use without it");
}

#[tokio::test]
async fn without_any_environment_it_ends_with_a_sentence() {
    let nobody = "tcp://127.0.0.1:1".to_owned();
    let hyper = Hyper::read([("away_limit_s", "1")]).unwrap();
    let plan = Plan {
        hyper,
        total_episodes: 1,
        endpoints: vec![nobody],
        resume: None,
        checkpoints: None,
        demonstrations: Vec::new(),
    };
    let (_run, mut news) = begin(plan);
    let end = end(&mut news).await;
    assert!(!end.success && end.error.starts_with("no environment answered for 1 s"), "{end:?}");
}

#[tokio::test]
async fn all_of_them_gone_for_too_long_is_an_end_with_the_checkpoint_named() {
    let carts = carts(1).await;
    let folder = tempfile::tempdir().unwrap();
    let mut plan =
        carts.plan(&[("total_steps", "1000000"), ("away_limit_s", "1"), ("checkpoint_every", "1")]);
    plan.checkpoints = Some(folder.path().to_owned());
    let (_run, mut news) = begin(plan);
    until(&mut news, |metrics| metrics["update"] >= 2.0).await;
    drop(carts);
    let end = end(&mut news).await;
    assert!(!end.success && end.error.contains("no environment answered for 1 s"), "{end:?}");
    assert!(Checkpoint::read(&super::local_path(&end.checkpoint_uri).unwrap()).is_ok());
}

#[tokio::test]
async fn a_checkpoint_of_another_task_is_refused() {
    let carts = carts(1).await;
    let mut random = super::random::Random::new(1);
    let shape = super::policy::Shape {
        observation: 9,
        action: crate::instance::step::ActionSpace::Discrete { discrete: 2 },
        hidden: vec![4],
    };
    let agent = super::policy::Agent::new(shape, &mut random);
    let adam = super::adam::Adam::new(agent.parameters.len());
    let mut plan = carts.plan(&[]);
    plan.resume = Some(Checkpoint {
        agent,
        adam,
        random,
        counters: Default::default(),
        environment: String::new(),
        scale: None,
    });
    let (_run, mut news) = begin(plan);
    let end = end(&mut news).await;
    assert!(end.error.contains("4 numbers") && end.error.contains("the checkpoint's are 9"), "{end:?}");
}
