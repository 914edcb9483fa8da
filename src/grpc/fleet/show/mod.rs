//! What the services say of sessions and pools, made from views.

mod address;
mod pool;
mod session;
mod training;

pub(super) use address::{Addresses, is_loopback};
pub(super) use pool::pools;
pub(super) use session::{instance_ids, mode, session_status, stream_endpoint, summary, trainer_id};
pub(super) use training::{allocated_gpus, status as training_status, training_mode_status, zmq_channels};

/// Numbers of ours that the wire wants signed and narrower.
pub(super) fn narrow<T: TryInto<i32>>(number: T) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}
