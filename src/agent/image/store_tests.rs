//! The store over real archives: what is taken in, what is refused, what stays.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::store::{ImageStore, Import, Imported, What};
use crate::agent::error::AgentError;

const NOBODY: BTreeSet<String> = BTreeSet::new();

fn sha(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn entry(kind: EntryType, path: &str, link: &str, contents: &[u8]) -> (Header, Vec<u8>) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(contents.len() as u64);
    header.set_mode(if kind == EntryType::Directory { 0o750 } else { 0o640 });
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(1_000_000);
    // Written raw: the crate refuses names that an attacker would not.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    (header, contents.to_vec())
}

fn file(path: &str, contents: &str) -> (Header, Vec<u8>) {
    entry(EntryType::Regular, path, "", contents.as_bytes())
}

fn layer(entries: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (header, contents) in entries {
        archive.append(header, contents.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// An OCI layout of these layers, packed by gzip, with one image `NAME`.
fn layout(folder: &Path, name: &str, layers: &[Vec<u8>], change: impl Fn(&mut Value)) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8], kind: &str| {
        let digest = sha(bytes);
        fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
        json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": bytes.len() })
    };
    let plain: Vec<String> = layers.iter().map(|layer| sha(layer)).collect();
    let packed: Vec<Value> = layers.iter().map(|layer| blob(&gzip(layer), "layer.v1.tar+gzip")).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {
            "Env": ["PATH=/bin", "A=b=c"], "Entrypoint": ["/bin/tool"], "Cmd": ["--serve"], "WorkingDir": "/srv",
            "User": "7:8", "StopSignal": "SIGINT",
        },
        "rootfs": { "type": "layers", "diff_ids": plain },
    });
    let config = blob(&serde_json::to_vec(&config).unwrap(), "config.v1+json");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": packed });
    let mut manifest = blob(&serde_json::to_vec(&manifest).unwrap(), "manifest.v1+json");
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    let mut index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    change(&mut index);
    fs::write(folder.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn packed(folder: &Path) -> PathBuf {
    let path = folder.with_extension("tar");
    let mut archive = Builder::new(fs::File::create(&path).unwrap());
    archive.follow_symlinks(false);
    archive.append_dir_all(".", folder).unwrap();
    archive.finish().unwrap();
    path
}

struct Yard {
    _folder: tempfile::TempDir,
    path: PathBuf,
    store: ImageStore,
}

impl Yard {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let store = ImageStore::open(&path.join("data")).unwrap();
        Self { _folder: folder, path, store }
    }

    fn take(&self, name: &str, from: impl Into<PathBuf>, what: What) -> Result<Imported, AgentError> {
        let import = Import { name: name.into(), from: from.into(), what, replace: false };
        self.store.import(&import, &NOBODY)
    }

    /// One layer as an image: its folder, or why not.
    fn unpack(&self, entries: &[(Header, Vec<u8>)]) -> Result<PathBuf, AgentError> {
        let folder = self.path.join("layout");
        layout(&folder, "one", &[layer(entries)], |_| {});
        let taken = self.take("one", &folder, What::Oci(None));
        fs::remove_dir_all(&folder).unwrap();
        taken.map(|_| self.store.root("one").unwrap().layers.remove(0))
    }

    fn stored(&self, part: &str) -> usize {
        self.path.join("data/images").join(part).read_dir().unwrap().count()
    }
}

