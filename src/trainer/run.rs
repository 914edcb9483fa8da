//! A run from its first step to its last.
//!
//! Rounds: every environment that shows something gets an action, all requests go out, then the answers come in. A round
//! waits for the environments that answer quickly, at most 100 ms; those that are slow, away or driven by a person go on in
//! their own time and join the round that finds them ready.

use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::adam::Adam;
use super::checkpoint::{Checkpoint, Counters, Written, snapshot_path};
use super::demonstrations::{Learnt, LeftOut, Library};
use super::environments::{Environments, Event, News as Word};
use super::error::TrainerError;
use super::loss::{Batch, Scratch, Shown, Weights, losses};
use super::meet::{Met, meet};
use super::network::Trace;
use super::plan::Plan;
use super::player::{BRISK, Player};
use super::policy::Agent;
use super::random::Random;
use super::report::{Figures, RECENT};
use super::scale::Scale;
use super::thread::{Command, News};
use crate::instance::step::Stepped;
use crate::proto::neuro::ext;

/// How a run ends without an error.
enum End {
    /// By itself.
    Finished,
    /// It was told to, or nobody listens any more.
    Stopped,
}

/// What the training thread does.
pub(super) async fn train(plan: Plan, commands: mpsc::Receiver<Command>, news: mpsc::Sender<News>) {
    let checkpoints = plan.checkpoints.clone();
    let end = match carry_out(plan, commands, &news).await {
        Ok(None) => return,
        Ok(Some(end)) => end,
        Err(error) => {
            tracing::error!("training failed: {error}");
            let kept = checkpoints.and_then(|folder| Checkpoint::newest(&folder));
            ext::TrainingEnd {
                error: error.to_string(),
                checkpoint_uri: kept.map(|path| format!("file://{}", path.display())).unwrap_or_default(),
                ..Default::default()
            }
        }
    };
    drop(news.send(News::End(end)).await);
}

async fn carry_out(
    mut plan: Plan,
    mut commands: mpsc::Receiver<Command>,
    news: &mpsc::Sender<News>,
) -> Result<Option<ext::TrainingEnd>, TrainerError> {
    let mut paused = false;
    let (shape, environment) = match meet(&mut plan, &mut commands, &mut paused).await? {
        Met::Task(shape, environment) => (shape, environment),
        Met::Stopped => return Ok(None),
    };
    plan.hyper = plan.hyper.suited_to(&shape.action);
    let state = plan.resume.take().unwrap_or_else(|| {
        let mut random = Random::new(plan.hyper.seed);
        let agent = Agent::new(shape, &mut random);
        let adam = Adam::new(agent.parameters.len());
        let scale = plan.hyper.normalise.then(|| Scale::new(agent.shape.observation));
        let (counters, environment) = (Counters::default(), environment.clone());
        Checkpoint { agent, adam, random, counters, environment, scale }
    });
    tracing::info!(
        environment,
        steps = state.counters.steps,
        environments = plan.endpoints.len(),
        "training begins"
    );
    let mut training = Training::new(plan, state, paused)?;
    match training.go(&mut commands, news).await? {
        End::Finished => training.ending().map(Some),
        End::Stopped => Ok(None),
    }
}

struct Training {
    plan: Plan,
    state: Checkpoint,
    environments: Environments,
    players: Vec<Player>,
    library: Library,
    paused: bool,
    stopped: bool,
    /// Steps since the last update.
    collected: usize,
    figures: Figures,
    seconds_before: f64,
    last_heard: Instant,
    traces: [Trace; 2],
    scratch: Scratch,
    gradient: Vec<f64>,
}

impl Training {
    fn new(plan: Plan, state: Checkpoint, paused: bool) -> Result<Self, TrainerError> {
        let seed = plan.hyper.seed.wrapping_add(state.counters.steps);
        let mut environments = Environments::new(&plan.endpoints, plan.hyper.step_timeout, seed)?;
        (0..environments.len()).for_each(|index| environments.begin(index));
        let mut training = Self {
            players: plan.endpoints.iter().map(|_| Player::new()).collect(),
            figures: Figures::new(state.counters.steps),
            seconds_before: state.counters.seconds,
            gradient: vec![0.0; state.agent.parameters.len()],
            library: Library::default(),
            collected: 0,
            stopped: false,
            last_heard: Instant::now(),
            traces: Default::default(),
            scratch: Scratch::default(),
            plan,
            state,
            environments,
            paused,
        };
        for uri in std::mem::take(&mut training.plan.demonstrations) {
            // Said in the log; training goes on without it.
            drop(training.learn(&uri));
        }
        Ok(training)
    }

