//! The Hubble API: messages, services, and the JSON form of messages (protobuf field names, 64-bit
//! numbers as text, enums by name).
//!
//! The files in `proto/` hold every field of every version: numbers were only ever added, so one
//! set serves all clients.

#![forbid(unsafe_code)]

mod any;
pub mod encoded;
pub mod schema;
mod timestamp;
pub mod wire;

pub use any::Any;
pub use timestamp::Timestamp;

/// What an agent knows beyond the Hubble API.
pub mod agent {
    include!(concat!(env!("OUT_DIR"), "/agent.rs"));
    include!(concat!(env!("OUT_DIR"), "/agent.serde.rs"));
}

/// Flows.
pub mod flow {
    include!(concat!(env!("OUT_DIR"), "/flow.rs"));
    include!(concat!(env!("OUT_DIR"), "/flow.serde.rs"));
}

/// The Observer service.
pub mod observer {
    include!(concat!(env!("OUT_DIR"), "/observer.rs"));
    include!(concat!(env!("OUT_DIR"), "/observer.serde.rs"));
}

/// The Peer service.
pub mod peer {
    include!(concat!(env!("OUT_DIR"), "/peer.rs"));
    include!(concat!(env!("OUT_DIR"), "/peer.serde.rs"));
}

/// Messages of relays.
pub mod relay {
    include!(concat!(env!("OUT_DIR"), "/relay.rs"));
    include!(concat!(env!("OUT_DIR"), "/relay.serde.rs"));
}

/// The files' descriptors, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests;
