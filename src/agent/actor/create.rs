//! Making an instance: looked up, written down, made. What cannot be made leaves nothing behind.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tracing::warn;

use super::Actor;
use super::order::{Message, Order, hurried};
use super::turn::Stays;
use crate::agent::error::AgentError;
use crate::agent::record::{Operation, State, Wanted};
use crate::agent::spec::Kind;

impl Actor {
    /// A new instance, and its start when that was asked for too.
    pub(super) async fn begin(&mut self, caller: &str, asked: Instant) -> Stays {
        let outcome = self.create().await;
        if outcome.is_ok() && self.record.spec.options.autostart {
            self.autostart().await;
        }
        self.audit(caller, Order::Create, asked, &outcome).await;
        match outcome {
            Ok(()) => Stays::Yes,
            Err(error) => self.undo(error).await,
        }
    }

    pub(super) async fn autostart(&mut self) {
        if let Err(error) = self.start(false).await {
            warn!(id = %self.id(), %error, "not started");
        }
    }

    async fn create(&mut self) -> Result<(), AgentError> {
        let driver = self.common.driver_for(self.record.spec.kind).await?;
        driver.check(&self.record.spec)?;
        self.look_up().await?;
        let mut next = self.record.clone();
        driver.name().clone_into(&mut next.driver);
        (next.state, next.operation) = (State::Creating, Some(Operation::Create));
        self.driver = Some(driver);
        self.intend(next, "create.intended").await?;
        self.make().await
    }

    /// Makes it, or finishes making it.
    pub(super) async fn make(&mut self) -> Result<(), AgentError> {
        let driver = self.driver()?;
        let sockets = self.ground.sockets.clone();
        match tokio::fs::create_dir_all(&sockets).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(AgentError::internal(sockets.display(), error));
            }
            _ => {}
        }
        let prepared = driver.prepare(&self.ground);
        let made = tokio::select! {
            made = self.common.call("prepare", self.common.patience.prepare, prepared) => made,
            () = hurried(&mut self.inbox, &mut self.pending, |order| matches!(order, Order::Delete { .. })) => {
                Err(AgentError::Unavailable(format!("making {} was cut short by its deletion", self.ground.id)))
            }
        };
        self.common.store.step("create.acted");
        made?;
        let mut next = self.record.clone();
        (next.state, next.operation) = (State::Stopped, None);
        next.reason.clear();
        self.conclude(next, "create.done").await;
        Ok(())
    }

    /// Whether what it is made of is there.
    async fn look_up(&self) -> Result<(), AgentError> {
        let (spec, images) = (&self.record.spec, &self.common.images);
        match spec.kind {
            Kind::Container => drop(images.root(&spec.image).await?),
            Kind::Vm | Kind::MicroVm if spec.image.is_empty() => {}
            Kind::Vm | Kind::MicroVm => drop(images.file(&spec.image, "disk").await?),
        }
        for (name, role) in [(&spec.kernel, "kernel"), (&spec.initrd, "initrd")] {
            if let Some(name) = name {
                images.file(name, role).await?;
            }
        }
        Ok(())
    }

    /// Takes away what was made, and tells everybody who waits why.
    pub(super) async fn undo(&mut self, error: AgentError) -> Stays {
        let begun = self.record.operation.is_some();
        self.record.wanted = Wanted::Gone;
        let mut stays = Stays::No;
        if !begun {
            // Its journal may have been written in part.
            if self.driver.is_some()
                && let Err(fault) = self.common.store.remove(&self.ground.id).await
            {
                warn!(id = %self.id(), error = %fault, "what was half written stays");
            }
            self.common.registry.forget(&self.ground.id);
            self.inbox.close();
        } else if let Err(fault) = self.delete(Duration::ZERO).await {
            warn!(id = %self.id(), error = %fault, "what was half made stays for now");
            stays = Stays::Yes;
        }
        self.refuse_waiting(&error, stays == Stays::No).await;
        stays
    }

    /// Those who asked for the same instance hear the same; who wished it gone first, that it is; others find that it is
    /// not there.
    async fn refuse_waiting(&mut self, error: &AgentError, mut gone: bool) {
        while let Ok(message) = self.inbox.try_recv() {
            self.pending.push_back(message);
        }
        let (waiting, kept) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|message| gone || message.order == Order::Create);
        self.pending = kept;
        let waiting: VecDeque<Message> = waiting;
        for Message { order, caller, asked, reply } in waiting {
            match order {
                Order::Create => drop(reply.send(Err(error.clone()))),
                Order::Delete { .. } if std::mem::take(&mut gone) => {
                    self.audit(&caller, order, asked, &Ok(())).await;
                    drop(reply.send(Ok(self.record.clone())));
                }
                _ => {}
            }
        }
    }
}
