//! A trainer in a pool: it takes the orchestrator's orders and reports what becomes of them.

use std::collections::HashMap;

use prost::Message;
use tokio::sync::mpsc;

use super::checkpoint::Written;
use super::error::TrainerError;
use super::plan::Plan;
use super::thread::{News, Run, start};
use crate::instance::attach::Attachment;
use crate::proto::neuro::ext::{self, Order, order};

/// What an order comes to.
type Outcome = Result<HashMap<String, String>, String>;

struct Current {
    run: Run,
    news: mpsc::Receiver<News>,
    order: Vec<u8>,
    /// Its end was told.
    ended: bool,
    checkpoint_uri: String,
}

/// Stands between an attachment and at most one run.
pub struct Desk {
    attachment: Attachment,
    current: Option<Current>,
    fence: i64,
}

enum Next {
    Order(Order),
    News(Option<News>),
    Gone,
}

impl Desk {
    /// For an instance that holds nothing.
    #[must_use]
    pub fn new(attachment: Attachment) -> Self {
        Self { attachment, current: None, fence: 0 }
    }

    /// The orchestrator's end.
    #[must_use]
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Works until it is told to terminate, and says why. The future may be dropped between two orders.
    pub async fn work(&mut self) -> String {
        loop {
            match self.next().await {
                Next::Order(Order { o: Some(order::O::Terminate(terminate)), .. }) => {
                    return terminate.reason;
                }
                Next::Order(order) => self.obey(order).await,
                Next::News(Some(News::Progress(progress))) => self.attachment.voice.progress(progress),
                Next::News(Some(News::End(end))) => {
                    if let Some(current) = &mut self.current {
                        current.ended = true;
                        current.checkpoint_uri.clone_from(&end.checkpoint_uri);
                    }
                    self.attachment.voice.training_end(end).await;
                }
                Next::News(None) => {
                    if let Some(current) = &mut self.current
                        && !std::mem::replace(&mut current.ended, true)
                    {
                        let error = "the training thread ended without a word".to_owned();
                        self.attachment
                            .voice
                            .training_end(ext::TrainingEnd { error, ..Default::default() })
                            .await;
                    }
                }
                Next::Gone => return "the attachment is closed".to_owned(),
            }
        }
    }

    async fn next(&mut self) -> Next {
        let news = async {
            match &mut self.current {
                Some(current) if !current.ended => current.news.recv().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            order = self.attachment.orders.recv() => order.map_or(Next::Gone, Next::Order),
            news = news => Next::News(news),
        }
    }

    /// Ends a run that is under way, with a checkpoint.
    pub async fn close(mut self) {
        drop(self.stop(true).await);
    }

    async fn obey(&mut self, Order { order_id, fence, o }: Order) {
        if fence < self.fence {
            let seen = self.fence;
            let sentence = format!("fence {fence} is stale: {seen} was seen");
            let data = [("code", "stale_fence".to_owned()), ("fence", seen.to_string())];
            let data = data.map(|(key, value)| (key.to_owned(), value)).into();
            self.attachment.voice.refuse(order_id, sentence, data).await;
            return;
        }
        self.fence = fence;
        let outcome = match o {
            Some(order) => self.carry_out(order).await,
            None => Err("an order of a kind that this version does not know".to_owned()),
        };
        self.attachment.voice.answer(order_id, outcome).await;
    }

    async fn carry_out(&mut self, order: order::O) -> Outcome {
        use order::O;
        match order {
            O::Train(train) => self.train(train).await,
            O::Start(_) => self.pause(false).await,
            O::Pause(_) => self.pause(true).await,
            O::Stop(stop) => self.stop(!stop.cleanup).await,
            O::Snapshot(snapshot) => match &self.current {
                Some(current) => written(current.run.snapshot(&snapshot.uri).await),
                None => Err("nothing to save: no training runs here".to_owned()),
            },
            O::ReplaceEnv(replace) => {
                let index = usize::try_from(replace.index)
                    .map_err(|_| format!("there is no environment {}", replace.index))?;
                match &self.current {
                    Some(current) => plain(current.run.replace(index, &replace.zmq_endpoint).await),
                    None => Err("no training runs here".to_owned()),
                }
            }
            O::LearnFrom(learn) => match &self.current {
                Some(current) => {
                    let rows = current.run.learn(&learn.uri).await.map_err(|error| error.to_string())?;
                    Ok(HashMap::from([("steps".to_owned(), rows.to_string())]))
                }
                None => Err("no training runs here".to_owned()),
            },
            O::Load(_) | O::Controller(_) | O::Update(_) | O::Restore(_) => {
                Err("a trainer has no scene".to_owned())
            }
            O::Accepted(_) | O::Terminate(_) => Ok(HashMap::new()),
        }
    }

    async fn train(&mut self, train: ext::Train) -> Outcome {
        let order = train.encode_to_vec();
        if self.current.as_ref().is_some_and(|current| current.order == order && !current.ended) {
            return Ok(HashMap::new());
        }
        let session = train.session_id.clone();
        let plan = tokio::task::spawn_blocking(move || Plan::of(&train)).await;
        let plan = plan.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        drop(self.stop(true).await);
        let (run, news) = start(plan).map_err(|error| error.to_string())?;
        self.attachment.voice.hold(&session, self.fence);
        self.current = Some(Current { run, news, order, ended: false, checkpoint_uri: String::new() });
        Ok(HashMap::new())
    }

    async fn pause(&self, on: bool) -> Outcome {
        match &self.current {
            Some(current) => plain(current.run.pause(on).await),
            None => Ok(HashMap::new()),
        }
    }

    /// Ends the run, if there is one; says where its checkpoint is.
    async fn stop(&mut self, keep: bool) -> Outcome {
        let Some(current) = self.current.take() else {
            self.attachment.voice.release();
            return Ok(HashMap::new());
        };
        // Nobody hears its news any more: it must not wait for that.
        drop(current.news);
        let stopped = current.run.stop(keep).await;
        self.attachment.voice.release();
        let uri = match stopped {
            Ok(written) => written.map(|written| written.uri()).unwrap_or_default(),
            Err(TrainerError::Over) => current.checkpoint_uri,
            Err(error) => return Err(error.to_string()),
        };
        Ok(HashMap::from([("checkpoint_uri".to_owned(), uri)]))
    }
}

fn plain(outcome: Result<(), TrainerError>) -> Outcome {
    outcome.map(|()| HashMap::new()).map_err(|error| error.to_string())
}

fn written(outcome: Result<Written, TrainerError>) -> Outcome {
    let written = outcome.map_err(|error| error.to_string())?;
    Ok(HashMap::from([
        ("uri".to_owned(), written.uri()),
        ("size_bytes".to_owned(), written.size_bytes.to_string()),
        ("sha256".to_owned(), written.sha256),
    ]))
}
