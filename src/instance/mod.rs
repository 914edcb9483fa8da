//! What an instance (a simulator, a trainer) and the orchestrator say to each other, both sides of it: the REST bodies
//! ([`contract`]), the client end of `InstanceService.Attach`, and the reset/step socket of training.

pub mod contract;
pub mod demonstration;
