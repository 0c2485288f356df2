//! The contract of the Hubble API, as clients made from the protobuf files see it.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod answers;
mod flows;
mod hostile;
mod served;
mod sharing;
