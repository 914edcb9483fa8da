//! Writes a safetensors file front to back, so that a model larger than memory can be written.
//!
//! The `safetensors` crate wants every tensor's bytes as one slice; here they may come piece by piece.
//! Format: an 8-byte little-endian header length, a JSON header padded with spaces to 8 bytes, then the
//! tensors without gaps (<https://github.com/huggingface/safetensors#format>).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::element::Element;

/// One tensor of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Number format.
    pub element: Element,
    /// Shape, outermost dimension first.
    pub shape: Vec<usize>,
}

impl Entry {
    /// Elements in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.shape.iter().map(|side| *side as u64).product()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes it takes.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        self.len() * self.element.size() as u64
    }
}

/// A file being written.
#[derive(Debug)]
pub struct Writer {
    file: BufWriter<File>,
    remaining: u64,
}

/// Puts entries in the order their bytes are written: wide elements first, so that each is aligned.
pub fn sort(entries: &mut [Entry]) {
    entries.sort_by(|a, b| b.element.size().cmp(&a.element.size()).then_with(|| a.name.cmp(&b.name)));
}

impl Writer {
    /// Creates the file and writes its header. The bytes of `entries` follow by [`Writer::write`], in order.
    ///
    /// # Errors
    /// What the file system reported.
    pub fn create(path: &Path, entries: &[Entry]) -> io::Result<Self> {
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!({ "format": "pt" }));
        let mut offset = 0_u64;
        for entry in entries {
            let end = offset + entry.byte_len();
            let described: Value = json!({
                "dtype": entry.element.name(), "shape": entry.shape, "data_offsets": [offset, end],
            });
            header.insert(entry.name.clone(), described);
            offset = end;
        }
        let mut text = Value::Object(header).to_string();
        text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(&(text.len() as u64).to_le_bytes())?;
        file.write_all(text.as_bytes())?;
        Ok(Self { file, remaining: offset })
    }

    /// Appends bytes of the tensors.
    ///
    /// # Errors
    /// What the file system reported, or more bytes than the header promised.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.remaining = self
            .remaining
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| io::Error::other("more bytes than the tensors of the header take"))?;
        self.file.write_all(bytes)
    }

    /// Completes the file and has it reach the disk.
    ///
    /// # Errors
    /// What the file system reported, or fewer bytes than the header promised.
    pub fn finish(mut self) -> io::Result<()> {
        if self.remaining > 0 {
            return Err(io::Error::other(format!("{} bytes of tensors were not written", self.remaining)));
        }
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn the_reference_reader_reads_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let entry = |name: &str, element, shape: &[usize]| Entry {
            name: name.into(),
            element,
            shape: shape.to_vec(),
        };
        let mut entries = vec![
            entry("half", Element::BF16, &[3]),
            entry("b", Element::F32, &[1, 2]),
            entry("a", Element::F32, &[]),
            entry("steps", Element::I64, &[]),
        ];
        sort(&mut entries);
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["steps", "a", "b", "half"]);
        let mut writer = Writer::create(&path, &entries).unwrap();
        let bytes: Vec<u8> = (0..26).collect();
        writer.write(&bytes[..9]).unwrap();
        assert!(writer.write(&[0; 18]).is_err());
        let mut writer = Writer::create(&path, &entries).unwrap();
        writer.write(&bytes[..9]).unwrap();
        writer.write(&bytes[9..]).unwrap();
        writer.finish().unwrap();
        let file = std::fs::read(&path).unwrap();
        let read = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(read.tensor("b").unwrap().data(), &bytes[12..20]);
        assert_eq!(read.tensor("half").unwrap().shape(), [3]);
        assert!(Writer::create(&path, &entries).unwrap().finish().is_err());
    }
}
