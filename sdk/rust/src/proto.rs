//! The kernel's contracts: messages, and a client a service. Plugins' own protos refer to these types.

mod generated {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

pub use generated::backplane::*;
