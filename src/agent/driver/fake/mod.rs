//! A driver without anything behind it, for tests and measurements of the agent itself: each of its calls can fail, hang or
//! panic, before or after it did something.

mod console;
mod world;

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

pub use world::{DriverFault, Manners, World};

use super::{Ability, Console, Driver, Ground, Handle, Observed, Orphan, Usage};
use crate::agent::audit::now_ms;
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::record::Exit;
use crate::agent::spec::{Kind, Spec};
use world::Inside;

/// See the module.
#[derive(Debug, Clone)]
pub struct FakeDriver {
    kind: Kind,
    world: World,
}

impl FakeDriver {
    /// On a machine.
    #[must_use]
    pub fn new(kind: Kind, world: World) -> Self {
        Self { kind, world }
    }

    #[allow(clippy::panic, reason = "it was told to")]
    async fn act<T>(
        &self,
        call: &'static str,
        effect: impl FnOnce(&mut Inside) -> Result<T, AgentError>,
    ) -> Result<T, AgentError> {
        let fault = self.world.fault(call);
        let failed = || AgentError::Internal(format!("{call} failed as planned"));
        match fault {
            Some(DriverFault::Fail) => return Err(failed()),
            Some(DriverFault::Hang) => std::future::pending().await,
            Some(DriverFault::Panic) => panic!("{call} panicked as planned"),
            Some(DriverFault::Slow(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        let outcome = effect(&mut self.world.inside());
        self.world.changed();
        match fault {
            Some(DriverFault::FailAfter) => Err(failed()),
            Some(DriverFault::HangAfter) => std::future::pending().await,
            Some(DriverFault::PanicAfter) => panic!("{call} panicked as planned"),
            _ => outcome,
        }
    }

    fn handle(number: u64) -> Handle {
        Handle { driver: "fake".to_owned(), version: 1, body: serde_json::json!({ "run": number }) }
    }

    fn number(handle: &Handle) -> u64 {
        handle.body.get("run").and_then(serde_json::Value::as_u64).unwrap_or(0)
    }

    fn gone(id: &InstanceId) -> AgentError {
        AgentError::Internal(format!("nothing of {id} runs"))
    }
}

impl Driver for FakeDriver {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn name(&self) -> &'static str {
        "fake"
    }

    fn probe(&self) -> BoxFuture<'_, Ability> {
        let usable = Ability { usable: true, detail: "nothing real".to_owned(), labels: Vec::new() };
        async move {
            let probed = self.act("probe", |inside| Ok(inside.ability.clone().unwrap_or(usable))).await;
            let refused =
                |error: AgentError| Ability { usable: false, detail: error.to_string(), labels: Vec::new() };
            probed.unwrap_or_else(refused)
        }
        .boxed()
    }

    fn check(&self, _spec: &Spec) -> Result<(), AgentError> {
        match self.world.fault("check") {
            Some(_) => Err(AgentError::Precondition("check failed as planned".to_owned())),
            None => Ok(()),
        }
    }

    fn prepare<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<(), AgentError>> {
        let effect = |inside: &mut Inside| {
            inside.things.entry(ground.id.clone()).or_default().prepared = true;
            Ok(())
        };
        self.act("prepare", effect).boxed()
    }

    fn start<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<Handle, AgentError>> {
        self.act("start", |inside| Ok(Self::handle(inside.begin(ground)))).boxed()
    }

    fn ask_to_stop<'a>(
        &'a self,
        ground: &'a Ground,
        _handle: &'a Handle,
    ) -> BoxFuture<'a, Result<(), AgentError>> {
        let effect = |inside: &mut Inside| {
            if !inside.manners.get(&ground.id).is_some_and(|manners| manners.deaf) {
                let exit = Exit { code: 143, signal: Some(15), oom: false, at_ms: now_ms(), unseen: false };
                inside.exit(&ground.id, exit);
            }
            Ok(())
        };
        self.act("ask_to_stop", effect).boxed()
    }

    fn kill<'a>(&'a self, ground: &'a Ground, _handle: &'a Handle) -> BoxFuture<'a, Result<(), AgentError>> {
        let exit = Exit { code: 137, signal: Some(9), oom: false, at_ms: now_ms(), unseen: false };
        let effect = |inside: &mut Inside| {
            inside.exit(&ground.id, exit);
            Ok(())
        };
        self.act("kill", effect).boxed()
    }

    fn recover<'a>(
        &'a self,
        ground: &'a Ground,
        handle: Option<&'a Handle>,
    ) -> BoxFuture<'a, Result<Option<(Handle, Observed)>, AgentError>> {
        let effect = move |inside: &mut Inside| {
            let run = inside.things.get(&ground.id).and_then(|thing| thing.run.as_ref());
            let run = run.filter(|run| handle.is_none_or(|handle| Self::number(handle) == run.number));
            Ok(run.map(|run| {
                let observed = run.ended.clone().map_or(Observed::Running, Observed::Ended);
                (Self::handle(run.number), observed)
            }))
        };
        self.act("recover", effect).boxed()
    }

    fn ended<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Exit, AgentError>> {
        let wait = async move {
            let mut changes = self.world.watch();
            loop {
                let exit = {
                    let inside = self.world.inside();
                    let run = inside.things.get(&ground.id).and_then(|thing| thing.run.as_ref());
                    let run = run.filter(|run| run.number == Self::number(handle));
                    run.ok_or_else(|| Self::gone(&ground.id))?.ended.clone()
                };
                if let Some(exit) = exit {
                    return self.act("ended", |_| Ok(exit)).await;
                }
                if changes.changed().await.is_err() {
                    return Err(Self::gone(&ground.id));
                }
            }
        };
        wait.boxed()
    }

    fn settle<'a>(&'a self, ground: &'a Ground, handle: &'a Handle) -> BoxFuture<'a, Result<(), AgentError>> {
        let effect = move |inside: &mut Inside| {
            let id = &ground.id;
            let Some(thing) = inside.things.get_mut(id) else { return Ok(()) };
            if thing.run.as_ref().is_some_and(|run| run.number == Self::number(handle)) {
                let lives = thing.lives();
                thing.run = None;
                if lives {
                    inside.violated(format!("{id} was settled while it ran"));
                }
            }
            Ok(())
        };
        self.act("settle", effect).boxed()
    }

    fn destroy<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<(), AgentError>> {
        let effect = |inside: &mut Inside| {
            if inside.things.remove(&ground.id).is_some_and(|thing| thing.lives()) {
                inside.violated(format!("{} was destroyed while it ran", ground.id));
            }
            Ok(())
        };
        self.act("destroy", effect).boxed()
    }

    fn usage<'a>(
        &'a self,
        ground: &'a Ground,
        _handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Usage, AgentError>> {
        let effect = |inside: &mut Inside| Ok(inside.usage.get(&ground.id).cloned().unwrap_or_default());
        self.act("usage", effect).boxed()
    }

    fn console<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Console, AgentError>> {
        let number = Self::number(handle);
        let opened = move |inside: &mut Inside| {
            let run = inside.things.get(&ground.id).and_then(|thing| thing.run.as_ref());
            let run = run.filter(|run| run.number == number).ok_or_else(|| Self::gone(&ground.id))?;
            Ok(console::open(&self.world, &ground.id, number, run.first))
        };
        self.act("console", opened).boxed()
    }

    fn address(&self, _ground: &Ground, handle: &Handle) -> String {
        format!("192.0.2.{}", Self::number(handle) % 250)
    }

    fn orphans<'a>(
        &'a self,
        known: &'a BTreeSet<InstanceId>,
    ) -> BoxFuture<'a, Result<Vec<Orphan>, AgentError>> {
        let effect = move |inside: &mut Inside| {
            let unknown = inside.things.keys().filter(|id| !known.contains(id));
            Ok(unknown.map(|id| Orphan { what: "process", name: id.to_string() }).collect())
        };
        self.act("orphans", effect).boxed()
    }

    fn sweep<'a>(&'a self, orphan: &'a Orphan) -> BoxFuture<'a, Result<(), AgentError>> {
        let effect = |inside: &mut Inside| {
            inside.things.retain(|id, _| id.as_str() != orphan.name);
            Ok(())
        };
        self.act("sweep", effect).boxed()
    }
}
