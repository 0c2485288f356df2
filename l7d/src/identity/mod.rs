//! Address → who, at this moment.
//!
//! Every reader takes the whole table through one shared pointer ([`Identities::load`]), so what a
//! record says about both ends is one consistent moment. A change builds a new table and swaps the
//! pointer; readers never wait.

mod layered;
mod names;
mod numbers;
mod services;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use layered::Layered;
pub use names::{Known, Loaded, Names, NamesFile};
pub use numbers::EndpointNumbers;
pub use services::Services;
pub use table::{LocalEndpoint, Table, TableBuilder, reserved};

use crate::record::Party;

/// The current [`Table`], shared by everybody who names addresses.
#[derive(Debug, Clone)]
pub struct Identities {
    table: Arc<ArcSwap<Table>>,
}

impl Default for Identities {
    fn default() -> Self {
        Self::new(TableBuilder::default().build())
    }
}

impl Identities {
    /// Starts with `table`.
    pub fn new(table: Table) -> Self {
        Self {
            table: Arc::new(ArcSwap::from_pointee(table)),
        }
    }

    /// The table of this moment.
    pub fn load(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Names an address as of this moment.
    pub fn party(&self, addr: SocketAddr) -> Party {
        self.table.load().party(addr)
    }

    /// The same where the protocol is known: services may share a port.
    pub fn party_of(&self, addr: SocketAddr, protocol: u8) -> Party {
        self.table.load().party_of(addr, protocol)
    }

    /// Replaces the table.
    pub fn store(&self, table: Table) {
        self.table.store(Arc::new(table));
    }
}
