//! Compiles the wire contracts of this folder, without protoc. Each folder becomes Rust modules, one a package, and a
//! descriptor set for reflection, `<folder>.bin`.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message;

/// A folder of contracts.
struct Contract {
    folder: &'static str,
    files: &'static [&'static str],
    /// Fields that arrive as `bytes::Bytes`: shared, not copied.
    shared_bytes: &'static [&'static str],
}

const CONTRACTS: &[Contract] = &[
    Contract {
        folder: "nurec",
        files: &["common.proto", "sensorsim.proto"],
        shared_bytes: &[".nre.grpc.protos.sensorsim.RGBRenderReturn.image_bytes"],
    },
    Contract {
        folder: "neuro",
        files: &[
            "common.proto",
            "neuro.proto",
            "isaac_sim.proto",
            "training.proto",
            "resource.proto",
            "neuro_ext.proto",
        ],
        shared_bytes: &[],
    },
    Contract {
        folder: "foxglove",
        files: &[
            "shapes.proto",
            "camera.proto",
            "frames.proto",
            "scene.proto",
            "location.proto",
            "log.proto",
        ],
        shared_bytes: &[".foxglove.CompressedImage.data"],
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    println!("cargo:rerun-if-changed=proto/build.rs");
    for contract in CONTRACTS {
        let folder = Path::new("proto").join(contract.folder);
        println!("cargo:rerun-if-changed={}", folder.display());
        let set = protox::compile(contract.files, [&folder])?;
        std::fs::write(out.join(contract.folder).with_extension("bin"), set.encode_to_vec())?;
        let mut build = tonic_prost_build::configure();
        for path in contract.shared_bytes {
            build = build.bytes(path);
        }
        build.compile_fds(set)?;
    }
    Ok(())
}
