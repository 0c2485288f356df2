//! The proxy between real sockets: what both ends see, and what is recorded.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod bodies;
mod bypasses;
mod changes;
mod dns;
mod drain;
mod enforce;
mod faults;
mod handover;
mod headers;
mod http2;
mod nginx;
mod policed;
mod running;
mod splits;
mod tls;
mod watch;
mod world;
