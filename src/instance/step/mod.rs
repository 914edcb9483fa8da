//! reset/step over ZeroMQ: the REP socket of a simulator ([`StepServer`]) and the other end in a trainer ([`StepClient`]).
//!
//! JSON, one message each way, and plain REQ clients and REP servers of other libraries fit both ends:
//!
//! | request | answer |
//! |---|---|
//! | `{"cmd":"reset","seed":42}` | [`Begun`] |
//! | `{"cmd":"step","action":[..],"timestamp":t}` | [`Stepped`] |
//! | `{"cmd":"spec"}` | [`Spec`] |
//! | `{"cmd":"close"}` | `{"status":"ok"}` |
//! | anything else | `{"error":"a sentence"}` |

#[cfg(test)]
pub(crate) mod cart;
mod client;
mod message;
mod server;
#[cfg(test)]
mod tests;

pub use client::{StepClient, StepError};
pub use message::{ActionSpace, Answer, Begun, Info, Request, Spec, Stepped};
pub use server::{Handler, StepServer};
