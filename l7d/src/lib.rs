//! The l7d daemon and command line, as a library for its own tests, fuzz targets and benches.
//! Nothing here is promised to other crates.
//!
//! Layers, top to bottom; a `use crate::…` points sideways or down, never up (`cargo xtask house`):
//!
//! | layer | modules |
//! |---|---|
//! | 4 | [`cli`], [`agent`] |
//! | 3 | [`ui`], [`map`], [`relay`], [`server`], [`export`], [`metrics`], [`mod@print`] |
//! | 2 | [`flow`] |
//! | 1 | [`datapath`], [`nat`], [`proxy`], [`replay`], [`tap`], [`session`], [`tls`], [`exchange`], [`identity`], [`netfilter`], [`policy`], [`host`], [`mod@kube`], [`whatif`] |
//! | 0 | [`record`], [`clock`], [`config`], [`renewed`], `backoff`, `patience` |

pub mod agent;
mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod datapath;
pub mod exchange;
pub mod export;
pub mod flow;
pub mod host;
pub mod identity;
pub mod kube;
pub mod map;
pub mod metrics;
pub mod nat;
pub mod netfilter;
mod patience;
pub mod policy;
pub mod print;
pub mod proxy;
pub mod reception;
pub mod record;
pub mod relay;
pub mod renewed;
pub mod replay;
pub mod server;
pub mod session;
pub mod state;
pub mod story;
pub mod tap;
pub mod tls;
pub mod ui;
pub mod whatif;
