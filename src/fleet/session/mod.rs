//! A session's life: what it asks of its instances, and what is remembered of it besides its row.

pub mod memo;
