//! The whole agent on real traffic: pods in namespaces, real clients and servers, the real kernel.
//! These tests fail, and do not skip, where they cannot run.

mod audits;
mod dns;
mod host_policies;
mod http2;
mod lifecycle;
mod masquerade;
mod modes;
mod names;
mod node;
mod plain_host;
mod policy_changes;
mod proxying;
mod replayed;
mod stories;
mod tapping;
mod verdicts;
mod websocket;
