//! What an instance (a simulator, a trainer) and the orchestrator say to each other, both sides of it: the REST bodies
//! ([`contract`]), the client end of `InstanceService.Attach` ([`attach`]), and the reset/step socket of training ([`step`]).

pub mod attach;
pub mod contract;
pub mod demonstration;
pub mod step;
pub mod zmtp;
