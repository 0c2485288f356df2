//! The server as clients see it: over HTTP, and by `kubectl`.

mod access;
mod client;
mod faults;
mod kubectl;
mod lists;
mod tls;
mod watches;
mod writes;
