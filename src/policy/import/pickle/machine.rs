//! The stack machine: every opcode either pushes an inert node or is refused.

use std::collections::HashMap;

use super::cursor::Cursor;
use super::{Call, Global, Id, MAX_MARKS, MAX_OPCODES, Node, Pickle, PickleError, allow};

pub(super) struct Machine<'a> {
    cursor: Cursor<'a>,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    opcode: u8,
    opcode_at: usize,
}

type Step = Result<(), PickleError>;

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            cursor: Cursor::new(bytes),
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            opcode: 0,
            opcode_at: 0,
        }
    }

    pub(super) fn run(mut self) -> Result<Pickle, PickleError> {
        for _ in 0..MAX_OPCODES {
            self.opcode_at = self.cursor.at();
            self.opcode = self.cursor.byte("an opcode")?;
            if self.opcode == b'.' {
                let root = self.pop()?;
                return Ok(Pickle { nodes: self.nodes, root });
            }
            self.step()?;
        }
        Err(PickleError::Limit { what: "opcodes", limit: MAX_OPCODES })
    }

    fn step(&mut self) -> Step {
        match self.opcode {
            b'(' => self.mark(),
            b'0' => self.discard(),
            b'1' => self.pop_mark().map(drop),
            b'2' => self.top().map(|id| self.stack.push(id)),
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | 0x8b => self.integer(),
            b'F' | b'G' => self.float(),
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d => self.string(),
            b'B' | b'C' | 0x8e | 0x96 => self.byte_string(),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            b'l' | b't' | b'd' => self.collect(),
            0x85..=0x87 => self.small_tuple(usize::from(self.opcode - 0x84)),
            b'a' | b'e' => self.append(),
            b's' | b'u' => self.set_items(),
            b'p' | b'q' | b'r' | 0x94 => self.remember(),
            b'g' | b'h' | b'j' => self.recall(),
            b'c' | 0x93 => self.global(),
            b'R' | 0x81 => self.call(),
            b'b' => self.build(),
            b'P' | b'Q' => self.persistent(),
            0x80 => match self.cursor.byte("a protocol")? {
                0..=5 => Ok(()),
                protocol => self.refuse(format!("protocol {protocol} is not known (0 to 5 are)")),
            },
            0x95 => self.cursor.u64("a frame length").map(drop),
            0x98 => self.top().map(drop),
            0x82..=0x84 => self.refuse("the extension registry is not consulted"),
            b'i' | b'o' | 0x92 => {
                self.refuse("makes an instance of a class, which weights and arrays never do")
            }
            0x97 => self.refuse("refers to an out-of-band buffer, which a file does not have"),
            0x8f..=0x91 => self.refuse("sets are not part of saved weights or arrays"),
            _ => self.refuse("no such opcode"),
        }
    }

    fn refuse<T>(&self, reason: impl Into<String>) -> Result<T, PickleError> {
        Err(PickleError::Opcode { opcode: self.opcode, at: self.opcode_at, reason: reason.into() })
    }

    fn push(&mut self, node: Node) -> Step {
        // One node an opcode at most, so the index fits as long as MAX_OPCODES does.
        let id = Id(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        self.stack.push(id);
        Ok(())
    }

    /// Height below which the stack belongs to an outer mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        if self.stack.len() > self.floor()
            && let Some(id) = self.stack.pop()
        {
            return Ok(id);
        }
        self.refuse("the stack is empty here")
    }

    fn top(&self) -> Result<Id, PickleError> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => self.refuse("the stack is empty here"),
        }
    }

    fn node(&self, id: Id) -> &Node {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::None)
    }

    fn mark(&mut self) -> Step {
        if self.marks.len() >= MAX_MARKS {
            return Err(PickleError::Limit { what: "nested marks", limit: MAX_MARKS });
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height.min(self.stack.len()))),
            None => self.refuse("no mark is open here"),
        }
    }

    /// POP takes an object, or the mark itself when nothing stands above it.
    fn discard(&mut self) -> Step {
        if self.stack.len() == self.floor() { self.pop_mark().map(drop) } else { self.pop().map(drop) }
    }

    fn integer(&mut self) -> Step {
        let value = match self.opcode {
            b'K' => i64::from(self.cursor.byte("an int")?),
            b'M' => i64::from(self.cursor.u16("an int")?),
            b'J' => i64::from(i32::from_le_bytes(self.cursor.array("an int")?)),
            b'I' | b'L' => match self.cursor.line("an int")? {
                b"00" => return self.push(Node::Bool(false)),
                b"01" => return self.push(Node::Bool(true)),
                line => match decimal(line.strip_suffix(b"L").unwrap_or(line)) {
                    Some(value) => value,
                    None => return self.refuse("not a 64-bit decimal number"),
                },
            },
            long => {
                let count = match long {
                    0x8a => usize::from(self.cursor.byte("a length")?),
                    _ => self.cursor.u32("a length")? as usize,
                };
                match little_endian(self.cursor.take(count, "an int")?) {
                    Some(value) => value,
                    None => return self.refuse(format!("an int of {count} bytes does not fit 64 bits")),
                }
            }
        };
        self.push(Node::Int(value))
    }

    fn float(&mut self) -> Step {
        if self.opcode == b'G' {
            let bytes = self.cursor.array("a float")?;
            return self.push(Node::Float(f64::from_be_bytes(bytes)));
        }
        let line = self.cursor.line("a float")?;
        match std::str::from_utf8(line).ok().and_then(|text| text.trim().parse().ok()) {
            Some(value) => self.push(Node::Float(value)),
            None => self.refuse("not a float"),
        }
    }

    fn string(&mut self) -> Step {
        let text = match self.opcode {
            b'V' => raw_unicode_escape(self.cursor.line("a string")?),
            // Python 2 strings are bytes; kept one character a byte, as numpy's own `encoding="latin1"` does.
            b'S' => quoted(self.cursor.line("a string")?),
            b'T' => Some(latin1(self.cursor.counted_u32("a string")?)),
            b'U' => {
                let count = usize::from(self.cursor.byte("a length")?);
                Some(latin1(self.cursor.take(count, "a string")?))
            }
            b'X' => utf8(self.cursor.counted_u32("a string")?),
            0x8c => {
                let count = usize::from(self.cursor.byte("a length")?);
                utf8(self.cursor.take(count, "a string")?)
            }
            _ => utf8(self.cursor.counted_u64("a string")?),
        };
        match text {
            Some(text) => self.push(Node::Str(text)),
            None => self.refuse("the string is not well formed"),
        }
    }

    fn byte_string(&mut self) -> Step {
        let bytes = match self.opcode {
            b'B' => self.cursor.counted_u32("bytes")?,
            b'C' => {
                let count = usize::from(self.cursor.byte("a length")?);
                self.cursor.take(count, "bytes")?
            }
            _ => self.cursor.counted_u64("bytes")?,
        };
        self.push(Node::Bytes(bytes.to_vec()))
    }

    fn collect(&mut self) -> Step {
        let items = self.pop_mark()?;
        match self.opcode {
            b'l' => self.push(Node::List(items)),
            b't' => self.push(Node::Tuple(items)),
            _ => {
                let pairs = self.pairs(&items)?;
                self.push(Node::Dict(pairs))
            }
        }
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, PickleError> {
        let (pairs, odd) = items.as_chunks::<2>();
        if !odd.is_empty() {
            return self.refuse("a key without a value");
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn small_tuple(&mut self, count: usize) -> Step {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Node::Tuple(items))
    }

    fn append(&mut self) -> Step {
        let items = if self.opcode == b'a' { vec![self.pop()?] } else { self.pop_mark()? };
        let target = self.top()?;
        match self.nodes.get_mut(target.0 as usize) {
            Some(Node::List(list)) => {
                list.extend(items);
                Ok(())
            }
            _ => self.refuse("appends to something that is not a list"),
        }
    }

    fn set_items(&mut self) -> Step {
        let items = if self.opcode == b's' {
            let value = self.pop()?;
            vec![self.pop()?, value]
        } else {
            self.pop_mark()?
        };
        let pairs = self.pairs(&items)?;
        let target = self.top()?;
        match self.nodes.get_mut(target.0 as usize) {
            Some(Node::Dict(dict)) => dict.extend(pairs),
            Some(Node::Call(call)) if call.callable == Global::OrderedDict => call.items.extend(pairs),
            _ => return self.refuse("sets items of something that is not a dict"),
        }
        Ok(())
    }

    fn memo_index(&mut self) -> Result<u32, PickleError> {
        match self.opcode {
            b'q' | b'h' => Ok(u32::from(self.cursor.byte("a memo index")?)),
            b'r' | b'j' => self.cursor.u32("a memo index"),
            _ => {
                let line = self.cursor.line("a memo index")?;
                match decimal(line).and_then(|index| u32::try_from(index).ok()) {
                    Some(index) => Ok(index),
                    None => self.refuse("not a memo index"),
                }
            }
        }
    }

    fn remember(&mut self) -> Step {
        let index = match self.opcode {
            0x94 => u32::try_from(self.memo.len()).unwrap_or(u32::MAX),
            _ => self.memo_index()?,
        };
        let id = self.top()?;
        self.memo.insert(index, id);
        Ok(())
    }

    fn recall(&mut self) -> Step {
        let index = self.memo_index()?;
        match self.memo.get(&index) {
            Some(&id) => {
                self.stack.push(id);
                Ok(())
            }
            None => self.refuse(format!("nothing was stored under memo index {index}")),
        }
    }

    fn global(&mut self) -> Step {
        let (module, name) = if self.opcode == b'c' {
            let module = latin1(self.cursor.line("a module name")?);
            (module, latin1(self.cursor.line("a member name")?))
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (self.node(module), self.node(name)) {
                (Node::Str(module), Node::Str(name)) => (module.clone(), name.clone()),
                _ => return self.refuse("a name that is not a string"),
            }
        };
        match allow::lookup(&module, &name) {
            Some(global) => self.push(Node::Global(global)),
            None => Err(PickleError::NotAllowed { name: printable(&module, &name) }),
        }
    }

    fn call(&mut self) -> Step {
        let (args, callable) = (self.pop()?, self.pop()?);
        match (self.node(callable), self.node(args)) {
            (Node::Global(callable), Node::Tuple(_)) => {
                let call = Call { callable: *callable, args, state: None, items: Vec::new() };
                self.push(Node::Call(Box::new(call)))
            }
            (Node::Global(_), _) => self.refuse("calls with something that is not an argument tuple"),
            _ => self.refuse("calls something that is not a named function or class"),
        }
    }

    fn build(&mut self) -> Step {
        let (state, target) = (self.pop()?, self.top()?);
        match self.nodes.get_mut(target.0 as usize) {
            Some(Node::Call(call)) if call.state.is_none() => {
                call.state = Some(state);
                Ok(())
            }
            _ => self.refuse("sets the state of something that has none"),
        }
    }

    fn persistent(&mut self) -> Step {
        let id = if self.opcode == b'Q' {
            self.pop()?
        } else {
            let line = latin1(self.cursor.line("a persistent id")?);
            self.push(Node::Str(line))?;
            self.pop()?
        };
        self.push(Node::Persistent(id))
    }
}

fn decimal(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

/// Two's complement of up to eight bytes; none is zero.
fn little_endian(bytes: &[u8]) -> Option<i64> {
    let sign = if bytes.last().is_some_and(|&byte| byte >= 0x80) { 0xff } else { 0 };
    let mut wide = [sign; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}

fn utf8(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Protocol 0 text: Latin-1 bytes with `\uXXXX` and `\UXXXXXXXX`, and no other escape.
fn raw_unicode_escape(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = match (byte, tail.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                text.push(char::from(byte));
                rest = tail;
                continue;
            }
        };
        let code = std::str::from_utf8(tail.get(1..=digits)?).ok()?;
        text.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        rest = tail.get(1 + digits..)?;
    }
    Some(text)
}

/// A Python string literal in quotes, with the escapes `repr` writes.
fn quoted(line: &[u8]) -> Option<String> {
    let (&quote, body) = line.split_first()?;
    let body = body.strip_suffix(&[quote])?;
    if quote != b'\'' && quote != b'"' {
        return None;
    }
    let mut text = String::with_capacity(body.len());
    let mut bytes = body.iter().copied();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let hex = [bytes.next()?, bytes.next()?];
                    u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?
                }
                same @ (b'\\' | b'\'' | b'"') => same,
                _ => return None,
            },
            plain => plain,
        };
        text.push(char::from(decoded));
    }
    Some(text)
}

/// `module.member`, cut and cleaned so that a hostile name cannot disturb a terminal or a log.
fn printable(module: &str, name: &str) -> String {
    let shown = format!("{module}.{name}");
    shown.chars().take(120).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
