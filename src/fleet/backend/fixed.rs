//! Instances that somebody else runs. Those listed by URL are polled (`fleet::link::rest`); nothing is started or stopped.

use futures_util::future::{BoxFuture, FutureExt, ready};

use super::{Backend, Birth, Provided};
use crate::fleet::error::FleetError;
use crate::fleet::ids::InstanceId;

/// `static`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FixedBackend;

impl Backend for FixedBackend {
    fn kind(&self) -> &'static str {
        "static"
    }

    fn elastic(&self) -> bool {
        false
    }

    fn start(&self, birth: Birth) -> BoxFuture<'_, Result<(), FleetError>> {
        let message = format!("{} can not be started: a static pool has what it lists", birth.name);
        ready(Err(FleetError::Precondition(message))).boxed()
    }

    fn stop(&self, _instance: InstanceId) -> BoxFuture<'_, Result<(), FleetError>> {
        ready(Ok(())).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Provided>, FleetError>> {
        ready(Ok(Vec::new())).boxed()
    }
}