    async fn go(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        news: &mpsc::Sender<News>,
    ) -> Result<End, TrainerError> {
        loop {
            while !self.stopped
                && let Some(command) = commands.recv().now_or_never()
            {
                self.obey(command);
            }
            if self.stopped {
                return Ok(End::Stopped);
            }
            if self.is_finished() {
                return Ok(End::Finished);
            }
            if !self.paused {
                self.act(|_| true);
            }
            self.gather(commands).await?;
            let players = self.players.iter().filter(|player| player.plays()).count();
            if self.collected >= self.plan.hyper.horizon * players.max(1) {
                self.update().await?;
                self.state.counters.seconds = self.seconds_before + self.figures.seconds();
                let progress = self.progress();
                if news.send(News::Progress(progress)).await.is_err() {
                    self.stopped = true;
                }
                let every = self.plan.hyper.checkpoint_every;
                if every > 0
                    && self.state.counters.updates.is_multiple_of(every)
                    && let Err(error) = self.keep()
                {
                    tracing::error!("no checkpoint this time: {error}");
                }
            }
        }
    }

    /// Gives an action to every environment that shows something, if `which` likes it.
    fn act(&mut self, which: impl Fn(&Player) -> bool) {
        let ready: Vec<usize> = (0..self.players.len())
            .filter(|index| self.players[*index].observation.is_some() && which(&self.players[*index]))
            .collect();
        let shown: Vec<Vec<f64>> =
            ready.iter().filter_map(|index| self.players[*index].observation.take()).collect();
        let choices = self.state.agent.act(&shown.concat(), &mut self.traces, &mut self.state.random);
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        for ((index, shown), choice) in ready.into_iter().zip(shown).zip(choices) {
            self.environments.step(index, choice.sent.clone(), now_s);
            self.players[index].pending = Some((shown, choice));
        }
    }

