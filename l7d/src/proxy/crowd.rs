//! How many enforced connections each endpoint has: one endpoint's flood must not take the memory of the
//! others, and one client's flood at an endpoint must not take the places of its other clients. Watched
//! connections are not counted, since they cannot be refused.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::record::{Direction, EndpointId};
use crate::session::Ends;

/// Enforced connections by endpoint, shared by all workers.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    open: Mutex<AHashMap<EndpointId, Guests>>,
}

/// Connections of an endpoint.
#[derive(Debug, Default)]
struct Guests {
    all: usize,
    /// Of others to it.
    by_client: AHashMap<IpAddr, usize>,
}

/// A connection's place; dropping it makes room for another one.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    endpoint: EndpointId,
    client: Option<IpAddr>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The endpoint has as many as it may.
    Endpoint,
    /// The client has as many there as are left for others.
    Client,
}

impl Full {
    /// As a flow says it.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Endpoint => "too many connections",
            Self::Client => "too many connections of one client",
        }
    }
}

impl Crowd {
    /// At most `most` connections of an endpoint.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            open: Mutex::default(),
        }
    }

    /// A place for one more connection between `ends`, if there is one.
    pub(super) fn enter(self: &Arc<Self>, ends: &Ends) -> Result<Place, Full> {
        let client = match ends.direction {
            Direction::Egress => None,
            Direction::Ingress | Direction::Unknown => Some(ends.client.addr.ip()),
        };
        self.admit(ends.judged(), client)
    }

    /// Of those that come to an endpoint each client may have as many as are left free: alone it gets
    /// half of them, and whoever comes finds a place however many some other has.
    fn admit(
        self: &Arc<Self>,
        endpoint: EndpointId,
        client: Option<IpAddr>,
    ) -> Result<Place, Full> {
        let mut open = self.open.lock();
        let guests = open.entry(endpoint).or_default();
        let free = self.most.saturating_sub(guests.all);
        if free == 0 {
            return Err(Full::Endpoint);
        }
        if let Some(client) = client {
            let own = guests.by_client.get(&client).copied().unwrap_or(0);
            if own >= free {
                return Err(Full::Client);
            }
            guests.by_client.insert(client, own + 1);
        }
        guests.all += 1;
        Ok(Place {
            crowd: Arc::clone(self),
            endpoint,
            client,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.crowd.open.lock();
        let Some(guests) = open.get_mut(&self.endpoint) else {
            return;
        };
        guests.all = guests.all.saturating_sub(1);
        if let Some(client) = self.client
            && let Some(own) = guests.by_client.get_mut(&client)
        {
            *own = own.saturating_sub(1);
            if *own == 0 {
                guests.by_client.remove(&client);
            }
        }
        if guests.all == 0 {
            open.remove(&self.endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_endpoint_lets_nobody_in_until_somebody_leaves() {
        let crowd = Arc::new(Crowd::new(2));
        let first = crowd.admit(EndpointId(1), None).expect("a place");
        let _second = crowd.admit(EndpointId(1), None).expect("a place");
        assert_eq!(crowd.admit(EndpointId(1), None).err(), Some(Full::Endpoint));
        assert!(
            crowd.admit(EndpointId(2), None).is_ok(),
            "another endpoint has its own"
        );
        drop(first);
        assert!(crowd.admit(EndpointId(1), None).is_ok());
    }

    #[test]
    fn a_client_leaves_as_many_places_as_it_has() {
        let crowd = Arc::new(Crowd::new(100));
        let client = |number: u8| Some(IpAddr::from([10, 0, 0, number]));
        let fill = |number| {
            let places = std::iter::from_fn(|| crowd.admit(EndpointId(1), client(number)).ok());
            places.collect::<Vec<_>>()
        };
        let greedy = fill(1);
        assert_eq!(greedy.len(), 50);
        assert_eq!(
            crowd.admit(EndpointId(1), client(1)).err(),
            Some(Full::Client)
        );
        let second = fill(2);
        assert_eq!(second.len(), 25);
        assert!(crowd.admit(EndpointId(1), client(3)).is_ok());
        drop(greedy);
        drop(second);
        assert!(crowd.open.lock().is_empty(), "nothing is left behind");
        assert_eq!(fill(2).len(), 50);
    }
}
