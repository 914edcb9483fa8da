//! The wire contracts of `proto/`, compiled. Rust names are prost's: `RGBRenderRequest` is [`nurec::sensorsim::RgbRenderRequest`].

/// NVIDIA's NuRec sensor simulator.
#[allow(missing_docs, clippy::all, clippy::allow_attributes)]
pub mod nurec {
    /// `nre.grpc.protos.common`.
    pub mod common {
        include!(concat!(env!("OUT_DIR"), "/nurec/nre.grpc.protos.common.rs"));
    }

    /// `nre.grpc.protos.sensorsim`.
    pub mod sensorsim {
        include!(concat!(env!("OUT_DIR"), "/nurec/nre.grpc.protos.sensorsim.rs"));
    }

    /// Both, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nurec.bin"));
}

/// The orchestrator: sessions over pools of simulators and trainers.
#[allow(missing_docs, clippy::all, clippy::allow_attributes)]
pub mod neuro {
    /// `common`: shared by the four services.
    pub mod common {
        include!(concat!(env!("OUT_DIR"), "/neuro/common.rs"));
    }

    /// `neuro`: sessions in three modes.
    pub mod orchestrator {
        include!(concat!(env!("OUT_DIR"), "/neuro/neuro.rs"));
    }

    /// `isaac_sim`: the older view of a session's simulator.
    pub mod isaac_sim {
        include!(concat!(env!("OUT_DIR"), "/neuro/isaac_sim.rs"));
    }

    /// `training`: the older view of a session's training run.
    pub mod training {
        include!(concat!(env!("OUT_DIR"), "/neuro/training.rs"));
    }

    /// `resource`: the older view of what the machine has.
    pub mod resource {
        include!(concat!(env!("OUT_DIR"), "/neuro/resource.rs"));
    }

    /// `neuro.ext.v1`: what the others cannot do.
    pub mod ext {
        include!(concat!(env!("OUT_DIR"), "/neuro/neuro.ext.v1.rs"));
    }

    /// All of them, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/neuro.bin"));
}

/// Foxglove's message schemas, as far as exports use them.
#[allow(missing_docs, clippy::all, clippy::allow_attributes)]
pub mod foxglove {
    include!(concat!(env!("OUT_DIR"), "/foxglove/foxglove.rs"));

    /// All of them with what they refer to: what a file must carry so that others can read it.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/foxglove.bin"));
}

/// The node agent, as its own document has it.
#[allow(missing_docs, clippy::all, clippy::allow_attributes)]
pub mod hypervisor {
    /// `hypervisor.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/hypervisor/hypervisor.v1.rs"));
    }

    /// All of it, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hypervisor.bin"));
}

/// The node agent, as the Go server speaks to it: `Instance` and `InstanceStats` differ.
#[allow(missing_docs, clippy::all, clippy::allow_attributes)]
pub mod hypervisor_upstream {
    /// `hypervisor.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/hypervisor_upstream/hypervisor.v1.rs"));
    }

    /// All of it, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hypervisor_upstream.bin"));
}
