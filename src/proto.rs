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

/// The orchestrator: sessions over pools of simulators and trainers.
#[allow(missing_docs, clippy::all, clippy::allow_attributes)]
pub mod neuro {
    /// `common`: shared by the four services.
    pub mod common {
        tonic::include_proto!("common");
    }

    /// `neuro`: sessions in three modes.
    pub mod orchestrator {
        tonic::include_proto!("neuro");
    }

    /// `isaac_sim`: the older view of a session's simulator.
    pub mod isaac_sim {
        tonic::include_proto!("isaac_sim");
    }

    /// `training`: the older view of a session's training run.
    pub mod training {
        tonic::include_proto!("training");
    }

    /// `resource`: the older view of what the machine has.
    pub mod resource {
        tonic::include_proto!("resource");
    }

    /// `neuro.ext.v1`: what the others cannot do.
    pub mod ext {
        tonic::include_proto!("neuro.ext.v1");
    }

    /// All of them, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/neuro.bin"));
}

/// Foxglove's message schemas, as far as exports use them.
#[allow(missing_docs, clippy::all, clippy::allow_attributes)]
pub mod foxglove {
    tonic::include_proto!("foxglove");

    /// All of them with what they refer to: what a file must carry so that others can read it.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/foxglove.bin"));
}
