//! What hooks do with a packet, one step per file.

pub(crate) mod conntrack;
pub(crate) mod headers;
pub(crate) mod ipcache;
pub(crate) mod judge;
pub(crate) mod passage;
pub(crate) mod policy;
pub(crate) mod redirect;
pub(crate) mod report;
pub(crate) mod tap;