#[test]
fn an_oci_layout_is_an_image_with_its_layers_uppermost_first() {
    let yard = Yard::new();
    let folder = yard.path.join("layout");
    let lower = layer(&[entry(EntryType::Directory, "srv/", "", b""), file("srv/a", "lower")]);
    let upper = layer(&[file("srv/a", "upper"), entry(EntryType::Symlink, "srv/b", "a", b"")]);
    layout(&folder, "tool:1", &[lower, upper], |_| {});
    let taken = yard.take("tool:1", &folder, What::Oci(None)).unwrap();
    assert_eq!((taken.image.size_bytes, taken.left_out), (10, 0));

    let root = yard.store.root("tool:1").unwrap();
    let texts: Vec<String> =
        root.layers.iter().map(|layer| fs::read_to_string(layer.join("srv/a")).unwrap()).collect();
    assert_eq!(texts, ["upper", "lower"]);
    assert_eq!((root.entrypoint, root.cmd), (vec!["/bin/tool".to_owned()], vec!["--serve".to_owned()]));
    assert_eq!((root.env["A"].as_str(), root.working_dir.as_str()), ("b=c", "/srv"));
    assert_eq!((root.user.as_str(), root.stop_signal.as_str()), ("7:8", "SIGINT"));

    let about = fs::symlink_metadata(root.layers[1].join("srv/a")).unwrap();
    assert_eq!((about.mode() & 0o7777, about.mtime()), (0o640, 1_000_000));
    let folder = fs::symlink_metadata(root.layers[1].join("srv")).unwrap();
    assert_eq!((folder.mode() & 0o7777, folder.mtime()), (0o750, 1_000_000));
    if rustix::process::geteuid().is_root() {
        assert_eq!((about.uid(), about.gid()), (7, 8));
    }
    let images = fs::symlink_metadata(yard.path.join("data/images")).unwrap();
    assert_eq!(images.permissions().mode() & 0o777, 0o700, "programs of others lie here");
}

#[test]
fn the_same_image_as_an_archive_or_packed_shares_its_layers() {
    let yard = Yard::new();
    let folder = yard.path.join("layout");
    layout(&folder, "tool", &[layer(&[file("a", "1")])], |_| {});
    let archive = packed(&folder);
    let zipped = yard.path.join("layout.tar.gz");
    fs::write(&zipped, gzip(&fs::read(&archive).unwrap())).unwrap();
    let digests: Vec<_> = [("a", folder), ("b", archive), ("c", zipped)]
        .into_iter()
        .map(|(name, from)| yard.take(name, from, What::Oci(None)).unwrap().image.digest)
        .collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(yard.stored("layers"), 2, "one layer and its size");
    for name in ["a", "b"] {
        yard.store.remove(name, &NOBODY).unwrap();
        assert_eq!(yard.stored("layers"), 2);
    }
    yard.store.remove("c", &NOBODY).unwrap();
    assert_eq!(yard.stored("layers"), 0, "what nobody shares goes");
}

#[test]
fn what_docker_save_writes_is_read_too() {
    let yard = Yard::new();
    let one = layer(&[file("etc/hello", "docker")]);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["sh"] },
        "rootfs": { "type": "layers", "diff_ids": [sha(&one), sha(&one)] },
    });
    let config = serde_json::to_vec(&config).unwrap();
    let name = format!("{}.json", sha(&config).trim_start_matches("sha256:"));
    let manifest =
        json!([{ "Config": name, "RepoTags": ["busy:1"], "Layers": ["aa/layer.tar", "bb/layer.tar"] }]);
    let path = yard.path.join("saved.tar");
    let mut archive = Builder::new(fs::File::create(&path).unwrap());
    let manifest = serde_json::to_string(&manifest).unwrap();
    for (header, contents) in [
        entry(EntryType::Regular, &name, "", &config),
        entry(EntryType::Regular, "aa/layer.tar", "", &one),
        entry(EntryType::Symlink, "bb/layer.tar", "../aa/layer.tar", b""),
        file("manifest.json", &manifest),
    ] {
        archive.append(&header, contents.as_slice()).unwrap();
    }
    archive.finish().unwrap();
    yard.take("busy", &path, What::Oci(Some("busy:1".into()))).unwrap();
    let root = yard.store.root("busy").unwrap();
    assert_eq!(fs::read_to_string(root.layers[0].join("etc/hello")).unwrap(), "docker");
    assert_eq!(root.cmd, ["sh"]);
    let error = yard.take("other", &path, What::Oci(Some("busy:2".into()))).unwrap_err().to_string();
    assert!(error.contains("busy:1"), "{error}");
}

