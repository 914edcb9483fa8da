//! The conductor with its real books, links and disk; only the instances are made up.

mod fake;
mod house;
mod lives;
mod queue;
mod recovery;
mod restart;
mod saving;
mod training;

use fake::Fake;
use house::{Home, manual, phases, training as train_request, until};
