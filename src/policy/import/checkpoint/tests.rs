use std::io::Write;

use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// The pickle of `{"model_state_dict": {"w": tensor}}`, as torch spells it at protocol 2.
fn tensor_pickle(storage: &str, key: &str, count: i32, offset: i32, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut out = b"\x80\x02}".to_vec();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    };
    let tuple = |out: &mut Vec<u8>, numbers: &[u8]| {
        out.push(b'(');
        numbers.iter().for_each(|number| out.extend([b'K', *number]));
        out.push(b't');
    };
    text(&mut out, "model_state_dict");
    out.push(b'}');
    text(&mut out, "w");
    out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text(&mut out, "storage");
    out.extend(format!("ctorch\n{storage}\n").as_bytes());
    text(&mut out, key);
    text(&mut out, "cpu");
    out.push(b'J');
    out.extend(count.to_le_bytes());
    out.extend(b"tQJ");
    out.extend(offset.to_le_bytes());
    tuple(&mut out, shape);
    tuple(&mut out, strides);
    out.extend(b"\x89ccollections\nOrderedDict\n)RtRss.");
    out
}

fn archive(path: &Path, members: &[(&str, &[u8])], compression: CompressionMethod) {
    let mut zip = ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in members {
        let options = SimpleFileOptions::default().compression_method(compression);
        zip.start_file(format!("archive/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// What reading `w` gives: its element and row-major bytes, or the message.
fn read(members: &[(&str, &[u8])]) -> Result<(Element, Vec<usize>, Vec<u8>), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.pt");
    archive(&path, members, CompressionMethod::Stored);
    let checkpoint = Checkpoint::open(&path).map_err(|error| error.to_string())?;
    let tensors = checkpoint.state_dict().map_err(|error| error.to_string())?;
    let tensor = &tensors["w"];
    Ok((tensor.element(), tensor.shape().to_vec(), tensor.row_major_bytes().into_owned()))
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import/checkpoint_step100.pt")
}

#[test]
fn a_checkpoint_torch_wrote_is_read_in_place() {
    let checkpoint = Checkpoint::open(&fixture()).unwrap();
    assert_eq!(checkpoint.global_step(), Some(100));
    let tensors = checkpoint.state_dict().unwrap();
    let name = "model.tactile_tower.encoder";
    let conv = &tensors[&format!("{name}.resnet.conv1.weight")];
    assert_eq!((conv.element(), conv.shape()), (Element::BF16, &[8, 3, 7, 7][..]));
    assert!(conv.is_same_memory(&tensors[&format!("{name}.backbone.0.weight")]));
    let counter = &tensors[&format!("{name}.resnet.bn1.num_batches_tracked")];
    assert_eq!((counter.element(), counter.shape()), (Element::I64, &[][..]));
    let mapped = checkpoint.map.as_ptr_range();
    assert!(mapped.contains(&conv.row_major_bytes().as_ptr()), "a plain tensor is not copied");
}

#[test]
fn every_element_type_offset_and_stride_is_followed() {
    let data: Vec<u8> = (0..96).collect();
    for (storage, element, size) in [
        ("FloatStorage", Element::F32, 4),
        ("HalfStorage", Element::F16, 2),
        ("BFloat16Storage", Element::BF16, 2),
        ("LongStorage", Element::I64, 8),
    ] {
        let pickle = tensor_pickle(storage, "0", 12, 1, &[3, 2], &[1, 4]);
        let (read_element, shape, bytes) = read(&[("data.pkl", &pickle), ("data/0", &data)]).unwrap();
        assert_eq!((read_element, shape), (element, vec![3, 2]));
        let expected: Vec<u8> =
            [1, 5, 2, 6, 3, 7].iter().flat_map(|at| data[at * size..(at + 1) * size].to_vec()).collect();
        assert_eq!(bytes, expected);
    }
}

#[test]
fn tensors_outside_their_storage_are_named() {
    let data = [0_u8; 16];
    let message = |pickle: &[u8]| read(&[("data.pkl", pickle), ("data/0", &data)]).unwrap_err();
    let float = |key, count, offset, shape: &[u8], strides: &[u8]| {
        message(&tensor_pickle("FloatStorage", key, count, offset, shape, strides))
    };
    assert!(float("0", 5, 0, &[5], &[1]).contains("should hold 5 F32 but has 16 bytes"));
    assert!(float("1", 4, 0, &[4], &[1]).contains("storage \"1\", which is not in the file"));
    assert!(float("0", 4, 9, &[1], &[1]).contains("starts at element 9"));
    assert!(float("0", 4, -1, &[1], &[1]).contains("unknown form"));
    assert!(float("0", 4, 1, &[4], &[1]).contains("`w`"));
    assert!(float("0", 4, 0, &[200], &[0]).contains("repeats"));
}

#[test]
fn what_is_no_checkpoint_is_told_apart() {
    let message = |members: &[(&str, &[u8])]| read(members).unwrap_err();
    assert!(message(&[("other", b"x")]).contains("no data.pkl"));
    assert!(message(&[("data.pkl", b"}."), ("byteorder", b"big")]).contains("big byte order"));
    assert!(message(&[("data.pkl", b"cos\nsystem\n.")]).contains("os.system"));
    let bare = b"}X\x0c\x00\x00\x00mlp.0.weightK\x01s.";
    let text = message(&[("data.pkl", bare)]);
    assert!(text.contains("no `model_state_dict`") && text.contains("mlp.0.weight"), "{text}");
    assert!(text.contains("checkpoint_stepN.pt"), "{text}");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.pt");
    let open = || Checkpoint::open(&path).unwrap_err().to_string();
    assert!(open().contains("c.pt"));
    archive(&path, &[("data.pkl", b"}.")], CompressionMethod::Deflated);
    assert!(open().contains("compressed"));
    std::fs::write(&path, b"\x80\x02}.").unwrap();
    assert!(open().contains("before 1.6"));
    let whole = std::fs::read(fixture()).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(open().contains("not a whole torch archive"));
}

#[test]
fn a_name_that_could_disturb_a_terminal_is_refused() {
    let mut pickle = tensor_pickle("FloatStorage", "0", 4, 0, &[4], &[1]);
    let at = pickle.windows(6).position(|window| window == b"X\x01\0\0\0w").unwrap();
    pickle[at + 5] = 0x1b;
    let message = read(&[("data.pkl", &pickle), ("data/0", &[0; 16])]).unwrap_err();
    assert!(message.contains("no usable name"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_mutation_of_a_real_checkpoint_panics(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        at_end in any::<bool>(),
    ) {
        let mut bytes = std::fs::read(fixture()).unwrap();
        let length = bytes.len();
        for (at, byte) in edits {
            // The pickle stands at the start, the archive's directory in the last 30 kB.
            let at = if at_end { length - 1 - at.index(30_000) } else { at.index(43_000) };
            bytes[at] = byte;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.pt");
        std::fs::write(&path, bytes).unwrap();
        if let Ok(checkpoint) = Checkpoint::open(&path)
            && let Ok(tensors) = checkpoint.state_dict()
        {
            for tensor in tensors.values() {
                prop_assert_eq!(tensor.row_major_bytes().len(), tensor.len() * tensor.element().size());
            }
        }
    }
}
