//! The books over a real SQLite file: many callers at once, crashes at every commit, a disk that is full, restarts.

mod crash;
mod fleet;
mod race;
mod reopen;
