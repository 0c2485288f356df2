//! Pods, a node and an outside host in network namespaces, for tests, the demo and benches.
//!
//! ```text
//!   pod "a" ──veth── cni0 (bridge) ─┐
//!   pod "b" ──veth── cni0           ├─ node ──uplink── outside
//!   pod "c" ──veth (routed, /32) ───┘
//! ```
//!
//! Everything a [`World`] made is gone when it is dropped, also when a test fails: processes first,
//! then namespaces, and with them every interface, rule and route. Programs run in a namespace by
//! `nsenter`, which leaves `/sys` as it is, so that the bpf filesystem stays visible.

mod fabric;
mod process;
mod world;

pub use fabric::Fabric;
pub use process::Process;
pub use world::{Attach, Host, Pod, World};
