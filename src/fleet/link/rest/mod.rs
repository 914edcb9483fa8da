//! Simulators that are listed in the configuration instead of attaching: they are polled, and orders become calls of the
//! [instance contract](crate::instance::contract).

mod call;
mod poll;
#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};
use uuid::Builder;

pub use call::RestLink;
pub use poll::{Polled, poll};

use crate::fleet::ids::InstanceId;

/// The id of an instance that has none of its own: always the same for one URL, so that a restart finds it again. A
/// version 8 UUID (RFC 9562: the bytes are the maker's own), here of a SHA-256.
#[must_use]
pub fn id_of_url(url: &str) -> InstanceId {
    let digest: [u8; 32] =
        Sha256::digest(format!("neuro static instance {}", url.trim_end_matches('/'))).into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(digest.first_chunk::<16>().unwrap_or(&[0; 16]));
    InstanceId(Builder::from_custom_bytes(bytes).into_uuid())
}
