//! The driver as actors see it: each call, and what does it.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{NAME, QemuDriver, cage, check, found, parts};
use crate::agent::driver::{Ability, Console, Driver, Ground, Handle, Observed, Orphan, Usage};
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::record::Exit;
use crate::agent::spec::{Kind, Spec};

impl Driver for QemuDriver {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn probe(&self) -> BoxFuture<'_, Ability> {
        Box::pin(async { found::ability(self.kind, self.finding().await) })
    }

    fn check(&self, spec: &Spec) -> Result<(), AgentError> {
        check::check(self.kind, &self.options.settings.qemu, spec)
    }

    fn prepare<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(self.make_parts(ground))
    }

    fn start<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<Handle, AgentError>> {
        Box::pin(self.begin(ground))
    }

    fn ask_to_stop<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(async {
            let asked = self.live(ground, handle)?.execute("system_powerdown", Value::Null).await;
            asked.map(drop).map_err(|error| AgentError::internal(format!("stop of {}", ground.id), error))
        })
    }

    fn kill<'a>(&'a self, ground: &'a Ground, handle: &'a Handle) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(async {
            let killed = self.live(ground, handle)?.kill().await;
            killed.map_err(|error| AgentError::internal(format!("end of {}", ground.id), error))
        })
    }

    fn recover<'a>(
        &'a self,
        ground: &'a Ground,
        handle: Option<&'a Handle>,
    ) -> BoxFuture<'a, Result<Option<(Handle, Observed)>, AgentError>> {
        Box::pin(self.find_again(ground, handle))
    }

    fn ended<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Exit, AgentError>> {
        Box::pin(async {
            let exit = self.live(ground, handle)?.ended().await;
            exit.map_err(|error| AgentError::internal(format!("watch over {}", ground.id), error))
        })
    }

    fn settle<'a>(&'a self, ground: &'a Ground, handle: &'a Handle) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(async {
            let failed = |error| AgentError::internal(format!("end of {}", ground.id), error);
            self.live(ground, handle)?.quit().await.map_err(failed)?;
            self.lives().remove(&ground.id);
            self.uncage(&ground.id).await?;
            parts::remove_sockets(ground).map_err(failed)
        })
    }

    fn destroy<'a>(&'a self, ground: &'a Ground) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(self.clear_away(ground))
    }

    fn usage<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Usage, AgentError>> {
        Box::pin(self.measure(ground, handle))
    }

    fn console<'a>(
        &'a self,
        ground: &'a Ground,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<Console, AgentError>> {
        Box::pin(self.attach(ground, handle))
    }

    fn address(&self, ground: &Ground, _handle: &Handle) -> String {
        self.guest_address(ground)
    }

    fn orphans<'a>(
        &'a self,
        known: &'a BTreeSet<InstanceId>,
    ) -> BoxFuture<'a, Result<Vec<Orphan>, AgentError>> {
        Box::pin(async { Ok(found::orphans(self.kind, &self.options.mark, known).await) })
    }

    fn sweep<'a>(&'a self, orphan: &'a Orphan) -> BoxFuture<'a, Result<(), AgentError>> {
        Box::pin(found::sweep(&self.options.mark, orphan))
    }

    fn close(&self) {
        cage::close(&self.options.mark);
    }
}
