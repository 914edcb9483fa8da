//! A look at one object of a pickle.

use super::{Global, Id, Node, Pickle};

/// One object, borrowed from its pickle. Accessors answer `None` when the object is of another kind.
#[derive(Clone, Copy)]
pub struct Value<'p> {
    pickle: &'p Pickle,
    id: Id,
}

impl<'p> Value<'p> {
    pub(super) fn new(pickle: &'p Pickle, id: Id) -> Self {
        Self { pickle, id }
    }

    fn node(self) -> &'p Node {
        self.pickle.nodes.get(self.id.0 as usize).unwrap_or(&Node::None)
    }

    fn at(self, id: Id) -> Self {
        Self { pickle: self.pickle, id }
    }

    /// The kind of object, for messages.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self.node() {
            Node::None => "None",
            Node::Bool(_) => "a bool",
            Node::Int(_) => "an int",
            Node::Float(_) => "a float",
            Node::Str(_) => "a string",
            Node::Bytes(_) => "bytes",
            Node::List(_) => "a list",
            Node::Tuple(_) => "a tuple",
            Node::Dict(_) => "a dict",
            Node::Global(_) => "a class or function",
            Node::Persistent(_) => "a storage",
            Node::Call(call) => match call.callable {
                Global::OrderedDict => "an OrderedDict",
                Global::RebuildTensor | Global::RebuildParameter => "a torch tensor",
                Global::NumpyReconstruct | Global::NumpyFromBuffer => "a numpy array",
                Global::NumpyScalar => "a numpy scalar",
                _ => "an object",
            },
        }
    }

    /// Whether this is Python's `None`.
    #[must_use]
    pub fn is_none(self) -> bool {
        matches!(self.node(), Node::None)
    }

    /// A bool.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        if let Node::Bool(value) = self.node() { Some(*value) } else { None }
    }

    /// An int.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        if let Node::Int(value) = self.node() { Some(*value) } else { None }
    }

    /// An int that is a size.
    #[must_use]
    pub fn as_usize(self) -> Option<usize> {
        self.as_i64().and_then(|value| usize::try_from(value).ok())
    }

    /// A float or an int.
    #[must_use]
    pub fn as_f64(self) -> Option<f64> {
        match self.node() {
            Node::Float(value) => Some(*value),
            Node::Int(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// A string.
    #[must_use]
    pub fn as_str(self) -> Option<&'p str> {
        if let Node::Str(value) = self.node() { Some(value) } else { None }
    }

    /// Bytes, also as protocols 0 to 2 spell them (`_codecs.encode(text, "latin1")`).
    #[must_use]
    pub fn to_bytes(self) -> Option<Vec<u8>> {
        if let Node::Bytes(value) = self.node() {
            return Some(value.clone());
        }
        let (Global::CodecsEncode, args) = self.as_call()? else { return None };
        let text = args.item(0)?.as_str()?;
        if args.item(1).is_some_and(|codec| codec.as_str() != Some("latin1")) {
            return None;
        }
        text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
    }

    /// Elements of a list or tuple.
    #[must_use]
    pub fn items(self) -> Option<impl ExactSizeIterator<Item = Value<'p>>> {
        match self.node() {
            Node::List(items) | Node::Tuple(items) => Some(items.iter().map(move |&id| self.at(id))),
            _ => None,
        }
    }

    /// One element of a list or tuple.
    #[must_use]
    pub fn item(self, index: usize) -> Option<Value<'p>> {
        self.items()?.nth(index)
    }

    /// Key and value pairs of a dict or `OrderedDict`, in the order they were set.
    #[must_use]
    pub fn entries(self) -> Option<Vec<(Value<'p>, Value<'p>)>> {
        let pair = |&(key, value): &(Id, Id)| (self.at(key), self.at(value));
        match self.node() {
            Node::Dict(items) => Some(items.iter().map(pair).collect()),
            Node::Call(call) if call.callable == Global::OrderedDict => {
                let mut entries = Vec::new();
                for given in self.at(call.args).item(0).and_then(Value::items).into_iter().flatten() {
                    entries.push((given.item(0)?, given.item(1)?));
                }
                entries.extend(call.items.iter().map(pair));
                Some(entries)
            }
            _ => None,
        }
    }

    /// The value last set under a string key of a dict or `OrderedDict`.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Value<'p>> {
        self.entries()?.into_iter().rev().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// A call the pickle asks for: what of, and its argument tuple.
    #[must_use]
    pub fn as_call(self) -> Option<(Global, Value<'p>)> {
        if let Node::Call(call) = self.node() { Some((call.callable, self.at(call.args))) } else { None }
    }

    /// What a call's result would be given as state.
    #[must_use]
    pub fn state(self) -> Option<Value<'p>> {
        if let Node::Call(call) = self.node() { call.state.map(|id| self.at(id)) } else { None }
    }

    /// An allow-listed name itself.
    #[must_use]
    pub fn as_global(self) -> Option<Global> {
        if let Node::Global(global) = self.node() { Some(*global) } else { None }
    }

    /// The description of an object stored outside the pickle.
    #[must_use]
    pub fn as_persistent(self) -> Option<Value<'p>> {
        if let Node::Persistent(id) = self.node() { Some(self.at(*id)) } else { None }
    }

    /// The names of a dict's string keys, the first `limit` of them, for messages.
    #[must_use]
    pub fn key_names(self, limit: usize) -> Vec<String> {
        let entries = self.entries().unwrap_or_default();
        entries.iter().filter_map(|(key, _)| key.as_str()).take(limit).map(str::to_owned).collect()
    }
}