#[test]
fn a_changed_blob_is_refused_and_leaves_nothing() {
    let yard = Yard::new();
    let folder = yard.path.join("layout");
    layout(&folder, "tool", &[layer(&[file("a", "1")])], |_| {});
    for entry in folder.join("blobs/sha256").read_dir().unwrap() {
        let path = entry.unwrap().path();
        let sound = fs::read(&path).unwrap();
        let mut bytes = sound.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        yard.take("tool", &folder, What::Oci(None)).unwrap_err();
        assert!(yard.store.list().unwrap().is_empty());
        fs::write(&path, sound).unwrap();
    }
    yard.take("tool", &folder, What::Oci(None)).unwrap();
    assert_eq!((yard.stored("layers"), yard.stored("new")), (2, 0));
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let yard = Yard::new();
    let folder = yard.path.join("layout");
    layout(&folder, "tool", &[layer(&[file("a", "1")])], |index| {
        // A sound manifest whose configuration speaks of another layer.
        let path = |digest: &Value| {
            folder.join("blobs/sha256").join(digest.as_str().unwrap().trim_start_matches("sha256:"))
        };
        let put = |value: &Value| {
            let bytes = serde_json::to_vec(value).unwrap();
            fs::write(path(&json!(sha(&bytes))), &bytes).unwrap();
            (json!(sha(&bytes)), json!(bytes.len()))
        };
        let mut manifest: Value =
            serde_json::from_slice(&fs::read(path(&index["manifests"][0]["digest"])).unwrap()).unwrap();
        let mut config: Value =
            serde_json::from_slice(&fs::read(path(&manifest["config"]["digest"])).unwrap()).unwrap();
        config["rootfs"]["diff_ids"] = json!([sha(b"another")]);
        (manifest["config"]["digest"], manifest["config"]["size"]) = put(&config);
        (index["manifests"][0]["digest"], index["manifests"][0]["size"]) = put(&manifest);
    });
    let error = yard.take("tool", &folder, What::Oci(None)).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains(&sha(b"another")), "{error}");
}

#[test]
fn one_of_several_images_is_chosen_by_its_reference_and_this_machines_by_its_platform() {
    let yard = Yard::new();
    let folder = yard.path.join("layout");
    let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    layout(&folder, "a", &[layer(&[file("a", "1")])], |index| {
        let mut other = index["manifests"][0].clone();
        other["annotations"] = json!({ "org.opencontainers.image.ref.name": "b" });
        let mut foreign = index["manifests"][0].clone();
        foreign["platform"] = json!({ "os": "linux", "architecture": "s390x" });
        index["manifests"][0]["platform"] = json!({ "os": "linux", "architecture": here });
        index["manifests"].as_array_mut().unwrap().extend([other, foreign]);
    });
    let error = yard.take("x", &folder, What::Oci(None)).unwrap_err().to_string();
    assert!(error.contains("say which"), "{error}");
    yard.take("x", &folder, What::Oci(Some("a".into()))).unwrap();
    assert!(yard.take("y", &folder, What::Oci(Some("c".into()))).is_err());
}

#[test]
fn nothing_escapes_from_a_layer() {
    let yard = Yard::new();
    let outside = yard.path.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    let away = outside.to_str().unwrap();
    let up = "../".repeat(12) + away.trim_start_matches('/');
    let refused = [
        vec![file("../../escaped", "x")],
        vec![file("a/../../escaped", "x")],
        vec![entry(EntryType::Link, "h", "../../outside/file", b"")],
        vec![entry(EntryType::Symlink, "dangling", "/nowhere", b""), file("dangling/x", "x")],
    ];
    for entries in refused {
        yard.unpack(&entries).unwrap_err();
    }
    // Links lead where they would in the container: into the layer, never out of it.
    for target in [away, up.as_str()] {
        let entries = [entry(EntryType::Symlink, "way", target, b""), file("way/file", "theirs")];
        assert!(yard.unpack(&entries).is_err(), "{target}");
        let entries =
            [entry(EntryType::Symlink, "way", target, b""), entry(EntryType::Link, "hard", "way/file", b"")];
        assert!(yard.unpack(&entries).is_err(), "{target}");
        // Over a link comes a file, not what it points to.
        let entries =
            [entry(EntryType::Symlink, "way", &format!("{target}/file"), b""), file("way", "theirs")];
        let folder = yard.unpack(&entries).unwrap();
        assert_eq!(fs::read_to_string(folder.join("way")).unwrap(), "theirs");
        yard.store.remove("one", &NOBODY).unwrap();
    }
    let folder = yard.unpack(&[file("/absolute", "inside")]).unwrap();
    assert_eq!(fs::read_to_string(folder.join("absolute")).unwrap(), "inside");
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "mine");
    assert_eq!(outside.read_dir().unwrap().count(), 1);
    assert!(!yard.path.join("escaped").exists() && !yard.path.join("data/images/escaped").exists());
}

