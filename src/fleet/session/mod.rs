//! A session's life: what it asks of its instances, and what is remembered of it besides its row.
//!
//! Every session that has not ended has one task, its [`driver`]. It compares what the books say with what was done
//! already ([`memo`]) and does the rest, so a notice that comes twice, a restart and a lost member all take the same way.

pub mod checkpoint;
pub mod driver;
pub mod house;
pub mod live;
pub mod look;
pub mod memo;
mod orders;
mod raise;
pub mod restore;
mod save;
mod train;
pub mod wish;
