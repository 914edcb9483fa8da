//! x
pub mod disks;
pub mod plan;
pub mod qcow2;
pub mod qmp;
