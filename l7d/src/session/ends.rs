//! Who talks to whom, and what their packets came in.

use std::sync::Arc;

use parsers::Direction as Way;

use super::index;
use crate::record::{Direction, Encapsulation, EndpointId, Network, Party};

/// Who is at both ends of a connection, and whose policy it is seen under.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Ends {
    /// Who opened it.
    pub client: Party,
    /// Who was asked.
    pub server: Party,
    /// From the view of the endpoint whose policy or visibility applies.
    pub direction: Direction,
    /// Boxed, and none where nothing is known: a session is small, and ends of datagrams are copied.
    way: Option<Box<Connected>>,
}

/// What is between both ends.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
struct Connected {
    /// The kernel's number of the connection, 0 where it has none.
    number: u64,
    /// What TCP has told of it so far.
    network: Network,
    /// What packets came packed in, to the server and to the client, where any did.
    #[serde(skip)]
    encapsulation: [Option<Arc<Encapsulation>>; 2],
}

impl Ends {
    /// Two ends of a connection.
    pub fn new(client: Party, server: Party, direction: Direction) -> Self {
        Self {
            client,
            server,
            direction,
            way: None,
        }
    }

    /// The same, of the connection with this number.
    #[must_use]
    pub fn with_connection(mut self, number: u64) -> Self {
        if number != self.connection() {
            self.way.get_or_insert_default().number = number;
        }
        self
    }

    /// The kernel's number of the connection, 0 where it has none.
    pub fn connection(&self) -> u64 {
        self.way.as_ref().map_or(0, |way| way.number)
    }

    /// What TCP has told of the connection so far.
    pub fn network(&self) -> Network {
        self.way.as_ref().map(|way| way.network).unwrap_or_default()
    }

    /// Notes what TCP tells.
    pub fn set_network(&mut self, network: Network) {
        if network != self.network() {
            self.way.get_or_insert_default().network = network;
        }
    }

    /// Notes what packets that go `way` come packed in.
    pub fn note_encapsulation(&mut self, way: Way, encapsulation: Option<&Arc<Encapsulation>>) {
        if self.encapsulation(way) == encapsulation {
            return;
        }
        let known = &mut self.way.get_or_insert_default().encapsulation;
        if let Some(known) = known.get_mut(index(way)) {
            *known = encapsulation.cloned();
        }
    }

    pub(super) fn encapsulation(&self, way: Way) -> Option<&Arc<Encapsulation>> {
        let known = &self.way.as_ref()?.encapsulation;
        known.get(index(way))?.as_ref()
    }

    /// The endpoint of this node that the connection is counted for.
    pub fn judged(&self) -> EndpointId {
        let id = |party: &Party| party.endpoint.as_ref().map_or(EndpointId(0), |e| e.id);
        match self.direction {
            Direction::Egress => id(&self.client),
            Direction::Ingress | Direction::Unknown => id(&self.server),
        }
    }

    /// Client and server change places.
    pub(super) fn turn(&mut self) {
        std::mem::swap(&mut self.client, &mut self.server);
        if let Some(way) = &mut self.way {
            way.network = way.network.turned();
            way.encapsulation.reverse();
        }
        self.direction = match self.direction {
            Direction::Ingress => Direction::Egress,
            Direction::Egress => Direction::Ingress,
            Direction::Unknown => Direction::Unknown,
        };
    }
}