#[test]
fn a_link_within_the_layer_leads_to_the_folder_it_names() {
    let folder = Yard::new();
    let entries = [
        entry(EntryType::Directory, "usr/lib", "", b""),
        entry(EntryType::Symlink, "lib", "/usr/lib", b""),
        file("lib/a", "1"),
        entry(EntryType::Link, "b", "lib/a", b""),
    ];
    let layer = folder.unpack(&entries).unwrap();
    assert_eq!(fs::read_to_string(layer.join("usr/lib/a")).unwrap(), "1");
    assert_eq!(fs::metadata(layer.join("b")).unwrap().nlink(), 2);
}

#[test]
fn devices_are_left_out_and_what_is_taken_away_is_as_overlayfs_wants_it() {
    let yard = Yard::new();
    let mut device = entry(EntryType::Char, "dev/mem", "", b"");
    device.0.set_device_major(1).unwrap();
    device.0.set_device_minor(1).unwrap();
    device.0.set_cksum();
    let entries = [
        device,
        file("etc/.wh.passwd", ""),
        entry(EntryType::Directory, "srv", "", b""),
        file("srv/.wh..wh..opq", ""),
        file("var/.wh.new", ""),
        file("var/new/a", "1"),
        file("etc/.wh..wh.plnk", ""),
        entry(EntryType::Fifo, "pipe", "", b""),
    ];
    // `var/new` comes without its own entry: its parents are made, over what was taken away.
    let layer = yard.unpack(&entries[..5]).unwrap();
    let hidden = fs::symlink_metadata(layer.join("etc/passwd")).unwrap();
    assert!(hidden.file_type().is_char_device() && hidden.rdev() == 0);
    assert!(!layer.join("dev/mem").exists());
    assert!(fs::symlink_metadata(layer.join("var/new")).unwrap().file_type().is_char_device());
    if rustix::process::geteuid().is_root() {
        let mut value = [0_u8; 8];
        let count = rustix::fs::getxattr(layer.join("srv"), "trusted.overlay.opaque", &mut value).unwrap();
        assert_eq!(&value[..count], b"y");
    }
    yard.store.remove("one", &NOBODY).unwrap();
    let error = yard.unpack(&[file(".wh.", "")]).unwrap_err().to_string();
    assert!(error.contains("takes away nothing"), "{error}");

    let entries =
        [file("var/.wh.new", ""), entry(EntryType::Directory, "var/new", "", b""), file("var/new/a", "1")];
    let layer = yard.unpack(&entries).unwrap();
    let mut value = [0_u8; 8];
    assert_eq!(rustix::fs::getxattr(layer.join("var/new"), "trusted.overlay.opaque", &mut value), Ok(1));
}

