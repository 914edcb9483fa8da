//! Topics and messages of an MCAP file.

use std::collections::BTreeMap;
use std::io::Write;

use mcap::records::{MessageHeader, Metadata};
use mcap::write::NoSeek;
use mcap::{WriteOptions, Writer};
use prost::Message;
use prost_types::Timestamp;

use super::schema;
use crate::export::ExportError;

/// A chunk is closed when it has that many bytes: as many as a reader loads to show one instant.
const CHUNK_BYTES: u64 = 1 << 20;

/// A topic of the file.
pub(super) struct Topic(u16);

/// The file, from its first byte to its last.
pub(super) struct Outlet<W: Write> {
    writer: Option<Writer<NoSeek<W>>>,
    sequences: BTreeMap<u16, u32>,
    encoded: Vec<u8>,
}

/// Microseconds since 1970 as protobuf has them.
pub(super) fn stamp(time_us: i64) -> Timestamp {
    let nanos = i32::try_from(time_us.rem_euclid(1_000_000) * 1000).unwrap_or_default();
    Timestamp { seconds: time_us.div_euclid(1_000_000), nanos }
}

impl<W: Write> Outlet<W> {
    pub(super) fn new(out: W) -> Result<Self, ExportError> {
        let writer = WriteOptions::new()
            .library(concat!("neuro ", env!("CARGO_PKG_VERSION")))
            .compression(None)
            .chunk_size(Some(CHUNK_BYTES))
            .disable_seeking(true)
            .create(NoSeek::new(out))?;
        Ok(Self { writer: Some(writer), sequences: BTreeMap::new(), encoded: Vec::new() })
    }

    /// A topic whose messages are of a schema, given by its full name.
    pub(super) fn topic(&mut self, name: &str, schema: &'static str) -> Result<Topic, ExportError> {
        self.topic_with(name, schema, &BTreeMap::new())
    }

    /// The same, with facts about the topic.
    pub(super) fn topic_with(
        &mut self,
        name: &str,
        schema: &'static str,
        facts: &BTreeMap<String, String>,
    ) -> Result<Topic, ExportError> {
        let descriptors = schema::descriptors_of(schema).ok_or(ExportError::Schema(schema))?;
        let writer = self.writer.as_mut().ok_or(ExportError::GivenUp)?;
        let schema = writer.add_schema(schema, "protobuf", &descriptors)?;
        Ok(Topic(writer.add_channel(schema, name, "protobuf", facts)?))
    }

    pub(super) fn send(
        &mut self,
        topic: &Topic,
        time_us: i64,
        message: &impl Message,
    ) -> Result<(), ExportError> {
        let writer = self.writer.as_mut().ok_or(ExportError::GivenUp)?;
        let sequence = self.sequences.entry(topic.0).or_default();
        let time_ns = u64::try_from(time_us).unwrap_or_default().saturating_mul(1000);
        let header = MessageHeader {
            channel_id: topic.0,
            sequence: *sequence,
            log_time: time_ns,
            publish_time: time_ns,
        };
        *sequence = sequence.wrapping_add(1);
        self.encoded.clear();
        // A Vec takes all there is.
        message.encode_raw(&mut self.encoded);
        Ok(writer.write_to_known_channel(&header, &self.encoded)?)
    }

    /// Writes a metadata record and what belongs at the end of a file.
    pub(super) fn finish(
        &mut self,
        name: &str,
        metadata: BTreeMap<String, String>,
    ) -> Result<(), ExportError> {
        let mut writer = self.writer.take().ok_or(ExportError::GivenUp)?;
        writer.write_metadata(&Metadata { name: name.to_owned(), metadata })?;
        writer.finish()?;
        Ok(writer.into_inner().into_inner().flush()?)
    }
}
