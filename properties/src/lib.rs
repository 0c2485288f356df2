//! What holds for any input of the readers of bytes that others wrote.
//!
//! Each target takes bytes and asserts; a broken property is a panic. The fuzzer (`fuzz/`, by
//! `cargo xtask fuzz`) and the tests over past findings run the same functions.

#![forbid(unsafe_code)]

mod capture_file;
mod conntrack_message;
mod cuts;
mod dns_message;
mod frame;
mod grpc_split;
mod hpack_block;
mod http1_split;
mod http2_split;
mod http_path;
mod path_template;
pub mod policy;
mod policy_yaml;
mod reassembly;
pub mod received;
mod socks_split;
mod tls_hello;

pub use cuts::TURN;

/// What asserts that a property holds for these bytes.
pub type Property = fn(&[u8]);

/// All targets, by the name of what they eat.
pub const TARGETS: [(&str, Property); 15] = [
    ("capture_file", capture_file::holds),
    ("conntrack_message", conntrack_message::holds),
    ("dns_message", dns_message::holds),
    ("frame", frame::holds),
    ("grpc_split", grpc_split::holds),
    ("hpack_block", hpack_block::holds),
    ("http1_split", http1_split::holds),
    ("http2_split", http2_split::holds),
    ("http_path", http_path::holds),
    ("path_template", path_template::holds),
    ("policy_laws", policy::holds),
    ("policy_yaml", policy_yaml::holds),
    ("reassembly", reassembly::holds),
    ("socks_split", socks_split::holds),
    ("tls_hello", tls_hello::holds),
];

/// The property of a target; `None` of a name that is none.
pub fn property(target: &str) -> Option<Property> {
    TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .map(|(_, property)| *property)
}

/// Asserts the property of a target.
///
/// # Panics
/// When the property is broken, or there is no such target.
pub fn check(target: &str, input: &[u8]) {
    let property = property(target);
    assert!(property.is_some(), "{target} is no target");
    if let Some(property) = property {
        property(input);
    }
}
