//! Where the kernel calls us. Each hook calls the steps in order and does nothing else.

pub(crate) mod cgroup;
pub(crate) mod datagram;
pub(crate) mod host;
pub(crate) mod kfree_skb;
pub(crate) mod pod;
pub(crate) mod portal;
pub(crate) mod uplink;