#[test]
fn a_folder_and_an_archive_can_be_a_root_too() {
    let yard = Yard::new();
    let folder = yard.path.join("root");
    fs::create_dir_all(folder.join("bin")).unwrap();
    fs::write(folder.join("bin/sh"), "#!").unwrap();
    fs::set_permissions(folder.join("bin/sh"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(folder.join(".wh.kept"), "a name like any other").unwrap();
    symlink("/bin/sh", folder.join("sh")).unwrap();
    let one = yard.take("root", &folder, What::Rootfs).unwrap().image;
    let root = yard.store.root("root").unwrap();
    let layer = &root.layers[0];
    assert_eq!(fs::metadata(layer.join("bin/sh")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(fs::read_link(layer.join("sh")).unwrap(), Path::new("/bin/sh"));
    assert!(layer.join(".wh.kept").is_file());
    assert_eq!(yard.take("again", &folder, What::Rootfs).unwrap().image.digest, one.digest);
    fs::write(folder.join("bin/sh"), "#?").unwrap();
    assert_ne!(yard.take("changed", &folder, What::Rootfs).unwrap().image.digest, one.digest);
    let archive = yard.take("archive", packed(&folder), What::Rootfs).unwrap().image;
    assert_eq!(archive.size_bytes, one.size_bytes);
}

#[test]
fn files_are_kept_read_only_under_their_digest() {
    let yard = Yard::new();
    let disk = yard.path.join("disk.img");
    fs::write(&disk, vec![0_u8; 4096]).unwrap();
    assert!(yard.take("disk", &disk, What::Disk { raw: false }).is_err());
    yard.take("disk", &disk, What::Disk { raw: true }).unwrap();
    let kept = yard.store.file("disk", "disk").unwrap();
    assert_eq!((kept.format.as_str(), kept.size_bytes), ("raw", 4096));
    assert_eq!(kept.digest, sha(&vec![0_u8; 4096]));
    assert_eq!(fs::metadata(&kept.path).unwrap().permissions().mode() & 0o777, 0o400);
    let error = yard.store.file("disk", "kernel").unwrap_err();
    assert!(matches!(&error, AgentError::Precondition(text) if text.contains("kind disk")), "{error}");
    assert!(matches!(yard.store.root("disk"), Err(AgentError::Precondition(_))));
    assert!(matches!(yard.store.file("none", "disk"), Err(AgentError::NotFound { what: "image", .. })));
}

#[test]
fn names_lead_nowhere() {
    let yard = Yard::new();
    let disk = yard.path.join("disk.img");
    fs::write(&disk, "x").unwrap();
    for name in [
        "",
        "../etc/passwd",
        "/etc/passwd",
        "a/../b",
        "a b",
        "-x",
        "a,readonly=off",
        "a\nb",
        &"x".repeat(256),
    ] {
        let refused = yard.take(name, &disk, What::Disk { raw: true });
        assert!(matches!(refused, Err(AgentError::Invalid { .. })), "{name:?}");
        assert!(matches!(yard.store.file(name, "disk"), Err(AgentError::Invalid { .. })), "{name:?}");
    }
    yard.take("registry.example:5000/team/tool@sha256:ab", &disk, What::Disk { raw: true }).unwrap();
}

#[test]
fn a_name_is_not_given_twice_and_what_is_used_stays() {
    let yard = Yard::new();
    let disk = yard.path.join("disk.img");
    fs::write(&disk, "one").unwrap();
    yard.take("disk", &disk, What::Disk { raw: true }).unwrap();
    yard.take("disk", &disk, What::Disk { raw: true }).unwrap();
    fs::write(&disk, "two").unwrap();
    let refused = yard.take("disk", &disk, What::Disk { raw: true });
    assert!(matches!(refused, Err(AgentError::AlreadyExists(_))), "{refused:?}");
    assert_eq!(yard.stored("files"), 1, "what was refused is not kept");
    let used = BTreeSet::from(["disk".to_owned()]);
    let replace = Import { name: "disk".into(), from: disk, what: What::Disk { raw: true }, replace: true };
    assert!(matches!(yard.store.import(&replace, &used), Err(AgentError::Precondition(_))));
    assert!(matches!(yard.store.remove("disk", &used), Err(AgentError::Precondition(_))));
    let new = yard.store.import(&replace, &NOBODY).unwrap().image.digest;
    assert_eq!(new.to_string(), sha(b"two"));
    assert_eq!(yard.stored("files"), 1, "the replaced one is gone");
    yard.store.remove("disk", &NOBODY).unwrap();
    assert!(matches!(yard.store.remove("disk", &NOBODY), Err(AgentError::NotFound { .. })));
}

#[test]
fn an_import_that_was_cut_off_leaves_nothing_that_shows() {
    let yard = Yard::new();
    let images = yard.path.join("data/images");
    fs::create_dir(images.join("new/layer")).unwrap();
    fs::write(images.join("new/layer/half"), "x").unwrap();
    fs::create_dir(images.join("layers").join("0".repeat(64))).unwrap();
    assert!(yard.store.list().unwrap().is_empty());
    yard.unpack(&[file("a", "1")]).unwrap();
    assert_eq!((yard.stored("new"), yard.stored("layers")), (0, 2));
}
