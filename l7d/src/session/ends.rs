//! Who talks to whom, and what their packets came in.

use std::sync::Arc;

use parsers::Direction as Way;

use super::index;
use crate::record::{Direction, Encapsulation, EndpointId, Party};

/// Who is at both ends of a connection, and whose policy it is seen under.
#[derive(Debug, Clone)]
pub struct Ends {
    /// Who opened it.
    pub client: Party,
    /// Who was asked.
    pub server: Party,
    /// From the view of the endpoint whose policy or visibility applies.
    pub direction: Direction,
    /// What packets came packed in, to the server and to the client, where any did.
    encapsulation: Option<Box<[Option<Arc<Encapsulation>>; 2]>>,
}

impl Ends {
    /// Two ends of a connection.
    pub fn new(client: Party, server: Party, direction: Direction) -> Self {
        Self {
            client,
            server,
            direction,
            encapsulation: None,
        }
    }

    /// Notes what packets that go `way` come packed in.
    pub fn note_encapsulation(&mut self, way: Way, encapsulation: Option<&Arc<Encapsulation>>) {
        if self.encapsulation(way) == encapsulation {
            return;
        }
        let known = self.encapsulation.get_or_insert_default();
        if let Some(known) = known.get_mut(index(way)) {
            *known = encapsulation.cloned();
        }
    }

    pub(super) fn encapsulation(&self, way: Way) -> Option<&Arc<Encapsulation>> {
        self.encapsulation.as_ref()?.get(index(way))?.as_ref()
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
        if let Some(encapsulation) = &mut self.encapsulation {
            encapsulation.reverse();
        }
        self.direction = match self.direction {
            Direction::Ingress => Direction::Egress,
            Direction::Egress => Direction::Ingress,
            Direction::Unknown => Direction::Unknown,
        };
    }
}
