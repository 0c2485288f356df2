//! DNS (RFC 1035) and what has grown around it: updates, EDNS, DNSSEC, service bindings, multicast.
//!
//! ```text
//!   UDP payload ───────────────▶ Message::read ─▶ header, questions, records, EDNS
//!   stream ─▶ tcp::Connection ──────▲                │
//!                                                    ├─▶ Chain    name asked ─▶ addresses
//!                                                    ├─▶ Pairing  query ↔ response, latency
//!                                                    ├─▶ check_query   what can be judged by name
//!                                                    └─▶ refuse   query ─▶ refusal
//! ```
//!
//! A message is read where it lies and never copied; names and records borrow from it. What is wrong
//! behind the header costs only what lies behind the fault.

mod answer;
mod codes;
mod detect;
mod edns;
mod header;
mod message;
mod name;
mod pairing;
mod rdata;
mod reader;
mod record;
mod reply;
mod strict;
pub mod tcp;
mod text;

pub use answer::{Answer, Chain};
pub use codes::{Class, Opcode, Rcode, RecordType};
pub use detect::{looks_like, looks_like_stream};
pub use edns::{Edns, EdnsOption, EdnsOptions, OptionContent};
pub use header::{Header, Section};
pub use message::{Message, Question, Questions, Records};
pub use name::{Labels, Name};
pub use pairing::{Matched, Pairing, PairingLimits, Query, Unanswered};
pub use rdata::{Field, Fields, Param, Params, Types};
pub use record::{DataText, Record};
pub use reply::{ExtendedError, Refusal, refuse};
pub use strict::check_query;

#[cfg(test)]
mod tests;
