mod arbitration;
mod demonstrations;
pub mod fleet;
mod lines;
mod policies;
