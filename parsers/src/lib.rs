//! Sans-IO protocol parsers: bytes in, messages out.
//!
//! ```text
//!            bytes of one direction, in order
//!                        │
//!   caller's buffer ───▶ step() ───▶ NeedMore        keep the bytes, append, call again
//!                          │
//!                          └──────▶ Event + consumed  drop that many bytes, call again
//! ```
//!
//! Every protocol keeps this contract:
//! - any split of the input gives the same events (runs of body bytes may be cut differently; their
//!   sum is the same);
//! - the caller owns the bytes, events borrow from them, and a parser keeps only numbers;
//! - what cannot be read is an [`Error`] that names its rule and the RFC section; after an error the
//!   parser gives no further events;
//! - memory is bounded by [`Limits`], and nothing here panics, sleeps, or opens anything.

#![forbid(unsafe_code)]

pub mod detect;
pub mod dns;
mod error;
pub mod grpc;
pub mod hpack;
pub mod http1;
pub mod http2;
mod limits;
pub mod netlink;
pub mod packet;
pub mod reassembly;
pub mod socks;
mod stream;
pub mod target;
pub mod template;
pub mod tls;

pub use error::{Error, Fault};
pub use limits::Limits;
pub use stream::{Direction, Step};
