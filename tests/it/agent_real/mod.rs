//! The node agent with real containers, VMs and microVMs: `make test-agent`.

mod adopt;
mod consoles;
mod crowd;
mod ends;
mod figures;
mod fleet;
mod harness;
mod limits;
mod refusals;
