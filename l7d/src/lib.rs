//! The l7d daemon and command line, as a library for its own tests, fuzz targets and benches.
//! Nothing here is promised to other crates.
//!
//! Layers, top to bottom; a `use crate::…` points sideways or down, never up (`cargo xtask house`):
//!
//! | layer | modules |
//! |---|---|
//! | 4 | [`cli`], [`agent`] |
//! | 3 | [`server`], [`mod@print`] |
//! | 2 | [`flow`] |
//! | 1 | [`datapath`], [`proxy`], [`replay`], [`tap`], [`session`], [`exchange`], [`identity`], [`policy`], [`host`], [`whatif`] |
//! | 0 | [`record`], [`clock`], [`config`] |

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod datapath;
pub mod exchange;
pub mod flow;
pub mod host;
pub mod identity;
pub mod policy;
pub mod print;
pub mod proxy;
pub mod record;
pub mod replay;
pub mod server;
pub mod session;
pub mod tap;
pub mod whatif;