    /// Takes answers until nobody is waited for and somebody is ready, or there is a command.
    async fn gather(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<(), TrainerError> {
        let deadline = tokio::time::Instant::now() + BRISK;
        while !self.stopped {
            let awaited = self.players.iter().any(Player::is_awaited);
            let ready = !self.paused && self.players.iter().any(|player| player.observation.is_some());
            if !awaited && ready {
                break;
            }
            let alone = !self.paused && self.players.iter().all(|player| player.away);
            let patience = self.plan.hyper.away_limit.saturating_sub(self.last_heard.elapsed());
            tokio::select! {
                biased;
                event = self.environments.next() => self.take(event),
                command = commands.recv() => {
                    self.obey(command);
                    if self.paused {
                        continue;
                    }
                    break;
                }
                () = tokio::time::sleep_until(deadline), if awaited => {
                    self.players.iter_mut().filter(|player| player.is_awaited()).for_each(|player| player.brisk = false);
                }
                () = tokio::time::sleep(patience), if alone => {
                    let problem = self.players.iter().find(|player| !player.problem.is_empty());
                    let problem = problem.map(|player| player.problem.clone()).unwrap_or_default();
                    return Err(TrainerError::Alone { seconds: self.plan.hyper.away_limit.as_secs(), problem });
                }
            }
        }
        self.take_what_is_there();
        Ok(())
    }

    fn take_what_is_there(&mut self) {
        while let Some(event) = self.environments.next().now_or_never() {
            self.take(event);
        }
    }

    fn take(&mut self, Event { index, mut news, took }: Event) {
        let Self { players, environments, state, traces, .. } = self;
        let Some(player) = players.get_mut(index) else { return };
        let size = state.agent.shape.observation;
        let (numbers, reward) = match &news {
            Word::Away(problem) => {
                let problem = problem.clone();
                return player.leave(&problem, environments.endpoint(index));
            }
            Word::Began(observation) => (observation, 0.0),
            Word::Stepped(stepped) => (&stepped.observation, stepped.reward),
        };
        if numbers.len() != size || !reward.is_finite() || numbers.iter().any(|number| !number.is_finite()) {
            let problem = format!(
                "an observation of {} numbers, reward {reward}; expected {size} finite ones",
                numbers.len()
            );
            player.leave(&problem, environments.endpoint(index));
            environments.begin_later(index);
            return;
        }
        self.last_heard = Instant::now();
        if let Some(scale) = &mut state.scale
            && let Word::Began(observation) | Word::Stepped(Stepped { observation, .. }) = &mut news
        {
            scale.see(observation);
            scale.apply(observation);
        }
        let stepped = match news {
            Word::Began(observation) => return player.begin(observation, took),
            Word::Stepped(stepped) => stepped,
            Word::Away(_) => return,
        };
        let worth = |last: &[f64]| state.agent.values(last, &mut traces[1]).first().copied().unwrap_or(0.0);
        let done = player.stepped(stepped, took, self.plan.hyper.max_steps, worth);
        if done.learnt {
            self.figures.took(took);
            self.collected += 1;
            state.counters.steps += 1;
        }
        if let Some(episode) = done.episode {
            state.counters.count(episode, self.plan.hyper.target_reward);
        }
        if done.over {
            environments.begin(index);
        }
    }

    /// One update from all that was collected. Between its parts, environments that people drive get their answers.
    async fn update(&mut self) -> Result<(), TrainerError> {
        let began = Instant::now();
        let remaining = self.remaining();
        let hyper = self.plan.hyper.clone();
        let batch = self.close();
        let rows = batch.returns.len();
        self.collected = 0;
        let mut order: Vec<usize> = (0..rows).collect();
        let size =
            if hyper.batch_size > 0 { hyper.batch_size } else { rows.div_ceil(hyper.minibatches) }.max(1);
        let updates = self.state.counters.updates;
        let lesson = self.library.lesson(updates, hyper.imitation_decay);
        let imitation = hyper.imitation * lesson.weight();
        let weights =
            Weights { clip: hyper.clip, value: hyper.value_coef, entropy: hyper.entropy, imitation };
        let learning_rate = hyper.learning_rate * remaining;
        let (mut part, mut shown) = (Batch::default(), Shown::default());
        for _ in 0..hyper.epochs {
            self.state.random.shuffle(&mut order);
            for rows in order.chunks(size) {
                let Checkpoint { agent, adam, random, scale, .. } = &mut self.state;
                batch.pick(rows, agent.shape.observation, agent.action_size(), &mut part);
                let wanted = if imitation > 0.0 { rows.len() } else { 0 };
                self.library.sample(&lesson, wanted, agent, random, &mut shown);
                if let Some(scale) = scale {
                    shown
                        .observations
                        .chunks_exact_mut(agent.shape.observation)
                        .for_each(|row| scale.apply(row));
                }
                self.figures.losses =
                    losses(agent, &part, &shown, &weights, &mut self.scratch, &mut self.gradient);
                adam.step(&mut agent.parameters, &self.gradient, learning_rate, hyper.max_grad_norm);
                agent.settle();
                if self.players.iter().any(|player| player.by_hand) {
                    tokio::task::yield_now().await;
                    self.take_what_is_there();
                    self.act(|player| player.by_hand);
                }
            }
        }
        if self.state.agent.parameters.iter().any(|parameter| !parameter.is_finite()) {
            return Err(TrainerError::Diverged { steps: self.state.counters.steps });
        }
        self.state.counters.updates += 1;
        self.figures.learning_rate = learning_rate;
        self.figures.imitation = imitation;
        self.figures.update_ms = began.elapsed().as_secs_f64() * 1e3;
        Ok(())
    }

    /// Cuts every chain where it is now and takes them all.
    fn close(&mut self) -> Batch {
        let mut batch = Batch::default();
        for player in &mut self.players {
            let worth = match (&player.observation, &player.pending) {
                (Some(observation), _) => {
                    self.state.agent.values(observation, &mut self.traces[1]).first().copied()
                }
                (None, pending) => pending.as_ref().map(|(_, choice)| choice.value),
            };
            player.chain.cut(worth.unwrap_or(0.0));
            player.chain.drain_into(&mut batch, self.plan.hyper.gamma, self.plan.hyper.gae_lambda);
        }
        batch
    }

    /// From 1 at the beginning to 0 at the end.
    fn remaining(&self) -> f64 {
        let share = |done: u64, all: u64| if all == 0 { 0.0 } else { done as f64 / all as f64 };
        let counters = &self.state.counters;
        let steps = share(counters.steps.saturating_sub(self.collected as u64), self.plan.hyper.total_steps);
        (1.0 - steps.max(share(counters.episodes, self.plan.total_episodes))).clamp(0.0, 1.0)
    }

    fn is_finished(&self) -> bool {
        let Checkpoint { counters, .. } = &self.state;
        let (episodes, steps) = (self.plan.total_episodes, self.plan.hyper.total_steps);
        let target = self.plan.hyper.target_reward.is_some_and(|target| {
            self.collected == 0 && counters.rewards.len() >= RECENT && counters.average_reward() >= target
        });
        target || (episodes > 0 && counters.episodes >= episodes) || (steps > 0 && counters.steps >= steps)
    }

    fn obey(&mut self, command: Option<Command>) {
        match command {
            None => {
                self.stopped = true;
                if let Err(error) = self.keep() {
                    tracing::error!("no checkpoint at the end: {error}");
                }
            }
            Some(Command::Replace { index, endpoint, done }) => {
                let replaced = self.environments.replace(index, &endpoint);
                if let (Ok(()), Some(player)) = (&replaced, self.players.get_mut(index)) {
                    player.abandon();
                    (player.away, player.by_hand, player.observation) = (true, false, None);
                    tracing::info!(index, endpoint, "an environment was replaced");
                }
                drop(done.send(replaced));
            }
            Some(Command::Learn { uri, done }) => drop(done.send(self.learn(&uri))),
            Some(Command::Snapshot { uri, done }) => {
                let written = snapshot_path(&uri).and_then(|path| self.state.write(&path, true));
                drop(done.send(written));
            }
            Some(Command::Pause { on, done }) => {
                self.paused = on;
                self.last_heard = Instant::now();
                drop(done.send(Ok(())));
            }
            Some(Command::Stop { keep, done }) => {
                self.stopped = true;
                drop(done.send(if keep { self.keep() } else { Ok(None) }));
            }
        }
    }

    fn learn(&mut self, uri: &str) -> Result<usize, TrainerError> {
        let Checkpoint { agent, counters, .. } = &mut self.state;
        // One that a run before this one began with goes on fading.
        let since = counters.demonstrations.get(uri).map_or(counters.updates, |since| *since);
        let learnt = self.library.learn(uri, agent, since);
        match &learnt {
            Ok(Learnt { rows, left_out: None }) => {
                tracing::info!(uri, rows, "learns from a demonstration");
            }
            Ok(Learnt { rows, left_out: Some(LeftOut { steps, first }) }) => {
                tracing::warn!(
                    uri,
                    rows,
                    steps,
                    "learns from a demonstration, steps of which are left out: {first}"
                );
            }
            Err(error) => tracing::warn!("not learnt from: {error}"),
        }
        let learnt = learnt?;
        counters.demonstrations.insert(uri.to_owned(), since);
        Ok(learnt.rows)
    }

    fn folder(&self) -> Option<PathBuf> {
        self.plan.checkpoints.clone()
    }

    fn keep(&self) -> Result<Option<Written>, TrainerError> {
        self.folder().map(|folder| self.state.keep(&folder)).transpose()
    }

    fn progress(&mut self) -> ext::Progress {
        let Self { state, figures, players, .. } = self;
        let counters = &state.counters;
        let mut metrics = figures.metrics(counters);
        let count = |which: fn(&Player) -> bool| players.iter().filter(|player| which(player)).count() as f64;
        metrics.insert("environments".to_owned(), players.len() as f64);
        metrics.insert("environments_away".to_owned(), count(|player| player.away));
        metrics.insert("environments_by_hand".to_owned(), count(|player| player.by_hand));
        metrics.insert("demonstration_steps".to_owned(), self.library.len() as f64);
        ext::Progress {
            episode: i32::try_from(counters.episodes).unwrap_or(i32::MAX),
            total_episodes: i32::try_from(self.plan.total_episodes).unwrap_or(i32::MAX),
            average_reward: counters.average_reward(),
            policy_loss: figures.losses.policy,
            value_loss: figures.losses.value,
            entropy: figures.losses.entropy,
            steps: i64::try_from(counters.steps).unwrap_or(i64::MAX),
            steps_per_second: figures.steps_per_second(counters.steps),
            metrics,
        }
    }

    fn ending(&mut self) -> Result<ext::TrainingEnd, TrainerError> {
        self.state.counters.seconds = self.seconds_before + self.figures.seconds();
        let checkpoint = self.keep()?;
        let model = self
            .folder()
            .map(|folder| self.state.write(&folder.join("model.safetensors"), false))
            .transpose()?;
        let uri = |written: Option<Written>| written.map(|written| written.uri()).unwrap_or_default();
        let mut metrics = self.figures.metrics(&self.state.counters);
        let counters = &self.state.counters;
        metrics.retain(|name, _| !name.starts_with("rtt"));
        metrics.insert("steps".to_owned(), counters.steps as f64);
        metrics.insert("episodes".to_owned(), counters.episodes as f64);
        metrics.insert("steps_per_second".to_owned(), self.figures.steps_per_second(counters.steps));
        Ok(ext::TrainingEnd {
            success: true,
            error: String::new(),
            model_uri: uri(model),
            checkpoint_uri: uri(checkpoint),
            final_reward: counters.average_reward(),
            success_rate: counters.success_rate(),
            seconds: counters.seconds,
            metrics,
        })
    }
}
