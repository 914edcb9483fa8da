//! The wire contracts of `proto/`, compiled. Rust names are prost's: `RGBRenderRequest` is [`nurec::sensorsim::RgbRenderRequest`].

/// NVIDIA's NuRec sensor simulator.
#[allow(missing_docs, clippy::all, clippy::allow_attributes)]
pub mod nurec {
    /// `nre.grpc.protos.common`.
    pub mod common {
        tonic::include_proto!("nre.grpc.protos.common");
    }

    /// `nre.grpc.protos.sensorsim`.
    pub mod sensorsim {
        tonic::include_proto!("nre.grpc.protos.sensorsim");
    }

    /// Both, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nurec.bin"));
}

/// Foxglove's message schemas, as far as exports use them.
#[allow(missing_docs, clippy::all, clippy::allow_attributes)]
pub mod foxglove {
    tonic::include_proto!("foxglove");

    /// All of them with what they refer to: what a file must carry so that others can read it.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/foxglove.bin"));
}
