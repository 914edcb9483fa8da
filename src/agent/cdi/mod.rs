//! Devices by CDI: documents in folders of the host say what a named device is, and what of it goes into a container. A
//! request names devices; only documents that the node's owner put there say what they are.

mod document;
mod edits;
mod registry;

pub use document::{Device, DeviceNode, Document, Edits, Hook, Mount};
pub use edits::apply;
pub use registry::Registry;
