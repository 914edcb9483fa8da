//! Compiles the wire contracts of this folder, without protoc. Each contract becomes Rust modules, one a package, and a
//! descriptor set for reflection, `<name>.bin`.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message;

/// A set of files that belong together.
struct Contract {
    name: &'static str,
    /// Where files are looked for, the first first.
    folders: &'static [&'static str],
    files: &'static [&'static str],
    /// Fields that arrive as `bytes::Bytes`: shared, not copied.
    shared_bytes: &'static [&'static str],
    /// Maps in the order of their keys: the same message is the same bytes.
    sorted_maps: bool,
}

const HYPERVISOR: &[&str] = &["common.proto", "spec.proto", "instance.proto", "agent.proto", "cluster.proto"];
const CONSOLE_BYTES: &[&str] =
    &[".hypervisor.v1.AgentConsoleInput.data", ".hypervisor.v1.AgentConsoleOutput.data"];

const CONTRACTS: &[Contract] = &[
    Contract {
        name: "nurec",
        folders: &["nurec"],
        files: &["common.proto", "sensorsim.proto"],
        shared_bytes: &[".nre.grpc.protos.sensorsim.RGBRenderReturn.image_bytes"],
        sorted_maps: false,
    },
    Contract {
        name: "neuro",
        folders: &["neuro"],
        files: &[
            "common.proto",
            "neuro.proto",
            "isaac_sim.proto",
            "training.proto",
            "resource.proto",
            "neuro_ext.proto",
        ],
        shared_bytes: &[],
        sorted_maps: false,
    },
    Contract {
        name: "foxglove",
        folders: &["foxglove"],
        files: &[
            "shapes.proto",
            "camera.proto",
            "frames.proto",
            "scene.proto",
            "location.proto",
            "log.proto",
        ],
        shared_bytes: &[".foxglove.CompressedImage.data"],
        sorted_maps: false,
    },
    Contract {
        name: "hypervisor",
        folders: &["hypervisor"],
        files: HYPERVISOR,
        shared_bytes: CONSOLE_BYTES,
        sorted_maps: true,
    },
    Contract {
        name: "hypervisor_upstream",
        folders: &["hypervisor/upstream", "hypervisor"],
        files: HYPERVISOR,
        shared_bytes: CONSOLE_BYTES,
        sorted_maps: true,
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    println!("cargo:rerun-if-changed=proto");
    for contract in CONTRACTS {
        let folders: Vec<PathBuf> =
            contract.folders.iter().map(|folder| Path::new("proto").join(folder)).collect();
        let set = protox::compile(contract.files, &folders)?;
        std::fs::write(out.join(contract.name).with_extension("bin"), set.encode_to_vec())?;
        // Two contracts may hold the same package: a folder each.
        let modules = out.join(contract.name);
        std::fs::create_dir_all(&modules)?;
        let mut build = tonic_prost_build::configure().out_dir(modules);
        if contract.sorted_maps {
            build = build.btree_map(".");
        }
        for path in contract.shared_bytes {
            build = build.bytes(path);
        }
        build.compile_fds(set)?;
    }
    Ok(())
}
