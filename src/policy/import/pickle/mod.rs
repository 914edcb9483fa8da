//! Reads a Python pickle as data, and never runs it.
//!
//! A pickle is a program for a small stack machine that may name any function of the interpreter and call it.
//! The machine here has no functions: a call becomes an inert [`Call`] node (name, arguments, state), and a
//! name that is not on the list in [`allow`] ends the reading at once. What the calls mean (a tensor, an array)
//! is decided by the readers above, which look at the nodes as plain data.
//!
//! Nodes live in one flat arena and refer to each other by index, as objects of a pickle do through its memo.
//! So nothing recurses, neither here nor on drop, and shared or cyclic objects cost no more than their bytes.
//! Opcodes after the `pickletools` module of CPython 3.13, protocols 0 to 5.

pub mod allow;
mod cursor;
mod machine;
mod value;

pub use allow::Global;
pub use value::Value;

/// Longest pickle read; the full-size network's is about 0.2 MB.
pub const MAX_BYTES: usize = 64 << 20;
/// Most opcodes executed; bounds time, and memory to about 40 bytes each.
pub const MAX_OPCODES: usize = 4 << 20;
/// Deepest nesting of open marks.
pub const MAX_MARKS: usize = 1024;

/// Why a pickle was refused. Nothing of it was executed, whichever it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// A module member that is not on the allow-list.
    #[error("pickle refers to {name}: not on the allow-list; nothing was executed")]
    NotAllowed {
        /// `module.member` as the pickle spells it.
        name: String,
    },
    /// The bytes end inside an opcode or before STOP.
    #[error("pickle ends at byte {at}, where {wanted} was expected")]
    Truncated {
        /// Offset of the missing bytes.
        at: usize,
        /// What should have stood there.
        wanted: &'static str,
    },
    /// An opcode that saved weights and arrays never use.
    #[error("pickle opcode 0x{opcode:02x} at byte {at}: {reason}")]
    Opcode {
        /// The opcode byte.
        opcode: u8,
        /// Its offset.
        at: usize,
        /// Why it cannot be followed.
        reason: String,
    },
    /// A bound that no honest file reaches.
    #[error("pickle exceeds a limit: {what} (at most {limit})")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
}

/// Position of a node in its pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u32);

/// A call that a pickle asks for and nobody makes.
#[derive(Debug)]
struct Call {
    /// What would be called.
    callable: Global,
    /// The argument tuple.
    args: Id,
    /// What would be given to `__setstate__`.
    state: Option<Id>,
    /// Items that would be set on the result.
    items: Vec<(Id, Id)>,
}

#[derive(Debug)]
enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Call(Box<Call>),
    /// A reference to something stored outside the pickle, by its description.
    Persistent(Id),
}

/// The objects of a pickle.
#[derive(Debug)]
pub struct Pickle {
    nodes: Vec<Node>,
    root: Id,
}

impl Pickle {
    /// The object that was pickled.
    #[must_use]
    pub fn root(&self) -> Value<'_> {
        Value::new(self, self.root)
    }
}

/// Reads the first object of `bytes`; what follows its STOP is ignored, as Python does.
///
/// # Errors
/// [`PickleError`] says which byte, name or limit was wrong. Never panics, whatever the bytes.
pub fn parse(bytes: &[u8]) -> Result<Pickle, PickleError> {
    if bytes.len() > MAX_BYTES {
        return Err(PickleError::Limit { what: "bytes", limit: MAX_BYTES });
    }
    machine::Machine::new(bytes).run()
}

#[cfg(test)]
mod tests;
