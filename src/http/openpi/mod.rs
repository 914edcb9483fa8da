//! The openpi websocket, the wire most robot clients speak: metadata first, then one answer an observation.

pub mod observation;
pub mod reply;
pub mod session;
