//! The whole agent on real traffic: pods in namespaces, real clients and servers, the real kernel.
//! These tests fail, and do not skip, where they cannot run.

mod agent_events;
mod audits;
#[path = "../guide/blocks.rs"]
mod blocks;
mod budgets;
mod chart;
mod cluster;
mod confinement;
mod crashes;
mod dns;
mod doctor;
mod drops;
mod exports;
mod guide;
mod host_policies;
mod hostile;
mod http2;
mod interfaces;
mod kernels;
mod ledger;
mod lifecycle;
mod masquerade;
mod metrics;
mod modes;
mod names;
mod node;
mod plain_host;
mod policy_changes;
mod proxying;
mod records;
mod relay;
mod replayed;
mod rights;
mod services;
mod stories;
mod surroundings;
mod systemd;
mod takeover;
mod tapping;
mod traces;
mod verdicts;
mod websocket;
mod written_files;
