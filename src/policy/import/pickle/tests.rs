use proptest::prelude::*;

use super::*;

fn refused(bytes: &[u8]) -> String {
    parse(bytes).unwrap_err().to_string()
}

fn stats_fixtures() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import/stats");
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn a_name_outside_the_list_is_refused_however_it_is_spelt() {
    let wanted = "os.system: not on the allow-list; nothing was executed";
    assert!(refused(b"cos\nsystem\n(S'touch pwned'\ntR.").contains(wanted));
    assert!(refused(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.").contains(wanted));
    assert!(refused(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93.").contains(wanted));
    assert!(refused(b"(ios\nsystem\n.").contains("instance of a class"));
    assert!(refused(b"(cbuiltins\neval\no.").contains("builtins.eval"));
    assert!(refused(b"ctorch.storage\n_load_from_bytes\n.").contains("torch.storage._load_from_bytes"));
    assert!(refused(b"ctorch\nstorage.UntypedStorage\n.").contains("not on the allow-list"));
    assert!(refused(b"\x80\x02\x82\x01.").contains("extension registry"));
    assert!(refused(b"cos\x1b[31m\nsystem\n.").contains("os\u{fffd}[31m"));
}

#[test]
fn only_listed_names_are_called() {
    assert!(refused(b"X\x02\x00\x00\x00os)R.").contains("not a named function"));
    let dict = b"ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00aK\x02u.";
    let pickle = parse(dict).unwrap();
    assert_eq!(pickle.root().entries().unwrap().len(), 2);
    assert_eq!(pickle.root().get("a").and_then(Value::as_i64), Some(2));
    assert!(refused(b"cnumpy\nndarray\n)RK\x01K\x02s.").contains("not a dict"));
}

#[test]
fn an_object_filled_after_it_was_remembered_is_filled_wherever_it_is_used() {
    let pickle = parse(b"\x80\x02]q\x00K\x07ah\x00\x86.").unwrap();
    let root = pickle.root();
    assert_eq!(root.item(0).and_then(|list| list.item(0)).and_then(Value::as_i64), Some(7));
    assert_eq!(root.item(1).and_then(|list| list.item(0)).and_then(Value::as_i64), Some(7));
}

#[test]
fn a_list_that_holds_itself_is_harmless() {
    let pickle = parse(b"]q\x00h\x00a.").unwrap();
    let mut value = pickle.root();
    for _ in 0..100_000 {
        value = value.item(0).unwrap();
    }
    assert_eq!(value.kind(), "a list");
}

#[test]
fn numbers_and_strings_of_every_protocol() {
    let int = |bytes: &[u8]| parse(bytes).unwrap().root().as_i64();
    assert_eq!(int(b"I-12\n."), Some(-12));
    assert_eq!(int(b"L99L\n."), Some(99));
    assert_eq!(int(b"J\xff\xff\xff\xff."), Some(-1));
    assert_eq!(int(b"\x8a\x00."), Some(0));
    assert_eq!(int(b"\x8a\x02\x00\xff."), Some(-256));
    assert_eq!(int(b"\x8b\x01\x00\x00\x00\x80."), Some(-128));
    assert!(refused(b"\x8a\x09aaaaaaaaa.").contains("does not fit 64 bits"));
    assert_eq!(parse(b"I01\n.").unwrap().root().as_bool(), Some(true));
    assert_eq!(parse(b"G\x3f\xf8\x00\x00\x00\x00\x00\x00.").unwrap().root().as_f64(), Some(1.5));
    assert_eq!(parse(b"F-2.5e3\n.").unwrap().root().as_f64(), Some(-2500.0));
    let text = |bytes: &[u8]| parse(bytes).unwrap().root().as_str().map(str::to_owned);
    assert_eq!(text(b"V\\u00e9\\U0001f600\n.").as_deref(), Some("\u{e9}\u{1f600}"));
    assert_eq!(text(b"S'a\\x41\\'\\n'\n.").as_deref(), Some("aA'\n"));
    assert_eq!(text(b"U\x01\xe9.").as_deref(), Some("\u{e9}"));
    assert!(refused(b"\x8c\x01\xff.").contains("not well formed"));
}

#[test]
fn a_stack_is_never_read_below_its_mark() {
    for bytes in [&b"."[..], b"a.", b"K\x01(\x85.", b"t.", b"K\x01(R.", b"(.", b"s.", b"h\x00."] {
        let message = refused(bytes);
        assert!(message.contains("byte"), "{message}");
    }
    assert_eq!(parse(b"K\x01(0K\x02(1.").unwrap().root().as_i64(), Some(2));
}

#[test]
fn lengths_beyond_the_file_and_endless_nesting_end_early() {
    assert!(refused(b"X\xff\xff\xff\xffabc").contains("ends at byte 8"));
    assert!(refused(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc").contains("ends at byte"));
    assert!(refused(&[b'('; 4096]).contains("nested marks"));
    let mut tuples = vec![b'N'];
    tuples.extend(std::iter::repeat_n(0x85, 1_000_000));
    tuples.push(b'.');
    assert_eq!(parse(&tuples).unwrap().root().kind(), "a tuple");
    assert!(refused(&vec![b'N'; MAX_OPCODES + 2]).contains("opcodes"));
}

/// Touches everything a reader above would.
fn explore(pickle: &Pickle) {
    let mut open = vec![pickle.root()];
    for _ in 0..2000 {
        let Some(value) = open.pop() else { break };
        let _ = (value.kind(), value.to_bytes(), value.as_usize(), value.key_names(3), value.as_f64());
        open.extend(value.items().into_iter().flatten());
        open.extend(value.entries().into_iter().flatten().flat_map(|(key, value)| [key, value]));
        open.extend(value.as_call().map(|(_, args)| args));
        open.extend(value.state());
        open.extend(value.as_persistent());
        drop(crate::policy::import::ndarray::numbers(value));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(pickle) = parse(&bytes) {
            explore(&pickle);
        }
    }

    #[test]
    fn no_mutation_of_a_real_file_panics(
        file in 0_usize..16,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut bytes = stats_fixtures().swap_remove(file);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(pickle) = parse(&bytes) {
            explore(&pickle);
        }
    }
}
