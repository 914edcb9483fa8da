//! Schema data of MCAP's protobuf encoding: the file that has the message, with every file it imports, as a
//! `FileDescriptorSet`.

use std::collections::HashSet;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use crate::proto::foxglove::DESCRIPTORS;

/// What a reader needs to decode messages of this full name; `None` when it is not compiled in.
pub(super) fn descriptors_of(full_name: &str) -> Option<Vec<u8>> {
    let all = FileDescriptorSet::decode(DESCRIPTORS).ok()?.file;
    let (package, name) = full_name.rsplit_once('.')?;
    let home = all.iter().find(|file| {
        file.package() == package && file.message_type.iter().any(|message| message.name() == name)
    })?;
    let mut file = Vec::new();
    collect(&all, home, &mut HashSet::new(), &mut file);
    Some(FileDescriptorSet { file }.encode_to_vec())
}

/// Imports first, each once; comments are left out.
fn collect(
    all: &[FileDescriptorProto],
    file: &FileDescriptorProto,
    seen: &mut HashSet<String>,
    into: &mut Vec<FileDescriptorProto>,
) {
    if !seen.insert(file.name().to_owned()) {
        return;
    }
    for import in all.iter().filter(|other| file.dependency.iter().any(|name| name == other.name())) {
        collect(all, import, seen, into);
    }
    into.push(FileDescriptorProto { source_code_info: None, ..file.clone() });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(full_name: &str) -> Vec<String> {
        let set = FileDescriptorSet::decode(descriptors_of(full_name).unwrap().as_slice()).unwrap();
        set.file.iter().map(|file| file.name().to_owned()).collect()
    }

    #[test]
    fn a_schema_brings_its_imports_before_itself_and_nothing_else() {
        let timestamp = "google/protobuf/timestamp.proto";
        assert_eq!(files("foxglove.CompressedImage"), [timestamp, "camera.proto"]);
        let scene = files("foxglove.SceneUpdate");
        assert_eq!(scene.last().unwrap(), "scene.proto");
        assert!(scene.contains(&"google/protobuf/duration.proto".to_owned()));
        assert_eq!(scene.len(), 4);
    }

    #[test]
    fn a_name_that_is_no_schema_has_none() {
        assert_eq!(descriptors_of("foxglove.Vector4"), None);
        assert_eq!(descriptors_of("Vector3"), None);
    }
}
