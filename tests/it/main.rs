//! One test binary: black-box tests over the wire, and the network against its golden data.

mod golden;
