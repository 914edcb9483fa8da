//! What agent and shim say to each other over the socket: a byte that says what, four that say how long, and so many bytes.

/// Of what precedes a payload.
pub const HEADER_BYTES: usize = 5;
/// Of a payload. A peer that announces more is not one of us.
pub const LONGEST_PAYLOAD: usize = 64 << 10;

/// Something that can be sent.
pub trait Frame: Sized {
    /// Appends it.
    fn encode(&self, out: &mut Vec<u8>);

    /// Out of its kind and payload; nothing when it is not one.
    fn decode(kind: u8, payload: &[u8]) -> Option<Self>;

    /// Takes the first whole one off `bytes`.
    ///
    /// # Errors
    /// A sentence, for bytes that no peer of ours sends.
    fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, String> {
        let Some((&[kind, a, b, c, d], rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > LONGEST_PAYLOAD {
            return Err(format!("a frame of {length} bytes; at most {LONGEST_PAYLOAD} are taken"));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let frame = Self::decode(kind, payload).ok_or_else(|| format!("a frame of unknown kind {kind}"))?;
        bytes.drain(..HEADER_BYTES + length);
        Ok(Some(frame))
    }
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Send the console: what the ring holds, then what comes.
    Attach,
    /// Keys.
    Input(Vec<u8>),
    /// The size of the terminal.
    Resize {
        /// Columns.
        width: u16,
        /// Lines.
        height: u16,
    },
    /// Say when it has ended.
    Watch,
    /// End, as soon as the container has.
    Quit,
}

/// From the shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The console begins with the byte of this number, counted from the run's start.
    Attached(u64),
    /// Console bytes, the first of which has this number.
    Output(u64, Vec<u8>),
    /// It has ended: an [`ExitFile`](super::ExitFile) in JSON.
    Ended(Vec<u8>),
}

fn put(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(kind);
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    parts.iter().for_each(|part| out.extend(*part));
}

impl Frame for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Attach => put(out, 1, &[]),
            Self::Input(bytes) => put(out, 2, &[bytes]),
            Self::Resize { width, height } => put(out, 3, &[&width.to_le_bytes(), &height.to_le_bytes()]),
            Self::Watch => put(out, 4, &[]),
            Self::Quit => put(out, 5, &[]),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        Some(match (kind, payload) {
            (1, []) => Self::Attach,
            (2, bytes) => Self::Input(bytes.to_vec()),
            (3, &[a, b, c, d]) => {
                Self::Resize { width: u16::from_le_bytes([a, b]), height: u16::from_le_bytes([c, d]) }
            }
            (4, []) => Self::Watch,
            (5, []) => Self::Quit,
            _ => return None,
        })
    }
}

impl Frame for Reply {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Attached(first) => put(out, 1, &[&first.to_le_bytes()]),
            Self::Output(first, bytes) => put(out, 2, &[&first.to_le_bytes(), bytes]),
            Self::Ended(file) => put(out, 3, &[file]),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        let number =
            payload.split_first_chunk::<8>().map(|(number, rest)| (u64::from_le_bytes(*number), rest));
        Some(match (kind, number) {
            (1, Some((first, []))) => Self::Attached(first),
            (2, Some((first, bytes))) => Self::Output(first, bytes.to_vec()),
            (3, _) => Self::Ended(payload.to_vec()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_of_a_stream_whole_however_it_is_cut() {
        let sent = [
            Request::Attach,
            Request::Input(b"ls\n".to_vec()),
            Request::Resize { width: 123, height: 41 },
            Request::Watch,
            Request::Input(Vec::new()),
            Request::Quit,
        ];
        let mut stream = Vec::new();
        sent.iter().for_each(|frame| frame.encode(&mut stream));
        for cut in 1..stream.len() {
            let (mut got, mut held) = (Vec::new(), Vec::new());
            for piece in stream.chunks(cut) {
                held.extend(piece);
                while let Some(frame) = Request::take(&mut held).unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, sent);
        }
        let replies =
            [Reply::Attached(7), Reply::Output(1 << 40, b"x".to_vec()), Reply::Ended(b"{}".to_vec())];
        let mut stream = Vec::new();
        replies.iter().for_each(|frame| frame.encode(&mut stream));
        for reply in replies {
            assert_eq!(Reply::take(&mut stream), Ok(Some(reply)));
        }
    }

    #[test]
    fn a_peer_that_is_none_of_ours_is_refused() {
        assert!(Request::take(&mut vec![2, 255, 255, 255, 255]).unwrap_err().contains("4294967295"));
        assert!(Request::take(&mut vec![9, 0, 0, 0, 0]).unwrap_err().contains('9'));
        assert!(Request::take(&mut vec![3, 1, 0, 0, 0, 0]).is_err(), "half a size");
        assert_eq!(Request::take(&mut vec![2, 4, 0, 0, 0, 1]), Ok(None), "not all there");
    }
}
