//! What hooks do with a packet, one step per file.

pub(crate) mod action;
pub(crate) mod address;
pub(crate) mod clock;
pub(crate) mod conntrack;
pub(crate) mod freed;
pub(crate) mod headers;
pub(crate) mod health;
pub(crate) mod ipcache;
pub(crate) mod judge;
pub(crate) mod kernel;
pub(crate) mod loss;
pub(crate) mod namespace;
pub(crate) mod passage;
pub(crate) mod place;
pub(crate) mod policy;
pub(crate) mod redirect;
pub(crate) mod report;
pub(crate) mod tap;
pub(crate) mod wake;
pub(crate) mod words;
